//! What has changed of a COPY since layers of an earlier build, as a layer on top of those.
//!
//! Pure but for files that are read. Both what the earlier layers say and what the step would write now
//! lie on the same files below: where neither says anything, nothing differs. Times do not count, as
//! they do not in a key: what has not changed otherwise keeps the earlier ones.

use std::collections::{BTreeSet, HashMap};

use snapshot::{
    Change, ChangeKind, Changeset, Digest, FileKind, InodeId, Metadata, RootfsPath, Row, xattr,
};

use super::error::StepError;
use crate::unpack::{HeaderEntry, HeaderKind, LayersAlone, Said, SaidEntry};

/// A layer of what has changed is written while it holds less than a whole one by this factor.
const WORTH_FACTOR: u64 = 2;

/// The files of a stage after a step.
pub(super) trait Now {
    /// Returns what is at a path; `None` for nothing.
    fn row(&self, path: &RootfsPath) -> Option<Row>;

    /// Tells whether what a path that the step has not changed has is the image's.
    fn is_of_image(&self) -> bool;

    /// Returns the digest of a regular file's content; `None` where it cannot be known.
    fn content(&self, path: &RootfsPath) -> Result<Option<Digest>, StepError>;
}

/// What has changed since earlier layers.
#[derive(Debug, Default)]
pub(super) struct Delta {
    pub(super) changes: Changeset,
    /// Digests of contents that have not.
    pub(super) same: Vec<(RootfsPath, Digest)>,
}

/// Returns what a layer on top of the `earlier` ones has to hold, so that the files are those that
/// `changes` make without them; `None` where that is not known or not worth it.
pub(super) fn delta(
    earlier: &LayersAlone,
    changes: &Changeset,
    now: &dyn Now,
) -> Result<Option<Delta>, StepError> {
    let names = names_of(changes);
    let mut delta = Delta::default();
    let mut kept: Vec<Change> = Vec::new();
    let mut gone: Vec<&RootfsPath> = Vec::new();
    for change in changes {
        let path = &change.path;
        if is_uncovered(change, earlier.get(path)) {
            return Ok(None);
        }
        match (&change.metadata, earlier.get(path)) {
            (None, Some(Said::Gone)) => {}
            (None, _) => gone.push(path),
            // Neither the earlier step nor this one has changed it.
            (Some(_), None) if change.kind == ChangeKind::Ancestor => {}
            (Some(metadata), Some(Said::Entry(entry))) => {
                let names = names.get(&metadata.inode());
                let is_same = earlier.has_names(path, entry, names)
                    && is_same(path, entry, now, &mut delta.same)?;
                if !is_same {
                    kept.push(change.clone());
                }
            }
            (Some(_), Some(Said::Gone) | None) => kept.push(change.clone()),
        }
    }
    for (path, said) in earlier.iter().filter(|(path, _)| changes.get(path).is_none()) {
        if !now.is_of_image() {
            return Ok(None);
        }
        match (said, now.row(path)) {
            (Said::Gone, None) => {}
            (Said::Entry(_), None) => gone.push(path),
            (Said::Entry(entry), Some(_)) => {
                // It is what is below that shows again, whose bytes nobody has here.
                let is_alone = earlier.has_names(path, entry, None);
                if !is_alone || !is_same(path, entry, now, &mut delta.same)? {
                    return Ok(None);
                }
            }
            (Said::Gone, Some(_)) => return Ok(None),
        }
    }
    gone.sort();
    let replaced: BTreeSet<&RootfsPath> =
        kept.iter().filter(|change| !is_directory(change)).map(|change| &change.path).collect();
    let mut hidden: BTreeSet<&RootfsPath> = BTreeSet::new();
    for path in gone {
        let went_along = |above: &RootfsPath| replaced.contains(above) || hidden.contains(above);
        if path.ancestors().any(|above| went_along(&above)) {
            continue;
        }
        let above = path.parent().and_then(|above| changes.get(&above));
        if !above.is_some_and(is_directory) {
            return Ok(None);
        }
        hidden.insert(path);
    }
    if bytes(kept.iter()).saturating_mul(WORTH_FACTOR) > bytes(changes.iter()) {
        return Ok(None);
    }
    let removals = hidden.into_iter().map(|path| Change {
        path: path.clone(),
        kind: ChangeKind::Removed,
        metadata: None,
    });
    let mut all: Vec<Change> = removals.collect();
    all.extend(kept);
    delta.changes = with_ancestors(all, changes);
    Ok(Some(delta))
}

/// Tells whether what is below a directory shows again, which earlier layers had covered with something
/// else: no layer can bring that back.
fn is_uncovered(change: &Change, said: Option<&Said>) -> bool {
    let was_covered = match said {
        Some(Said::Entry(entry)) => entry.header.kind != HeaderKind::Directory,
        Some(Said::Gone) => true,
        None => false,
    };
    was_covered && is_directory(change) && change.kind != ChangeKind::Added
}

/// Adds the directories above, as they are in `changes`.
fn with_ancestors(mut all: Vec<Change>, changes: &Changeset) -> Changeset {
    let mut above: BTreeSet<RootfsPath> = BTreeSet::new();
    for change in &all {
        for ancestor in change.path.ancestors() {
            if !above.insert(ancestor) {
                break;
            }
        }
    }
    let found = above.iter().filter_map(|path| changes.get(path));
    all.extend(found.map(|change| Change { kind: ChangeKind::Ancestor, ..change.clone() }));
    Changeset::new(all)
}

/// Returns the names of files that have several.
fn names_of(changes: &Changeset) -> HashMap<InodeId, BTreeSet<RootfsPath>> {
    let mut names: HashMap<InodeId, BTreeSet<RootfsPath>> = HashMap::new();
    for change in changes {
        if let Some(metadata) = &change.metadata
            && metadata.nlink > 1
            && metadata.kind != FileKind::Directory
        {
            names.entry(metadata.inode()).or_default().insert(change.path.clone());
        }
    }
    names
}

/// Returns how many bytes of files a layer holds.
fn bytes<'a>(changes: impl Iterator<Item = &'a Change>) -> u64 {
    let files = changes.filter_map(|change| change.metadata.as_ref());
    files.filter(|file| file.kind == FileKind::Regular).map(|file| file.size).sum()
}

fn is_directory(change: &Change) -> bool {
    change.metadata.as_ref().is_some_and(|metadata| metadata.kind == FileKind::Directory)
}

/// Tells whether what is at a path is what an earlier layer says, but for times.
fn is_same(
    path: &RootfsPath,
    entry: &SaidEntry,
    now: &dyn Now,
    same: &mut Vec<(RootfsPath, Digest)>,
) -> Result<bool, StepError> {
    let Some(row) = now.row(path) else { return Ok(false) };
    let header = &entry.header;
    if !is_same_metadata(header, &row.metadata) || xattr::digest(&header.xattrs) != row.xattrs {
        return Ok(false);
    }
    let before = match &header.kind {
        HeaderKind::Directory | HeaderKind::Special { .. } => return Ok(true),
        HeaderKind::Symlink(target) => Some(Digest::of(target)),
        HeaderKind::Regular { digest, .. } => *digest,
    };
    let after = match (before, row.content, row.metadata.kind) {
        (None, ..) => None,
        (Some(_), None, FileKind::Regular) => now.content(path)?,
        (Some(_), content, _) => content,
    };
    let is_same = after.is_some() && before == after;
    if is_same {
        same.extend(after.map(|digest| (path.clone(), digest)));
    }
    Ok(is_same)
}

fn is_same_metadata(header: &HeaderEntry, metadata: &Metadata) -> bool {
    let HeaderEntry { kind, mode, uid, gid, mtime: _, xattrs: _, is_linked: _ } = header;
    let is_same_kind = match kind {
        HeaderKind::Directory => metadata.kind == FileKind::Directory,
        HeaderKind::Regular { size, .. } => {
            metadata.kind == FileKind::Regular && metadata.size == *size
        }
        HeaderKind::Symlink(_) => metadata.kind == FileKind::Symlink,
        HeaderKind::Special { kind, major, minor } => {
            metadata.kind == *kind && (metadata.rdev_major, metadata.rdev_minor) == (*major, *minor)
        }
    };
    // The mode of a link means nothing.
    let is_same_mode = *mode == metadata.mode || metadata.kind == FileKind::Symlink;
    is_same_kind && is_same_mode && (*uid, *gid) == (metadata.uid, metadata.gid)
}
