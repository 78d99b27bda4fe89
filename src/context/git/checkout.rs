//! From a commit's trees to files.
//!
//! As with git, a file is executable or not and nothing more; times are the commit's, so that the
//! same commit always makes the same files.

use gix_hash::ObjectId;
use gix_object::Kind;
use snapshot::{Rootfs, RootfsPath, Timestamp};

use super::error::GitError;
use super::fetch::Fetched;
use super::objects::{Entry, EntryKind, Objects};

/// Deepest tree.
const LEVELS: usize = 4096;

/// Longest target of a link: `PATH_MAX` without its NUL.
const LINK_BYTES: usize = 4095;

/// A commit that is to be written.
pub(super) struct Checkout<'a> {
    objects: &'a Objects,
    tree: ObjectId,
    time: Timestamp,
}

/// What was written.
#[derive(Default)]
pub(super) struct Files {
    /// Every file, link and submodule, in the order of git's index.
    pub(super) entries: Vec<(RootfsPath, EntryKind, ObjectId)>,
    /// Directories that submodules belong in, and their commits.
    pub(super) submodules: Vec<(RootfsPath, ObjectId)>,
}

/// A directory that is being written.
struct Frame {
    path: RootfsPath,
    entries: std::vec::IntoIter<Entry>,
}

impl<'a> Checkout<'a> {
    /// Reads a commit.
    pub(super) fn of(fetched: &'a Fetched) -> Result<Self, GitError> {
        let (tree, seconds) = fetched.objects.tree_and_time(fetched.commit)?;
        let time = Timestamp { seconds, nanoseconds: 0 };
        Ok(Self { objects: &fetched.objects, tree, time })
    }

    /// Returns the commit's time, which is that of its files.
    pub(super) fn time(&self) -> Timestamp {
        self.time
    }

    /// Returns the content of a file at the top, if there is one.
    pub(super) fn root_file(&self, name: &[u8]) -> Result<Option<Vec<u8>>, GitError> {
        let entries = self.objects.tree(self.tree)?;
        let is_file = |entry: &&Entry| {
            entry.name == name && matches!(entry.kind, EntryKind::File | EntryKind::Executable)
        };
        let found = entries.iter().find(is_file);
        found.map(|entry| self.objects.read(entry.id, Kind::Blob)).transpose()
    }

    /// Writes every file into `room`, which has nothing but perhaps a `.git`.
    pub(super) fn write(&self, room: &Rootfs) -> Result<Files, GitError> {
        let mut files = Files::default();
        let mut frames = vec![self.frame(RootfsPath::root(), self.tree)?];
        while let Some(frame) = frames.last_mut() {
            let Some(entry) = frame.entries.next() else {
                // After everything in it: what is written there moves its time.
                if !frame.path.is_root() {
                    room.set_mtime(&frame.path, self.time)?;
                }
                frames.pop();
                continue;
            };
            check(&entry.name, &frame.path)?;
            let path = frame.path.join_name(&entry.name);
            match entry.kind {
                EntryKind::Directory => {
                    if frames.len() >= LEVELS {
                        return Err(GitError::TooDeep { limit: LEVELS });
                    }
                    room.create_dir(&path, 0o755)?;
                    frames.push(self.frame(path, entry.id)?);
                    continue;
                }
                EntryKind::File | EntryKind::Executable => self.file(room, &path, &entry)?,
                EntryKind::Link => {
                    let target = self.objects.read(entry.id, Kind::Blob)?;
                    if target.is_empty() || target.len() > LINK_BYTES || target.contains(&0) {
                        return Err(GitError::Link { path: path.to_string() });
                    }
                    room.symlink(&target, &path)?;
                    room.set_mtime(&path, self.time)?;
                }
                EntryKind::Submodule => {
                    room.create_dir(&path, 0o755)?;
                    files.submodules.push((path.clone(), entry.id));
                }
            }
            files.entries.push((path, entry.kind, entry.id));
        }
        Ok(files)
    }

    fn file(&self, room: &Rootfs, path: &RootfsPath, entry: &Entry) -> Result<(), GitError> {
        let content = self.objects.read(entry.id, Kind::Blob)?;
        let mut file = room.create_file(path)?;
        std::io::Write::write_all(&mut file, &content)
            .map_err(|source| GitError::Write { path: path.to_string(), source })?;
        drop(file);
        let mode = if entry.kind == EntryKind::Executable { 0o755 } else { 0o644 };
        room.set_mode(path, mode)?;
        room.set_mtime(path, self.time)?;
        Ok(())
    }

    fn frame(&self, path: RootfsPath, tree: ObjectId) -> Result<Frame, GitError> {
        Ok(Frame { path, entries: self.objects.tree(tree)?.into_iter() })
    }
}

/// Refuses names that lead elsewhere, and what git keeps for itself however it is spelled. A name
/// that comes twice is found when it is made for the second time.
fn check(name: &[u8], within: &RootfsPath) -> Result<(), GitError> {
    let is_path = name.is_empty() || name.contains(&b'/') || name.contains(&0);
    let is_special = name == b"." || name == b".." || name.eq_ignore_ascii_case(b".git");
    if is_path || is_special || name.len() > 255 {
        let name = String::from_utf8_lossy(name).escape_debug().to_string();
        return Err(GitError::Name { name, directory: within.to_string() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [b"".as_slice(), b".", b"..", b".git", b".GIT", b".giT", b"a/b", b"a\0", b"/"] {
            assert!(check(name, &RootfsPath::root()).is_err(), "{name:?}");
        }
        for name in [b"a".as_slice(), b"...", b".gitignore", b".gitmodules", b"git", &[0xff]] {
            assert!(check(name, &RootfsPath::root()).is_ok(), "{name:?}");
        }
    }
}
