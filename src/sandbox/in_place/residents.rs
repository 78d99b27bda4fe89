//! What was in a root before the first stage: it is no part of any image, and it stays.

use std::collections::BTreeMap;

use rustix::fs::{AtFlags, StatxFlags};
use serde::{Deserialize, Serialize};
use snapshot::{Directory, FileKind, InodeId, Metadata, Rootfs, RootfsPath, Row, Timestamp};

use super::InPlace;
use crate::sandbox::SandboxError;

/// The root and the entries in it before the first stage, apart from what is protected or mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(String, Resident)>", into = "Vec<(String, Resident)>")]
pub struct Residents {
    /// By the bytes of the path.
    pub(super) entries: BTreeMap<Vec<u8>, Resident>,
}

/// A path's bytes as the characters of the same number: any bytes are text so, and most of them
/// stay as short as they are.
fn text_of(path: Vec<u8>) -> String {
    path.into_iter().map(char::from).collect()
}

fn bytes_of(text: &str) -> Vec<u8> {
    // What is no byte was not written by us, and names nothing.
    text.chars().filter_map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

impl From<Vec<(String, Resident)>> for Residents {
    fn from(entries: Vec<(String, Resident)>) -> Self {
        let entries = entries.into_iter().map(|(path, entry)| (bytes_of(&path), entry));
        Self { entries: entries.collect() }
    }
}

impl From<Residents> for Vec<(String, Resident)> {
    fn from(residents: Residents) -> Self {
        let entries = residents.entries.into_iter();
        entries.map(|(path, entry)| (text_of(path), entry)).collect()
    }
}

/// What an entry was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resident {
    dev: u64,
    ino: u64,
    /// When the inode was made, where the file system remembers: inode numbers are used again at
    /// once, so that what replaced a resident may have the resident's.
    birth: Option<(i64, u32)>,
    pub is_directory: bool,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, u32),
}

impl Resident {
    /// Describes what `name` is.
    pub fn of(directory: &Directory, name: &[u8], metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev,
            ino: metadata.ino,
            birth: birth(directory, name),
            is_directory: metadata.kind == FileKind::Directory,
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            mtime: (metadata.mtime.seconds, metadata.mtime.nanoseconds),
        }
    }

    /// Tells whether this is what `name` is, whatever was changed of it.
    ///
    /// A directory is the one that is there, even if it was made anew: it is left as it was, and
    /// what is in it is looked at one by one. An overlay makes a new inode of a file that is written
    /// to for the first time, and goes on with its number, but not with its birth.
    pub fn is(&self, directory: &Directory, name: &[u8], found: &Metadata) -> bool {
        if self.is_directory || found.kind == FileKind::Directory {
            return self.is_directory && found.kind == FileKind::Directory;
        }
        let own = InodeId { dev: self.dev, ino: self.ino };
        own == found.inode() && (self.birth == birth(directory, name) || is_overlay(directory))
    }

    /// Tells whether this is what `path` is, whatever was changed of it.
    pub fn is_at(&self, root: &Rootfs, path: &RootfsPath) -> Result<bool, SandboxError> {
        let Some(found) = root.metadata(path)? else { return Ok(false) };
        let parent = path.parent().unwrap_or_else(RootfsPath::root);
        let directory = root.open_dir(&parent)?;
        Ok(self.is(&directory, path.file_name().unwrap_or(b"."), &found))
    }

    /// Tells whether `path` is the very inode.
    pub fn is_inode_at(&self, root: &Rootfs, path: &RootfsPath) -> Result<bool, SandboxError> {
        let own = InodeId { dev: self.dev, ino: self.ino };
        Ok(root.metadata(path)?.is_some_and(|found| found.inode() == own))
    }

    /// Gives a directory back the metadata that it had.
    pub fn restore(&self, root: &Rootfs, path: &RootfsPath) -> Result<(), SandboxError> {
        root.set_owner(path, self.uid, self.gid)?;
        root.set_mode(path, self.mode)?;
        let (seconds, nanoseconds) = self.mtime;
        root.set_mtime(path, Timestamp { seconds, nanoseconds })?;
        Ok(())
    }
}

fn is_overlay(directory: &Directory) -> bool {
    const OVERLAY: u64 = 0x794c_7630;
    let found = rustix::fs::fstatfs(directory.as_fd());
    found.is_ok_and(|found| u64::try_from(found.f_type) == Ok(OVERLAY))
}

/// Returns when the inode of `name` was made; `None` where the file system does not say.
fn birth(directory: &Directory, name: &[u8]) -> Option<(i64, u32)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(directory.as_fd(), name, flags, StatxFlags::BTIME).ok()?;
    StatxFlags::from_bits_retain(stat.stx_mask)
        .contains(StatxFlags::BTIME)
        .then_some((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec))
}

impl Residents {
    /// Returns what was at `path`.
    pub(super) fn get(&self, path: &RootfsPath) -> Option<&Resident> {
        self.entries.get(path.as_bytes())
    }

    /// Returns the paths, in the order of their bytes.
    pub fn paths(&self) -> impl Iterator<Item = RootfsPath> {
        self.entries
            .keys()
            .map(|path| RootfsPath::new(path).expect("a path that the kernel gave has no NUL"))
    }
}

impl InPlace {
    /// Looks at what is in the root now.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn survey(&self) -> Result<Residents, SandboxError> {
        let mut entries = BTreeMap::from([(Vec::new(), self.root_itself()?)]);
        self.walk(&mut |directory, name, metadata| {
            let path = directory.path().join_name(name).as_bytes().to_vec();
            entries.insert(path, Resident::of(directory, name, metadata));
        })?;
        Ok(Residents { entries })
    }

    /// Describes the root's own directory.
    pub(super) fn root_itself(&self) -> Result<Resident, SandboxError> {
        let root = self.root.metadata(&RootfsPath::root())?.ok_or(SandboxError::RootGone)?;
        let handle = self.root.open_dir(&RootfsPath::root())?;
        Ok(Resident::of(&handle, b".", &root))
    }

    /// Returns rows for the residents that are still there and that `is_known` answers false for:
    /// with them in its index, a snapshot does not take them for something that a stage made.
    ///
    /// # Errors
    /// When the root cannot be looked at.
    pub fn resident_rows(
        &self,
        residents: &Residents,
        is_known: impl Fn(&RootfsPath) -> bool,
    ) -> Result<Vec<(RootfsPath, Row)>, SandboxError> {
        let mut rows = Vec::new();
        for path in residents.paths().filter(|path| !is_known(path)) {
            // Where the base has a link in the place of a directory, what is behind the link is not
            // what was in the directory.
            if self.root.resolve_parent(&path)? != path {
                continue;
            }
            if let Some(metadata) = self.root.metadata(&path)? {
                let xattrs = snapshot::xattr::digest(&self.root.xattrs(&path)?);
                rows.push((path, Row { metadata, content: None, xattrs, shadow: false }));
            }
        }
        Ok(rows)
    }

    /// Hands every entry below the root to `each`, but what is protected or mounted and what is in
    /// there.
    fn walk(&self, each: &mut dyn FnMut(&Directory, &[u8], &Metadata)) -> Result<(), SandboxError> {
        let mounts = self.root.mount_points()?;
        let mut pending = vec![RootfsPath::root()];
        while let Some(directory) = pending.pop() {
            let handle = self.root.open_dir(&directory)?;
            for entry in handle.entries()? {
                let path = directory.join_name(&entry.name);
                let Some(metadata) = handle.metadata(&entry.name)? else { continue };
                if mounts.contains(&path) || self.protected.contains(&metadata.inode()) {
                    continue;
                }
                if metadata.kind == FileKind::Directory {
                    pending.push(path);
                }
                each(&handle, &entry.name, &metadata);
            }
        }
        Ok(())
    }
}
