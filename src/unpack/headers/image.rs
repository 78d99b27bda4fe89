//! What the headers of an image's layers say together.
//!
//! Pure. The same rules as unpacking: links in parents are followed inside the root, what is in the
//! way goes, whiteouts take away what is below.

use std::collections::{BTreeMap, HashSet};

use snapshot::RootfsPath;
use thiserror::Error;

use super::{Header, HeaderEntry, HeaderIndex, HeaderKind};

/// As many links as the kernel follows in one path.
const LINK_LIMIT: usize = 40;

/// Layers that cannot be put on top of each other.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeadersError {
    /// Too many symbolic links, or links in a circle.
    #[error("too many symbolic links in `{0}`")]
    Loop(RootfsPath),
    /// Something in what is no directory.
    #[error("`{0}` is not a directory")]
    NotDirectory(RootfsPath),
    /// A hard link to what is not there, or to a directory.
    #[error("cannot make `{path}` a hard link to `{target}`")]
    LinkTarget {
        /// The link.
        path: RootfsPath,
        /// Its target.
        target: RootfsPath,
    },
}

/// What is known of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept<'a> {
    /// All of it.
    Content(&'a [u8]),
    /// Nothing: the layers have to be read.
    Unknown,
    /// There is no such file.
    Missing,
}

/// The files of an image, as far as headers tell.
#[derive(Debug, Clone, Default)]
pub struct ImageHeaders {
    entries: BTreeMap<RootfsPath, HeaderEntry>,
    layer_count: usize,
}

impl ImageHeaders {
    /// Returns what `layers`, lowest first, say together.
    ///
    /// # Errors
    /// See [`HeadersError`]: where unpacking would fail too.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a HeaderIndex>) -> Result<Self, HeadersError> {
        let mut image = Self::default();
        for layer in layers {
            image.apply(layer)?;
        }
        Ok(image)
    }

    /// Returns what is at `path`, whose parents must be free of links; the root only when a layer
    /// has it.
    pub fn get(&self, path: &RootfsPath) -> Option<&HeaderEntry> {
        self.entries.get(path)
    }

    /// Returns every entry by path, parents first.
    pub fn iter(&self) -> impl Iterator<Item = (&RootfsPath, &HeaderEntry)> {
        self.entries.iter()
    }

    /// Returns what `path` is once every link in it is followed, the last component's too; what is
    /// missing is kept as written.
    ///
    /// # Errors
    /// [`HeadersError::Loop`].
    pub fn resolve(&self, path: &RootfsPath) -> Result<RootfsPath, HeadersError> {
        follow_links(path, |at| match &self.get(at)?.kind {
            HeaderKind::Symlink(target) => Some(target.as_slice()),
            HeaderKind::Directory | HeaderKind::Regular { .. } | HeaderKind::Special { .. } => None,
        })
        .ok_or_else(|| HeadersError::Loop(path.clone()))
    }

    /// Returns the content of a file, links followed, where it was kept.
    ///
    /// # Errors
    /// [`HeadersError::Loop`].
    pub fn read(&self, path: &RootfsPath) -> Result<Kept<'_>, HeadersError> {
        let kind = self.get(&self.resolve(path)?).map(|entry| &entry.kind);
        Ok(match kind {
            None => Kept::Missing,
            Some(HeaderKind::Regular { content: Some(content), .. }) => Kept::Content(content),
            Some(_) => Kept::Unknown,
        })
    }

    fn apply(&mut self, layer: &HeaderIndex) -> Result<(), HeadersError> {
        let mut written = HashSet::new();
        for header in &layer.headers {
            match header {
                Header::Entry(path, entry) => {
                    let path = self.make_parents(path, &mut written)?;
                    self.put(path, entry.clone(), &mut written);
                }
                Header::HardLink { path, target } => {
                    let path = self.make_parents(path, &mut written)?;
                    let target = self.resolve_parent(target)?;
                    let linked = match self.entries.get_mut(&target) {
                        Some(entry)
                            if entry.kind != HeaderKind::Directory
                                && !target.starts_with(&path) =>
                        {
                            entry.is_linked = true;
                            entry.clone()
                        }
                        _ => return Err(HeadersError::LinkTarget { path, target }),
                    };
                    self.put(path, linked, &mut written);
                }
                Header::Hides(path) => {
                    let path = self.resolve_parent(path)?;
                    self.remove_lower(&path, &written);
                }
                Header::Opaque(directory) => {
                    let directory = self.resolve(directory)?;
                    for child in self.children(&directory) {
                        self.remove_lower(&child, &written);
                    }
                }
            }
        }
        self.layer_count += 1;
        Ok(())
    }

    fn resolve_parent(&self, path: &RootfsPath) -> Result<RootfsPath, HeadersError> {
        match path.parent().zip(path.file_name()) {
            None => Ok(RootfsPath::root()),
            Some((parent, name)) => Ok(self.resolve(&parent)?.join_name(name)),
        }
    }

    /// Returns where `path` is, having made the directories above it that are missing.
    fn make_parents(
        &mut self,
        path: &RootfsPath,
        written: &mut HashSet<RootfsPath>,
    ) -> Result<RootfsPath, HeadersError> {
        let path = self.resolve_parent(path)?;
        let mut missing = Vec::new();
        for directory in path.ancestors().filter(|directory| !directory.is_root()) {
            match self.get(&directory).map(|entry| &entry.kind) {
                Some(HeaderKind::Directory) => break,
                Some(_) => return Err(HeadersError::NotDirectory(directory)),
                None => missing.push(directory),
            }
        }
        // Top first: what takes a place takes what is below it away.
        for directory in missing.into_iter().rev() {
            self.put(directory, HeaderEntry::IMPLIED, written);
        }
        Ok(path)
    }

    fn put(&mut self, path: RootfsPath, entry: HeaderEntry, written: &mut HashSet<RootfsPath>) {
        let is_directory = |entry: &HeaderEntry| entry.kind == HeaderKind::Directory;
        // A directory stays where a directory comes; the root is one before any layer says so.
        let stays = path.is_root() || self.get(&path).is_some_and(is_directory);
        if !(is_directory(&entry) && stays) {
            self.remove(&path);
        }
        if written.insert(path.clone()) {
            for directory in path.ancestors() {
                if !written.insert(directory) {
                    break;
                }
            }
        }
        self.entries.insert(path, entry);
    }

    fn remove(&mut self, path: &RootfsPath) {
        for below in self.below(path) {
            self.entries.remove(&below);
        }
    }

    /// Removes `path` and what is below it, except what this layer wrote.
    fn remove_lower(&mut self, path: &RootfsPath, written: &HashSet<RootfsPath>) {
        if self.layer_count == 0 {
            return;
        }
        for below in self.below(path) {
            if !written.contains(&below) {
                self.entries.remove(&below);
            }
        }
    }

    /// Returns `path` and every path below it that there is.
    fn below(&self, path: &RootfsPath) -> Vec<RootfsPath> {
        path.within(&self.entries).map(|(below, _)| below.clone()).collect()
    }

    fn children(&self, directory: &RootfsPath) -> Vec<RootfsPath> {
        let mut below = self.below(directory);
        below.retain(|path| path.parent().as_ref() == Some(directory));
        below
    }
}

/// Returns what `path` is once every link in it is followed inside the root, the last component's
/// too; what is missing is kept as written. `None` where there are more links than the kernel
/// follows.
///
/// `target` says where the link at a path leads, `None` for what is no link; it is asked about paths
/// whose parents are free of links.
pub fn follow_links<'a>(
    path: &RootfsPath,
    target: impl Fn(&RootfsPath) -> Option<&'a [u8]>,
) -> Option<RootfsPath> {
    let mut at = RootfsPath::root();
    let mut pending: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
    let mut followed = 0;
    while let Some(component) = pending.pop() {
        if component == b".." {
            at = at.parent().unwrap_or_default();
            continue;
        }
        let next = at.join_name(&component);
        let Some(target) = target(&next) else {
            at = next;
            continue;
        };
        followed += 1;
        if followed > LINK_LIMIT {
            return None;
        }
        if target.first() == Some(&b'/') {
            at = RootfsPath::root();
        }
        let parts = target.split(|&byte| byte == b'/').rev();
        pending.extend(parts.filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec));
    }
    Some(at)
}
