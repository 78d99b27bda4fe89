//! What a COPY reads, without copying it: what its result depends on beside the tree it goes to.
//!
//! Said as it will be in the image: owners and times of a context's files are not among it, nor are
//! modes where the step sets them.

use std::collections::HashMap;
use std::io::{self, Read};

use snapshot::{Digest, Digester, FileKind, InodeId, Metadata, RootfsPath, Xattrs};

use super::source::Source;
use crate::execute::ExecuteError;
use crate::plan::{CopyStep, FileMode};

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

/// Says what a step reads of a context, in an order that depends on names alone.
///
/// # Errors
/// As [`super::copy`] for what cannot be found or read.
pub fn inputs(
    step: &CopyStep,
    source: &Source<'_>,
    see: &mut dyn FnMut(Input),
) -> Result<(), ExecuteError> {
    for (position, pattern) in step.sources.iter().enumerate() {
        for path in source.matches(pattern)? {
            let found = source.follow(&path)?;
            let mut walk =
                Walk { step, source, position, first_names: HashMap::new(), see: &mut *see };
            if found.metadata.kind == FileKind::Directory {
                walk.tree(&path, &found.path)?;
            } else {
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
    see: &'a mut dyn FnMut(Input),
}

impl Walk<'_> {
    /// Sees a directory, of which only the contents are copied, and all below it.
    fn tree(&mut self, named: &RootfsPath, top: &RootfsPath) -> Result<(), ExecuteError> {
        (self.see)(Input {
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
                if !self.source.keeps(&path) {
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
        let content = match (first, metadata.kind) {
            (Some(first), _) => InputContent::SameAs(first),
            (None, FileKind::Regular) => InputContent::Bytes(self.digest(path, metadata)?),
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
        (self.see)(Input {
            source: self.position,
            path: shown.clone(),
            kind: metadata.kind,
            // The mode of a link means nothing.
            mode: mode.filter(|_| metadata.kind != FileKind::Symlink),
            xattrs: rootfs.xattrs(path)?,
            content,
        });
        Ok(())
    }
}

impl Walk<'_> {
    /// Returns the digest of a file's content, reading it where it is not known.
    fn digest(&self, path: &RootfsPath, metadata: &Metadata) -> Result<Digest, ExecuteError> {
        let known = self.source.known();
        if let Some(digest) = known.and_then(|known| known.digest(metadata)) {
            return Ok(digest);
        }
        let file = self.source.rootfs().open_file(path)?;
        let digest =
            digest(&file).map_err(|source| ExecuteError::Content { path: path.clone(), source })?;
        if let Some(known) = known {
            known.learn(metadata, &file, &digest);
        }
        Ok(digest)
    }
}

fn digest(mut file: impl Read) -> io::Result<Digest> {
    let mut digester = Digester::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok(digester.finish()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digester.update(buffer.get(..count).unwrap_or_default());
    }
}
