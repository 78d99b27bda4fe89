//! What a COPY reads, without copying it: what its result depends on beside the tree it goes to.
//!
//! Said as it will be in the image: owners and times of a context's files are not among it, nor are
//! modes where the step sets them.

use std::collections::HashMap;

use snapshot::{Digest, FileKind, InodeId, Metadata, RootfsPath, Xattrs};

use super::digests::{ContentDigests, Unread};
use super::exclude::Excludes;
use super::parents::{self, Picked};
use super::source::Source;
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
    let excludes = Excludes::of(step)?;
    for (position, item) in step.sources.iter().enumerate() {
        let pattern = match item {
            CopyItem::Path(pattern) => pattern,
            CopyItem::WithParents { directory, pattern } => {
                for picks in parents::pick(source, &excludes, directory, pattern)? {
                    let (seen, unread) = (&mut seen, &mut unread);
                    let first_names = HashMap::new();
                    let mut walk =
                        Walk { step, source, digests, position, first_names, seen, unread };
                    for Picked { path, metadata, .. } in &picks {
                        walk.entry(path, path, metadata)?;
                    }
                }
                continue;
            }
            CopyItem::File(_) | CopyItem::Repository(_) => continue,
        };
        for path in source.matches(pattern)? {
            let found = source.follow(&path)?;
            let (seen, unread) = (&mut seen, &mut unread);
            let first_names = HashMap::new();
            let mut walk = Walk { step, source, digests, position, first_names, seen, unread };
            let is_directory = found.metadata.kind == FileKind::Directory;
            if !is_directory && !excludes.keeps(&path)? {
                continue;
            }
            if is_directory {
                walk.tree(&path, &found.path, &excludes)?;
            } else {
                // Its name is that of the link, where it was named by one.
                walk.entry(&path, &found.path, &found.metadata)?;
            }
        }
    }
    let files: Vec<&Unread> = unread.iter().map(|(_, file)| file).collect();
    let read = digests.of(source, &files)?;
    for ((position, _), digest) in unread.iter().zip(read) {
        if let Some(input) = seen.get_mut(*position) {
            input.content = InputContent::Bytes(digest);
        }
    }
    Ok(seen)
}

struct Walk<'a> {
    step: &'a CopyStep,
    source: &'a Source<'a>,
    digests: &'a ContentDigests,
    position: usize,
    first_names: HashMap<InodeId, RootfsPath>,
    seen: &'a mut Vec<Input>,
    /// Files whose bytes are still to be read, by their place among what was seen.
    unread: &'a mut Vec<(usize, Unread)>,
}

impl Walk<'_> {
    /// Sees a directory, of which only the contents are copied, and all below it.
    fn tree(
        &mut self,
        named: &RootfsPath,
        top: &RootfsPath,
        excludes: &Excludes,
    ) -> Result<(), ExecuteError> {
        let left = excludes.below(self.source.rootfs(), top)?;
        self.seen.push(Input {
            source: self.position,
            path: named.clone(),
            kind: FileKind::Directory,
            mode: None,
            xattrs: Xattrs::new(),
            content: InputContent::None,
        });
        let mut pending = vec![(named.clone(), top.clone())];
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
        let first = match metadata.nlink {
            0 | 1 => None,
            _ if metadata.kind == FileKind::Directory => None,
            _ => self.first_names.get(&metadata.inode()).cloned(),
        };
        // Of a file that is known to have none they are not asked for.
        let known = match (&first, metadata.kind) {
            (None, FileKind::Regular) => self.source.known().and_then(|known| known.get(metadata)),
            _ => None,
        };
        let xattrs = match known {
            Some(Known { attributes: Attributes::None, .. }) => Xattrs::new(),
            Some(Known { attributes: Attributes::Some, .. }) | None => rootfs.xattrs(path)?,
        };
        let content = match (first, metadata.kind) {
            (Some(first), _) => InputContent::SameAs(first),
            (None, FileKind::Regular) => {
                match known {
                    Some(known) => {
                        self.digests.remember(metadata, known.digest);
                        InputContent::Bytes(known.digest)
                    }
                    None => {
                        let attributes = match xattrs.is_empty() {
                            true => Attributes::None,
                            false => Attributes::Some,
                        };
                        self.unread
                            .push((self.seen.len(), Unread::new(path, metadata, attributes)));
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
        self.seen.push(Input {
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
