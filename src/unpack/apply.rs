//! Puts one layer after the other onto the root file system and into the index.

use std::collections::HashSet;
use std::io::BufRead;

use snapshot::{FileKind, Index, Metadata, Rootfs, RootfsPath, Row, Timestamp, Xattrs, xattr};

use super::error::{LayerError, UnpackError};
use super::layer::Identity;
use super::stream::{LayerStream, Summary};
use super::whiteout::{Meaning, meaning};
use super::{UnpackStats, Unpacked};
use crate::archive::{
    Beneath, Contents, Entry, EntryKind, Limits, NotOnDisk, Ownership, PlaceError, PlaceOptions,
    Placed, Placer, Reader, State,
};

/// The state between two entries.
pub(super) struct Applier {
    rootfs: Rootfs,
    placer: Placer,
    index: Index,
    /// Directories of what was there before the first layer that something was put into or taken
    /// from, where there was something.
    entered: Option<HashSet<RootfsPath>>,
    /// What the current layer wrote, and the directories above it; whiteouts leave these alone.
    /// Not kept for the lowest layer of all, under which there is nothing to hide.
    written: HashSet<RootfsPath>,
    stats: UnpackStats,
    not_on_disk: Vec<(RootfsPath, NotOnDisk)>,
}

impl Applier {
    /// `index` is of what is there.
    pub(super) fn new(rootfs: &Rootfs, index: Index, beneath: Option<&Beneath>) -> Self {
        let options = PlaceOptions {
            ownership: Ownership::Archive,
            contents: Contents::Digest,
            // Not the time of the build: the next layer may have to name it.
            implied_mtime: Some(Timestamp::EPOCH),
        };
        let placer = Placer::new(rootfs, options);
        Self {
            rootfs: rootfs.clone(),
            placer: match beneath {
                Some(beneath) => placer.keeping_covered(beneath),
                None => placer,
            },
            entered: (!index.is_empty()).then(HashSet::new),
            index,
            written: HashSet::new(),
            stats: UnpackStats::default(),
            not_on_disk: Vec::new(),
        }
    }

    /// Puts a layer on top of what is there, and checks that it is the one it should be.
    pub(super) fn apply(
        &mut self,
        stream: LayerStream,
        identity: &Identity,
        limits: Limits,
    ) -> Result<(), LayerError> {
        self.written.clear();
        let mut reader = Reader::new(stream, limits);
        while let Some(entry) = reader.next_entry()? {
            self.entry(&entry, &mut reader)?;
        }
        let summary = Summary::of(reader.get_ref(), identity)?;
        tracing::debug!(
            digest = %identity.digest,
            format = %summary.format,
            tar_bytes = summary.tar_bytes,
            entries = reader.entry_count(),
            "layer unpacked"
        );
        self.stats.layer_count += 1;
        self.stats.entry_count += reader.entry_count();
        self.stats.tar_bytes += summary.tar_bytes;
        self.stats.compressed_bytes += summary.compressed_bytes;
        Ok(())
    }

    /// Sets what could only be set at the end, and looks again at what later writes changed.
    pub(super) fn finish(mut self) -> Result<Unpacked, UnpackError> {
        let index = &mut self.index;
        let dropped = self
            .placer
            .finish(&mut |path, metadata, xattrs| index.insert(path, row(metadata, &xattrs)))
            .map_err(UnpackError::Finish)?;
        let finish = |error: snapshot::RootfsError| UnpackError::Finish(error.into());
        let entered = self.entered.unwrap_or_default();
        settle_entered(&self.rootfs, index, entered).map_err(finish)?;
        let several_names: Vec<(RootfsPath, Row)> = self
            .index
            .iter()
            .filter(|(_, row)| row.metadata.nlink > 1 && !row.shadow)
            .filter(|(_, row)| row.metadata.kind != FileKind::Directory)
            .collect();
        for (path, row) in several_names {
            let metadata = self.rootfs.metadata(&path).map_err(finish)?;
            let metadata =
                metadata.ok_or_else(|| UnpackError::Finish(PlaceError::Vanished(path.clone())))?;
            self.index.insert(&path, Row { metadata, ..row });
        }
        let root = RootfsPath::root();
        if self.index.get(&root).is_none_or(|row| row.shadow)
            && let Some(metadata) = self.rootfs.metadata(&root).map_err(finish)?
        {
            self.index.insert(&root, row(metadata, &Xattrs::new()));
        }
        Ok(Unpacked {
            index: self.index,
            stats: self.stats,
            not_on_disk: self.not_on_disk,
            dropped_xattrs: dropped.into_iter().collect(),
        })
    }

    fn entry<R: BufRead>(
        &mut self,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<(), LayerError> {
        let meaning = meaning(entry)
            .map_err(|source| LayerError::Whiteout { path: entry.path.clone(), source })?;
        match meaning {
            Meaning::Entry => match self.placer.place(entry, reader) {
                Err(PlaceError::LinkTargetMissing { path, target }) => {
                    self.link_to_shadow(path, target)
                }
                placed => self.record(entry, placed?),
            },
            Meaning::Hides(path) => {
                self.stats.whiteout_count += 1;
                match self.placer.locate(&path)? {
                    Some(path) => self.remove_lower(vec![path]),
                    None => Ok(()),
                }
            }
            Meaning::Opaque(directory) => {
                self.stats.whiteout_count += 1;
                let mark = directory.join_name(b".wh..wh..opq");
                let Some(directory) = self.placer.locate(&mark)?.and_then(|mark| mark.parent())
                else {
                    return Ok(());
                };
                let children = self.children(&directory);
                self.remove_lower(children)
            }
        }
    }

    /// Takes a hard link whose target is not on disk, if that is known of the target.
    fn link_to_shadow(&mut self, path: RootfsPath, target: RootfsPath) -> Result<(), LayerError> {
        let found = self.rootfs.resolve_parent(&target)?;
        match self.index.get(&found) {
            Some(row) if row.shadow && row.metadata.kind != FileKind::Directory => {
                self.placer.remove_all(&path)?;
                self.note_written(&path);
                self.index.insert(&path, row);
                self.not_on_disk.push((path, NotOnDisk::TargetNotOnDisk));
                Ok(())
            }
            _ => Err(PlaceError::LinkTargetMissing { path, target }.into()),
        }
    }

    fn record(&mut self, entry: &Entry, placed: Placed) -> Result<(), LayerError> {
        for path in placed.made {
            // The placer sets its metadata in the end; until then it is in the index by name.
            self.index.insert(&path, shadow(FileKind::Directory, entry));
            self.note_written(&path);
        }
        self.note_written(&placed.path);
        let new = match placed.state {
            State::OnDisk(metadata) => {
                Row { content: placed.content, ..row(metadata, &placed.xattrs) }
            }
            State::Directory => shadow(FileKind::Directory, entry),
            State::Linked { target, metadata } => {
                let Some(known) = self.index.get(&target) else {
                    // It is on disk, but no layer brought it: the image has no such file.
                    let path = placed.path;
                    return Err(PlaceError::LinkTargetMissing { path, target }.into());
                };
                let linked = Row { metadata, ..known };
                self.index.insert(&target, linked);
                linked
            }
            State::NotOnDisk(reason) => {
                self.not_on_disk.push((placed.path.clone(), reason));
                let known = match &entry.kind {
                    EntryKind::HardLink(target) => {
                        self.index.get(&self.rootfs.resolve_parent(target)?)
                    }
                    _ => None,
                };
                match known {
                    Some(row) => Row { shadow: true, ..row },
                    None => Row { content: placed.content, ..shadow(kind(&entry.kind), entry) },
                }
            }
        };
        self.index.insert(&placed.path, new);
        Ok(())
    }

    /// Tells whether nothing is below the current layer.
    fn is_lowest(&self) -> bool {
        self.stats.layer_count == 0 && self.entered.is_none()
    }

    /// Notes that something in the directory of `path` came or went.
    fn note_entered(&mut self, path: &RootfsPath) {
        if let Some(entered) = &mut self.entered {
            entered.extend(path.parent());
        }
    }

    fn note_written(&mut self, path: &RootfsPath) {
        self.note_entered(path);
        // That is the large one.
        if self.is_lowest() || !self.written.insert(path.clone()) {
            return;
        }
        for directory in path.ancestors() {
            if !self.written.insert(directory) {
                break;
            }
        }
    }

    /// Removes `paths` and what is below them, except what this layer wrote.
    fn remove_lower(&mut self, mut paths: Vec<RootfsPath>) -> Result<(), LayerError> {
        if self.is_lowest() {
            return Ok(());
        }
        while let Some(path) = paths.pop() {
            if self.written.contains(&path) {
                paths.extend(self.children(&path));
            } else if self.index.get(&path).is_some() {
                self.note_entered(&path);
                // Only what a layer brought: where the root is a container's `/`, there is more.
                self.placer.remove_all(&path)?;
                self.index.remove(&path);
            }
        }
        Ok(())
    }

    fn children(&self, directory: &RootfsPath) -> Vec<RootfsPath> {
        let names = self.index.children(directory).unwrap_or_default();
        names.into_iter().map(|name| directory.join_name(name)).collect()
    }
}

/// Gives directories that no layer names, but has put something into, their times back.
fn settle_entered(
    rootfs: &Rootfs,
    index: &mut Index,
    entered: HashSet<RootfsPath>,
) -> Result<(), snapshot::RootfsError> {
    for path in entered {
        let Some(row) = index.get(&path).filter(|row| !row.shadow) else { continue };
        let Some(found) = rootfs.metadata(&path)? else { continue };
        if row.metadata.kind != FileKind::Directory || found.kind != FileKind::Directory {
            continue;
        }
        if found.mtime != row.metadata.mtime {
            rootfs.set_mtime(&path, row.metadata.mtime)?;
        }
        if let Some(metadata) = rootfs.metadata(&path)? {
            index.insert(&path, Row { metadata, ..row });
        }
    }
    Ok(())
}

fn row(metadata: Metadata, xattrs: &Xattrs) -> Row {
    Row { metadata, content: None, xattrs: xattr::digest(xattrs), shadow: false }
}

/// Returns the row of something that is not on disk, or not as it will be.
fn shadow(kind: FileKind, entry: &Entry) -> Row {
    let (rdev_major, rdev_minor) = match entry.kind {
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            (major, minor)
        }
        _ => (0, 0),
    };
    let metadata = Metadata {
        kind,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        size: entry.size,
        mtime: entry.mtime,
        ctime: Timestamp::EPOCH,
        dev: 0,
        ino: 0,
        nlink: 1,
        rdev_major,
        rdev_minor,
    };
    Row { metadata, content: None, xattrs: None, shadow: true }
}

fn kind(kind: &EntryKind) -> FileKind {
    match kind {
        EntryKind::Directory => FileKind::Directory,
        // Linked to what no layer brought and no layer may; nobody will ask what it is.
        EntryKind::Regular | EntryKind::HardLink(_) => FileKind::Regular,
        EntryKind::Symlink(_) => FileKind::Symlink,
        EntryKind::CharDevice { .. } => FileKind::CharDevice,
        EntryKind::BlockDevice { .. } => FileKind::BlockDevice,
        EntryKind::Fifo => FileKind::Fifo,
    }
}
