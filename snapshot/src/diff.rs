//! What an entry is now against what its row says, and what that makes of a layer.
//!
//! Owns the one rule by which every mode and tracker decides: a candidate whose metadata differs is
//! in the layer; one whose metadata is equal but whose inode state moved is in it only if its
//! content, link target or extended attributes differ. Pure: what has to be read is asked for by an
//! answer ([`Comparison::Unclear`]) and handed in as [`Contents`].

use std::collections::{HashMap, HashSet};

use crate::change::{Change, ChangeKind, Changeset};
use crate::digest::Digest;
use crate::index::{Index, NodeId, Row};
use crate::layer::MtimeRule;
use crate::metadata::{FileKind, InodeId, Metadata, Timestamp};
use crate::mode::{Mode, is_same_in_image, is_same_inode_state};
use crate::path::RootfsPath;

/// How one entry is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) mode: Mode,
    /// A row with this ctime or a later one proves nothing: the file may have been written again
    /// without its ctime moving.
    pub(crate) racy_from: Timestamp,
    /// What layers say of times: those that they do not tell apart are no difference.
    pub(crate) mtime: MtimeRule,
}

/// How an entry relates to its row, before anything is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// As the row says.
    Same,
    /// Not as the row says.
    Different,
    /// Only its content and attributes can tell.
    Unclear,
}

/// What was read of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Contents {
    /// As [`Row::content`].
    pub(crate) content: Option<Digest>,
    /// As [`Row::xattrs`].
    pub(crate) xattrs: Option<Digest>,
}

/// What becomes of an entry that is not simply as its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was not there.
    Added,
    /// It differs.
    Modified,
    /// It is as it was for a layer; its row has to follow what the kernel says now.
    Noted,
}

/// An entry that a walk met and that is not simply as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) path: RootfsPath,
    pub(crate) verdict: Verdict,
    pub(crate) row: Row,
}

/// The names of one inode that a walk met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkGroup {
    pub(crate) metadata: Metadata,
    pub(crate) names: HashSet<LinkName>,
}

/// A name of an inode: a place in the index, or a path that is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LinkName {
    Known(NodeId),
    New(RootfsPath),
}

impl Rules {
    /// Compares what is there with its row, which is not a shadow's.
    pub(crate) fn compare(&self, old: &Metadata, new: &Metadata) -> Comparison {
        let is_racy = self.is_racy(old);
        if !is_racy && !self.mode.is_candidate(old, new) {
            return Comparison::Same;
        }
        let in_layer =
            |metadata: &Metadata| Metadata { mtime: self.mtime.apply(metadata.mtime), ..*metadata };
        if !is_same_in_image(&in_layer(old), &in_layer(new)) {
            return Comparison::Different;
        }
        Comparison::Unclear
    }

    /// Decides an unclear case; `None` when the row stands as it is.
    pub(crate) fn settle(&self, old: &Row, new: &Metadata, now: &Contents) -> Option<Verdict> {
        let has_moved = !is_same_inode_state(&old.metadata, new);
        let has_content = matches!(new.kind, FileKind::Regular | FileKind::Symlink);
        let is_same_content = match old.content {
            _ if !has_content => true,
            Some(digest) => now.content == Some(digest),
            // Nobody knows what was there. Where the kernel vouches for it, it is still there.
            None => !has_moved && !self.is_racy(&old.metadata),
        };
        if !is_same_content || old.xattrs != now.xattrs {
            return Some(Verdict::Modified);
        }
        let is_news = has_moved || old.content != now.content || old.metadata.mtime != new.mtime;
        is_news.then_some(Verdict::Noted)
    }

    fn is_racy(&self, old: &Metadata) -> bool {
        old.ctime >= self.racy_from
    }
}

/// Returns what a layer has to hold. `sightings` are sorted by path, one per path; `removed` are the
/// topmost paths that are gone.
///
/// `links` has every name that is there of each inode that has, or had, more than one.
pub(crate) fn changeset(
    index: &Index,
    sightings: &[Sighting],
    removed: &[RootfsPath],
    links: &HashMap<InodeId, LinkGroup>,
) -> Changeset {
    let mut changes = Vec::new();
    for Sighting { path, verdict, row } in sightings {
        let kind = match verdict {
            Verdict::Added => ChangeKind::Added,
            Verdict::Modified => ChangeKind::Modified,
            Verdict::Noted => continue,
        };
        changes.push(Change { path: path.clone(), kind, metadata: Some(row.metadata) });
    }
    changes.extend(removed.iter().map(|path| Change {
        path: path.clone(),
        kind: ChangeKind::Removed,
        metadata: None,
    }));
    for group in links.values().filter(|group| is_regrouped(index, group)) {
        changes.extend(group.names.iter().map(|name| Change {
            path: match name {
                LinkName::Known(id) => index.path(*id),
                LinkName::New(path) => path.clone(),
            },
            kind: ChangeKind::Linked,
            metadata: Some(group.metadata),
        }));
    }
    add_ancestors(index, sightings, &mut changes);
    Changeset::new(changes)
}

/// Tells whether the names of an inode are other ones than before.
///
/// Decided by paths alone: numbers of inodes are used again.
fn is_regrouped(index: &Index, group: &LinkGroup) -> bool {
    let known: Option<Vec<NodeId>> = group
        .names
        .iter()
        .map(|name| match name {
            LinkName::Known(id) => Some(*id),
            LinkName::New(_) => None,
        })
        .collect();
    match known.as_deref() {
        Some(names @ [first, ..]) => {
            let mut before = index.links_of(*first);
            let mut count = 0;
            let is_subset = before.all(|id| {
                count += 1;
                group.names.contains(&LinkName::Known(id))
            });
            !is_subset || count != names.len()
        }
        _ => true,
    }
}

/// Adds the directories above all changes, with what they are now.
fn add_ancestors(index: &Index, sightings: &[Sighting], changes: &mut Vec<Change>) {
    let mut known = HashSet::new();
    let mut ancestors = Vec::new();
    for change in &*changes {
        for above in change.path.ancestors() {
            if known.contains(&above) {
                break;
            }
            let sighted = sightings.binary_search_by(|sighting| sighting.path.cmp(&above));
            let row = match sighted.ok().and_then(|place| sightings.get(place)) {
                Some(sighting) => Some(sighting.row),
                None => index.get(&above),
            };
            ancestors.extend(row.map(|row| Change {
                path: above.clone(),
                kind: ChangeKind::Ancestor,
                metadata: Some(row.metadata),
            }));
            known.insert(above);
        }
    }
    changes.append(&mut ancestors);
}

/// Brings the index up to what a walk found.
pub(crate) fn apply(index: &mut Index, sightings: &[Sighting], removed: &[RootfsPath]) {
    for path in removed {
        index.remove(path);
    }
    for Sighting { path, row, .. } in sightings {
        index.insert(path, *row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        mode: Mode::Redo,
        racy_from: Timestamp { seconds: 100, nanoseconds: 0 },
        mtime: MtimeRule::Keep,
    };

    fn row(kind: FileKind) -> Row {
        let metadata = Metadata {
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 4,
            mtime: Timestamp { seconds: 10, nanoseconds: 0 },
            ctime: Timestamp { seconds: 20, nanoseconds: 0 },
            dev: 1,
            ino: 2,
            nlink: 1,
            rdev_major: 0,
            rdev_minor: 0,
        };
        Row { metadata, content: Some(Digest::of(b"old")), xattrs: None, shadow: false }
    }

    #[test]
    fn a_racy_row_is_unclear_whatever_the_kernel_says() {
        for mode in [Mode::Redo, Mode::Time] {
            let rules = Rules { mode, ..RULES };
            let old = row(FileKind::Regular).metadata;
            assert_eq!(rules.compare(&old, &old), Comparison::Same);
            let mut racy = old;
            racy.ctime.seconds = 100;
            assert_eq!(rules.compare(&racy, &racy), Comparison::Unclear);
        }
    }

    #[test]
    fn times_that_no_layer_tells_apart_are_no_difference() {
        let old = row(FileKind::Regular).metadata;
        let mut touched = old;
        (touched.mtime.seconds, touched.ctime.seconds) = (11, 21);
        assert_eq!(RULES.compare(&old, &touched), Comparison::Different);
        let rules = Rules { mtime: MtimeRule::Set(Timestamp::EPOCH), ..RULES };
        assert_eq!(rules.compare(&old, &touched), Comparison::Unclear);
        assert_eq!(rules.compare(&old, &Metadata { mode: 0, ..touched }), Comparison::Different);
    }

    #[test]
    fn what_was_read_decides() {
        use Verdict::*;
        let regular = row(FileKind::Regular);
        let contents = |content: &[u8], xattrs: Option<&[u8]>| Contents {
            content: Some(Digest::of(content)),
            xattrs: xattrs.map(Digest::of),
        };
        let moved = |row: Row| {
            let mut metadata = row.metadata;
            metadata.ctime.seconds += 1;
            metadata
        };
        let unknown = Row { content: None, ..regular };
        let mut racy = unknown;
        racy.metadata.ctime.seconds = 100;
        let directory = Row { content: None, ..row(FileKind::Directory) };
        let nothing = Contents::default();
        for (what, old, now, read, expected) in [
            ("equal", regular, regular.metadata, contents(b"old", None), None),
            ("touched", regular, moved(regular), contents(b"old", None), Some(Noted)),
            ("written", regular, moved(regular), contents(b"new", None), Some(Modified)),
            ("blindly", regular, regular.metadata, contents(b"new", None), Some(Modified)),
            ("xattr", regular, moved(regular), contents(b"old", Some(b"x")), Some(Modified)),
            ("learned", unknown, unknown.metadata, contents(b"any", None), Some(Noted)),
            ("unknown", unknown, moved(unknown), contents(b"any", None), Some(Modified)),
            ("racy", racy, racy.metadata, contents(b"any", None), Some(Modified)),
            ("directory", directory, moved(directory), nothing, Some(Noted)),
            ("directory", directory, directory.metadata, nothing, None),
        ] {
            assert_eq!(RULES.settle(&old, &now, &read), expected, "{what}");
        }
    }
}
