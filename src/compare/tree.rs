//! The truth: everything that a directory holds, read without asking anyone.
//!
//! Every file's content and extended attributes are read each time, by paths and `std::fs`, one
//! entry after the other. It must share no code with the walker that it judges.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::context::pattern::go_match;

/// Entries by their path from the root, without a leading slash; the root itself is left out.
pub(super) type Tree = BTreeMap<Vec<u8>, Entry>;

/// What an image can hold of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The type bits of the mode.
    pub(super) kind: u32,
    /// Permissions, set-id bits and sticky bit; 0 for a symbolic link.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// SHA-256 of the content, or of a link's target.
    pub(super) content: [u8; 32],
    /// SHA-256 of all extended attributes.
    pub(super) xattrs: [u8; 32],
    pub(super) device: (u32, u32),
}

const KIND_BITS: u32 = 0o170_000;
pub(super) const DIRECTORY: u32 = 0o040_000;
pub(super) const REGULAR: u32 = 0o100_000;
pub(super) const SYMLINK: u32 = 0o120_000;
const SOCKET: u32 = 0o140_000;

impl Entry {
    /// Says what is different in words.
    pub(super) fn difference(&self, other: &Self) -> String {
        let parts = [
            ("kind", self.kind != other.kind),
            ("mode", self.mode != other.mode),
            ("owner", (self.uid, self.gid) != (other.uid, other.gid)),
            ("mtime", self.mtime != other.mtime),
            ("content", self.content != other.content),
            ("extended attributes", self.xattrs != other.xattrs),
            ("device", self.device != other.device),
        ];
        let names: Vec<&str> = parts.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
        names.join(", ")
    }
}

/// What is not looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Ignored {
    /// Paths or patterns from the root, without a leading slash; what is below is left out too.
    pub(super) paths: Vec<Vec<u8>>,
}

impl Ignored {
    pub(super) fn contains(&self, path: &[u8]) -> bool {
        self.paths.iter().any(|ignored| {
            path == ignored.as_slice() || (is_pattern(ignored) && matches(ignored, path))
        })
    }
}

fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|byte| b"*?[\\".contains(byte))
}

/// Matches a path component by component, as `--ignore-path` does.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let slash = |byte: &u8| *byte == b'/';
    pattern.split(slash).count() == path.split(slash).count()
        && pattern
            .split(slash)
            .zip(path.split(slash))
            // Patterns were checked when the options were read.
            .all(|(pattern, name)| go_match(pattern, name).unwrap_or(false))
}

/// Reads everything below `root`. Mounts are left out, and sockets, which no image can hold.
pub(super) fn read(root: &Path, ignored: &Ignored) -> io::Result<Tree> {
    let device = fs::symlink_metadata(root)?.dev();
    let mut tree = Tree::new();
    let mut pending: Vec<(PathBuf, Vec<u8>)> = vec![(root.to_owned(), Vec::new())];
    let mut buffer = vec![0; 128 * 1024];
    while let Some((directory, name)) = pending.pop() {
        for item in fs::read_dir(&directory)? {
            let item = item?;
            let path = join(&name, item.file_name().as_bytes());
            let on_disk = item.path();
            let metadata = fs::symlink_metadata(&on_disk)?;
            let kind = metadata.mode() & KIND_BITS;
            if ignored.contains(&path) || kind == SOCKET || metadata.dev() != device {
                continue;
            }
            tree.insert(path.clone(), entry(&on_disk, &metadata, &mut buffer)?);
            if kind == DIRECTORY {
                pending.push((on_disk, path));
            }
        }
    }
    Ok(tree)
}

/// Returns the path of a name in a directory.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        b"" => name.to_vec(),
        directory => [directory, b"/", name].concat(),
    }
}

fn entry(path: &Path, metadata: &fs::Metadata, buffer: &mut [u8]) -> io::Result<Entry> {
    let kind = metadata.mode() & KIND_BITS;
    let content = match kind {
        REGULAR => hash_content(&mut File::open(path)?, buffer)?,
        SYMLINK => hash(&fs::read_link(path)?.into_os_string().into_vec()),
        _ => hash(b""),
    };
    let is_device = kind == 0o020_000 || kind == 0o060_000;
    let device = metadata.rdev();
    Ok(Entry {
        kind,
        mode: if kind == SYMLINK { 0 } else { metadata.mode() & 0o7777 },
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or_default()),
        content,
        xattrs: hash_xattrs(xattrs(path)?.iter().map(|(name, value)| (&**name, &**value))),
        device: match is_device {
            true => (rustix::fs::major(device), rustix::fs::minor(device)),
            false => (0, 0),
        },
    })
}

/// Returns the SHA-256 of all that a reader gives.
pub(super) fn hash_content(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    loop {
        let count = reader.read(buffer)?;
        match buffer.get(..count) {
            None | Some([]) => return Ok(hasher.finalize().into()),
            Some(bytes) => hasher.update(bytes),
        }
    }
}

/// Returns the SHA-256 of some bytes.
pub(super) fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Returns the SHA-256 of extended attributes, given in the order of their names.
pub(super) fn hash_xattrs<'a>(xattrs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for (name, value) in xattrs {
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update((value.len() as u64).to_le_bytes());
        hasher.update(value);
    }
    hasher.finalize().into()
}

fn xattrs(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; 64 * 1024];
    let length = match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    names.truncate(length);
    let mut found = BTreeMap::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 * 1024];
        match rustix::fs::lgetxattr(path, name, &mut value) {
            Ok(length) => {
                value.truncate(length);
                found.insert(name.to_vec(), value);
            }
            // The machine's own label of the file, which is in no image.
            Err(rustix::io::Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    found.retain(|name, _| name.as_slice() != b"security.selinux");
    Ok(found)
}

/// Returns the paths that differ between two readings, with what is there now.
pub(super) fn changes(before: &Tree, after: &Tree) -> BTreeMap<Vec<u8>, Option<Entry>> {
    let gone = before.keys().filter(|path| !after.contains_key(*path)).map(|p| (p.clone(), None));
    let new = after
        .iter()
        .filter(|(path, entry)| before.get(*path) != Some(entry))
        .map(|(path, entry)| (path.clone(), Some(*entry)));
    gone.chain(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_paths_are_matched_whole_and_by_component() {
        let ignored = Ignored { paths: vec![b"var/run".to_vec(), b"home/*/cache".to_vec()] };
        let cases = ["var/run", "var", "var/run2", "home/a/cache", "home/a/b/cache"];
        let found = cases.map(|path| ignored.contains(path.as_bytes()));
        assert_eq!(found, [true, false, false, true, false]);
    }

    #[test]
    fn every_kind_of_change_is_seen() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| directory.path().join(name);
        for name in ["content", "gone", "same"] {
            fs::write(file(name), "one").expect("write");
        }
        let before = read(directory.path(), &Ignored::default()).expect("read");
        let mtime = fs::metadata(file("content")).expect("stat").modified().expect("a time");
        fs::write(file("content"), "two").expect("write");
        let opened = File::options().write(true).open(file("content")).expect("open");
        opened.set_modified(mtime).expect("utimes");
        fs::remove_file(file("gone")).expect("removed");
        fs::create_dir(file("new")).expect("mkdir");
        let after = read(directory.path(), &Ignored::default()).expect("read");
        let changes = changes(&before, &after);
        let seen: Vec<(&[u8], bool)> =
            changes.iter().map(|(path, now)| (path.as_slice(), now.is_some())).collect();
        assert_eq!(seen, [(&b"content"[..], true), (b"gone", false), (b"new", true)]);
        let (old, new) = (before[&b"content"[..]], after[&b"content"[..]]);
        assert_eq!(old.difference(&new), "content");
    }
}
