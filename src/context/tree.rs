//! The files of a context: a directory handle, and which paths in it count.

use std::collections::BTreeMap;

use snapshot::{DirEntry, FileKind, Rootfs, RootfsPath};

use super::dockerignore::{IgnoreRules, IgnoreWalk, Verdict};
use super::error::ContextError;

/// The files that a build may copy from: a directory without what its ignore file names.
///
/// What counts is decided once, so the directory must not change while it is in use.
pub struct BuildContext {
    root: Rootfs,
    kept: Kept,
}

/// What is kept at a path that is.
///
/// A directory of which all is kept is one value, so that even a large context costs as much as its
/// ignored edges.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    /// It, and everything below.
    All,
    /// It, and of what is in it these names; perhaps none.
    Some(BTreeMap<Box<[u8]>, Kept>),
}

impl BuildContext {
    /// Takes a directory and finds out what `rules` leave of it; without rules it is not walked.
    ///
    /// # Errors
    /// [`ContextError::Walk`] when a directory cannot be read, [`ContextError::Pattern`] for a
    /// malformed pattern.
    pub fn new(root: Rootfs, rules: &IgnoreRules) -> Result<Self, ContextError> {
        let kept = if rules.is_empty() { Kept::All } else { walk(&root, rules)? };
        Ok(Self { root, kept })
    }

    /// Returns the directory itself, with all that is in it.
    pub fn root(&self) -> &Rootfs {
        &self.root
    }

    /// Tells whether `path` counts; its symbolic links are not followed. True for what is not there
    /// in directories of which all counts.
    pub fn contains(&self, path: &RootfsPath) -> bool {
        let mut at = &self.kept;
        for name in path.components() {
            match at {
                Kept::All => return true,
                Kept::Some(names) => match names.get(name) {
                    Some(below) => at = below,
                    None => return false,
                },
            }
        }
        true
    }
}

const ACCESS: i32 = rustix::io::Errno::ACCESS.raw_os_error();

/// A directory in the middle of the walk.
struct Frame {
    path: RootfsPath,
    /// What is still to be seen.
    entries: std::vec::IntoIter<DirEntry>,
    names: BTreeMap<Box<[u8]>, Kept>,
    /// Whether it, and everything in it so far, is kept.
    is_whole: bool,
    /// Whether it is kept whatever is found in it.
    is_kept: bool,
}

fn walk(root: &Rootfs, rules: &IgnoreRules) -> Result<Kept, ContextError> {
    let mut ignore = rules.walk();
    // A stack of our own: contexts can be deeper than a thread's.
    let mut frames = Vec::new();
    let mut frame = Frame::open(root, RootfsPath::root(), true)?
        .ok_or_else(|| ContextError::Vanished { context: root.host_path().to_owned() })?;
    loop {
        if let Some(entry) = frame.entries.next() {
            if let Some(inner) = frame.visit(root, &mut ignore, &entry)? {
                frames.push(std::mem::replace(&mut frame, inner));
            }
            continue;
        }
        let Some(mut above) = frames.pop() else { return Ok(frame.finish().unwrap_or(Kept::All)) };
        let name: Box<[u8]> = frame.path.file_name().unwrap_or_default().into();
        match frame.finish() {
            Some(kept) => above.keep(name, kept),
            None => above.is_whole = false,
        }
        frame = above;
    }
}

impl Frame {
    /// Opens a directory; `None` when it is gone.
    fn open(root: &Rootfs, path: RootfsPath, is_kept: bool) -> Result<Option<Self>, ContextError> {
        let entries = match root.read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.is_missing() => return Ok(None),
            // What is ignored need not be readable, as with BuildKit's client.
            Err(error) if !is_kept && error.raw_os_error() == Some(ACCESS) => Vec::new(),
            Err(source) => {
                let context = root.host_path().to_owned();
                return Err(ContextError::Walk { context, source });
            }
        };
        let entries = entries.into_iter();
        let names = BTreeMap::new();
        Ok(Some(Self { path, entries, names, is_whole: is_kept, is_kept }))
    }

    /// Decides on an entry; returns a directory that has to be walked first.
    fn visit(
        &mut self,
        root: &Rootfs,
        ignore: &mut IgnoreWalk<'_>,
        entry: &DirEntry,
    ) -> Result<Option<Frame>, ContextError> {
        let path = self.path.join_name(&entry.name);
        let is_directory = entry.kind == FileKind::Directory;
        let verdict = ignore.visit(path.as_bytes(), is_directory)?;
        let is_kept = matches!(verdict, Verdict::Kept { .. });
        if !is_directory && is_kept {
            self.keep(entry.name.as_slice().into(), Kept::All);
            return Ok(None);
        }
        if !is_directory || verdict == Verdict::Pruned {
            self.is_whole = false;
            return Ok(None);
        }
        Frame::open(root, path, is_kept)
    }

    fn keep(&mut self, name: Box<[u8]>, kept: Kept) {
        self.is_whole &= kept == Kept::All;
        self.names.insert(name, kept);
    }

    /// Returns what is kept of the directory; `None` when it goes itself.
    fn finish(self) -> Option<Kept> {
        match (self.is_whole, self.is_kept || !self.names.is_empty()) {
            (true, _) => Some(Kept::All),
            (false, true) => Some(Kept::Some(self.names)),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
