//! The `.git` beside the files: enough of one for what a build asks git about its sources.
//!
//! Credentials are not in it, and neither is anything that git would run.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix_hash::Kind;
use snapshot::{Rootfs, RootfsPath};
use url::Url;

use super::checkout::Files;
use super::error::GitError;
use super::fetch::{Fetched, SHALLOW};
use super::objects::EntryKind;
use crate::http::redact;

/// Where packs are.
const PACKS: &str = "objects/pack";

/// Makes the directories of a repository at `git`; returns where packs go.
pub(super) fn prepare(room: &Rootfs, git: &RootfsPath) -> Result<PathBuf, GitError> {
    let mut path = git.clone();
    room.create_dir(&path, 0o755)?;
    for name in PACKS.split('/') {
        path = path.join_name(name.as_bytes());
        room.create_dir(&path, 0o755)?;
    }
    // Everything on the way was made here, just now, so that no link is on it.
    let below = path.as_bytes().strip_prefix(b"/").unwrap_or(path.as_bytes());
    Ok(room.host_path().join(OsStr::from_bytes(below)))
}

/// Removes what a broken fetch left where packs go.
pub(super) fn clear(packs: &Path) -> Result<(), GitError> {
    let failed = |source| GitError::Write { path: packs.display().to_string(), source };
    for entry in std::fs::read_dir(packs).map_err(failed)? {
        std::fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
    }
    Ok(())
}

/// Writes everything but the packs.
pub(super) fn write(
    fetched: &Fetched,
    url: &Url,
    files: &Files,
    git: &Rootfs,
) -> Result<(), GitError> {
    let commit = fetched.commit;
    let branch = fetched.reference.as_deref().filter(|name| name.starts_with("refs/heads/"));
    let head = match branch {
        Some(name) => format!("ref: {name}\n"),
        None => format!("{commit}\n"),
    };
    let references = match fetched.reference.as_deref().filter(|name| name.starts_with("refs/")) {
        Some(name) => format!("# pack-refs with: peeled fully-peeled sorted \n{commit} {name}\n"),
        None => String::new(),
    };
    let config = format!(
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\
         [remote \"origin\"]\n\turl = {}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
        redact(url)
    );
    put(git, "HEAD", head.as_bytes())?;
    put(git, "packed-refs", references.as_bytes())?;
    put(git, "config", config.as_bytes())?;
    put(git, "index", &index(files)?)?;
    git.create_dir(&path("refs"), 0o755)?;
    let packs = path(PACKS);
    for entry in git.read_dir(&packs)? {
        let there = packs.join_name(&entry.name);
        if entry.name.ends_with(b".keep") {
            git.remove(&there)?;
        } else if entry.name.as_slice() == SHALLOW.as_bytes() {
            git.rename(&there, &path(SHALLOW))?;
        }
    }
    Ok(())
}

fn path(name: &str) -> RootfsPath {
    RootfsPath::new(name.as_bytes()).expect("a name without NUL is a path")
}

fn put(git: &Rootfs, name: &str, bytes: &[u8]) -> Result<(), GitError> {
    let mut file = git.create_file(&path(name))?;
    std::io::Write::write_all(&mut file, bytes)
        .map_err(|source| GitError::Write { path: format!(".git/{name}"), source })?;
    git.set_mode(&path(name), 0o644)?;
    Ok(())
}

/// Returns git's index of the files (version 2 of its format). Of what git remembers of a file on
/// disk it says nothing, so that git looks at the files themselves.
fn index(files: &Files) -> Result<Vec<u8>, GitError> {
    let mut entries: Vec<_> = files.entries.iter().collect();
    entries.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    let mut bytes = b"DIRC\0\0\0\x02".to_vec();
    bytes.extend(u32::try_from(entries.len()).unwrap_or(u32::MAX).to_be_bytes());
    for (path, kind, id) in entries {
        let name = path.as_bytes();
        let name = name.strip_prefix(b"/").unwrap_or(name);
        let mode: u32 = match kind {
            EntryKind::File => 0o100_644,
            EntryKind::Executable => 0o100_755,
            EntryKind::Link => 0o120_000,
            EntryKind::Submodule => 0o160_000,
            EntryKind::Directory => 0o040_000,
        };
        let start = bytes.len();
        // Times, device and inode.
        bytes.extend([0; 24]);
        bytes.extend(mode.to_be_bytes());
        // Owner and size.
        bytes.extend([0; 12]);
        bytes.extend(id.as_bytes());
        bytes.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).min(0xfff).to_be_bytes());
        bytes.extend(name);
        // One to eight NULs, up to a multiple of eight.
        let length = bytes.len() - start;
        bytes.extend(std::iter::repeat_n(0, 8 - length % 8));
    }
    let mut hasher = gix_hash::hasher(Kind::Sha1);
    hasher.update(&bytes);
    let sum =
        hasher.try_finalize().map_err(|error| GitError::Objects { reason: error.to_string() })?;
    bytes.extend(sum.as_bytes());
    Ok(bytes)
}
