//! What a COPY reads, without copying it: what its result depends on beside the tree it goes to.
//!
//! Said as it will be in the image: owners and times of a context's files are not among it, nor are
//! modes where the step sets them.

use std::collections::HashMap;

use snapshot::{Digest, FileKind, InodeId, Metadata, RootfsPath, Xattrs};

use super::digests::{ContentDigests, Unread};
use super::exclude::Excludes;
use super::parents;
use super::source::{Found, Source};
use crate::context::{Attributes, Known};
use crate::execute::ExecuteError;
use crate::plan::{CopyItem, CopyStep, FileMode};

/// One thing that a COPY reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The position of its pattern among the step's sources.
    pub source: usize,
    /// Where it is, from the root of what is copied from.
    pub path: RootfsPath,
    /// What it is.
    pub kind: FileKind,
    /// Its mode, unless the step gives it one.
    pub mode: Option<u32>,
    /// Its extended attributes.
    pub xattrs: Xattrs,
    /// What is in it.
    pub content: InputContent,
}

/// What is in a file that a COPY reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputContent {
    /// Bytes.
    Bytes(Digest),
    /// Where a link leads.
    Target(Vec<u8>),
    /// The same as in another of its names, which came before.
    SameAs(RootfsPath),
    /// A device's numbers.
    Device(u32, u32),
    /// Nothing.
    None,
}

/// Returns what a step reads of a context, and not what is fetched for it, in an order that depends on
/// names alone.
///
/// # Errors
/// As [`super::copy`] for what cannot be found or read.
pub fn inputs(
    step: &CopyStep,
    source: &Source<'_>,
    digests: &ContentDigests,
) -> Result<Vec<Input>, ExecuteError> {
    let (mut seen, mut unread) = (Vec::new(), Vec::new());
    walk(step, source, Reads::Everything { digests, seen: &mut seen, unread: &mut unread })?;
    let files: Vec<&Unread> = unread.iter().map(|(_, file)| file).collect();
    let read = digests.of(source, &files)?;
    for ((position, _), digest) in unread.iter().zip(read) {
        if let Some(input) = seen.get_mut(*position) {
            input.content = InputContent::Bytes(digest);
        }
    }
    Ok(seen)
}

/// Only looks at what a step reads of a context, for the sake of who watches that.
///
/// # Errors
/// As [`inputs`].
pub fn look(step: &CopyStep, source: &Source<'_>) -> Result<(), ExecuteError> {
    walk(step, source, Reads::Nothing)
}

fn walk(step: &CopyStep, source: &Source<'_>, reads: Reads<'_>) -> Result<(), ExecuteError> {
    let excludes = Excludes::of(step)?;
    let first_names = HashMap::new();
    let mut walk = Walk { step, source, position: 0, first_names, reads };
    for (position, item) in step.sources.iter().enumerate() {
        let pattern = match item {
            CopyItem::Path(pattern) => pattern,
            CopyItem::WithParents { directory, pattern } => {
                for picks in parents::pick(source, &excludes, directory, pattern)? {
                    walk.first_names.clear();
                    for picked in &picks {
                        walk.entry(&picked.path, &picked.path, &picked.metadata)?;
                    }
                }
                continue;
            }
            CopyItem::File(_) | CopyItem::Repository(_) => continue,
        };
        walk.position = position;
        for path in source.matches(pattern)? {
            let found = source.follow(&path)?;
            walk.first_names.clear();
            if found.metadata.kind == FileKind::Directory {
                walk.tree(&path, &found, &excludes)?;
            } else if excludes.keeps(&path)? {
                // Its name is that of the link, where it was named by one.
                walk.entry(&path, &found.path, &found.metadata)?;
            }
        }
    }
    Ok(())
}

struct Walk<'a> {
    step: &'a CopyStep,
    source: &'a Source<'a>,
    position: usize,
    first_names: HashMap<InodeId, RootfsPath>,
    reads: Reads<'a>,
}

/// What a walk reads.
enum Reads<'a> {
    /// Only what the entries are.
    Nothing,
    Everything {
        digests: &'a ContentDigests,
        seen: &'a mut Vec<Input>,
        /// Files whose bytes are still to be read, by their place among what was seen.
        unread: &'a mut Vec<(usize, Unread)>,
    },
}

impl Walk<'_> {
    /// Sees a directory, of which only the contents are copied, and all below it.
    fn tree(
        &mut self,
        named: &RootfsPath,
        top: &Found,
        excludes: &Excludes,
    ) -> Result<(), ExecuteError> {
        let left = excludes.below(self.source.rootfs(), &top.path)?;
        if self.source.is_mounted() {
            self.entry(named, &top.path, &top.metadata)?;
        } else if let Reads::Everything { seen, .. } = &mut self.reads {
            seen.push(Input {
                source: self.position,
                path: named.clone(),
                kind: FileKind::Directory,
                mode: None,
                xattrs: Xattrs::new(),
                content: InputContent::None,
            });
        }
        let mut pending = vec![(named.clone(), top.path.clone())];
        while let Some((shown, path)) = pending.pop() {
            let directory = self.source.rootfs().open_dir(&path)?;
            let mut entries = directory.entries()?;
            entries.sort();
            for entry in entries {
                let (shown, path) = (shown.join_name(&entry.name), path.join_name(&entry.name));
                if !self.source.keeps(&path) || !left.keeps(&path) {
                    continue;
                }
                let Some(metadata) = directory.metadata(&entry.name)? else {
                    return Err(ExecuteError::SourceVanished { path });
                };
                self.source.saw(&path, &metadata);
                self.entry(&shown, &path, &metadata)?;
                if metadata.kind == FileKind::Directory {
                    pending.push((shown, path));
                }
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        shown: &RootfsPath,
        path: &RootfsPath,
        metadata: &Metadata,
    ) -> Result<(), ExecuteError> {
        let rootfs = self.source.rootfs();
        let is_directory = metadata.kind == FileKind::Directory;
        let (digests, seen, unread) = match &mut self.reads {
            Reads::Nothing if !is_directory => return Ok(()),
            Reads::Nothing => (None, &mut Vec::new(), &mut Vec::new()),
            Reads::Everything { digests, seen, unread } => {
                (Some(*digests), &mut **seen, &mut **unread)
            }
        };
        let first = match metadata.nlink {
            0 | 1 => None,
            _ if is_directory => None,
            _ => self.first_names.get(&metadata.inode()).cloned(),
        };
        // Of a file that is known to have none they are not asked for.
        let known = match (&first, metadata.kind) {
            (None, FileKind::Regular) => {
                let kept = self.source.known();
                match digests.and_then(|digests| digests.get_for_now(metadata)) {
                    Some(known) => {
                        kept.iter().for_each(|kept| kept.take(metadata, known));
                        Some(known)
                    }
                    None => kept.and_then(|kept| kept.get(metadata)),
                }
            }
            _ => None,
        };
        let xattrs = match known {
            Some(Known { attributes: Attributes::None, .. }) => Xattrs::new(),
            Some(Known { attributes: Attributes::Some, .. }) | None => rootfs.xattrs(path)?,
        };
        if let (true, Some(watch)) = (is_directory, self.source.watch()) {
            watch.saw_attributes(path, &xattrs);
        }
        let content = match (first, metadata.kind) {
            (Some(first), _) => InputContent::SameAs(first),
            (None, FileKind::Regular) => {
                match known {
                    Some(known) => {
                        digests.iter().for_each(|it| it.remember(metadata, known.digest));
                        InputContent::Bytes(known.digest)
                    }
                    None => {
                        let attributes = match xattrs.is_empty() {
                            true => Attributes::None,
                            false => Attributes::Some,
                        };
                        unread.push((seen.len(), Unread::new(path, metadata, attributes)));
                        // Until its bytes were read.
                        InputContent::None
                    }
                }
            }
            (None, FileKind::Symlink) => InputContent::Target(rootfs.read_link(path)?),
            (None, FileKind::CharDevice | FileKind::BlockDevice) => {
                InputContent::Device(metadata.rdev_major, metadata.rdev_minor)
            }
            (None, FileKind::Directory | FileKind::Fifo | FileKind::Socket) => InputContent::None,
        };
        if metadata.nlink > 1 && metadata.kind != FileKind::Directory {
            self.first_names.entry(metadata.inode()).or_insert_with(|| shown.clone());
        }
        let mode = match &self.step.mode {
            Some(FileMode::Absolute(_)) => None,
            Some(FileMode::Symbolic(_)) | None => Some(metadata.mode),
        };
        seen.push(Input {
            source: self.position,
            path: shown.clone(),
            kind: metadata.kind,
            // The mode of a link means nothing.
            mode: mode.filter(|_| metadata.kind != FileKind::Symlink),
            xattrs,
            content,
        });
        Ok(())
    }
}
