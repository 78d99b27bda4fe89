//! Whiteouts: how a removal is spelled in a layer, and where it stands.

use std::borrow::Cow;

use crate::change::Change;
use crate::path;

/// What the name of a removed file is prefixed with in the directory it was in (OCI image
/// specification, layer, "Whiteouts").
const PREFIX: &[u8] = b".wh.";

/// Tells whether a file of this name cannot be in a layer, because it would be taken for a removal
/// (or, with `.wh..wh.` in front, for one of AUFS' own files).
pub(super) fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// Returns the spelling of a change's path in the layer, without a directory's slash: that of the
/// whiteout for a removal.
pub(super) fn spelling(change: &Change) -> Cow<'_, [u8]> {
    match (&change.metadata, change.path.split_last()) {
        (None, Some((parent, name))) => {
            let slash: &[u8] = if parent.is_empty() { b"" } else { b"/" };
            [parent, slash, PREFIX, name].concat().into()
        }
        _ => change.path.as_bytes().into(),
    }
}

/// Returns the changes in the order of their spellings in the layer.
///
/// Only whiteouts stand elsewhere than in the changeset. Sorting by spelling keeps the rule that
/// the tar is sorted without exception. (The specification asks for whiteouts before their sibling
/// directories "should"; every extractor applies them to the layers below only, or at once to a
/// name that this layer does not hold, so that the order among siblings has no effect.)
pub(super) fn in_layer_order<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<&'a Change> {
    let (mut removed, kept): (Vec<&Change>, Vec<&Change>) =
        changes.partition(|change| change.metadata.is_none());
    removed.sort_by(|a, b| path::compare(&spelling(a), &spelling(b)));
    let mut ordered = Vec::with_capacity(removed.len() + kept.len());
    let mut removed = removed.into_iter().peekable();
    for change in kept {
        while let Some(whiteout) = removed
            .next_if(|whiteout| path::compare(&spelling(whiteout), change.path.as_bytes()).is_lt())
        {
            ordered.push(whiteout);
        }
        ordered.push(change);
    }
    ordered.extend(removed);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::ChangeKind;
    use crate::metadata::{FileKind, Metadata, Timestamp};
    use crate::path::RootfsPath;

    fn change(path: &str, kind: ChangeKind) -> Change {
        let metadata = Metadata {
            kind: FileKind::Directory,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Timestamp::EPOCH,
            ctime: Timestamp::EPOCH,
            dev: 0,
            ino: 0,
            nlink: 1,
            rdev_major: 0,
            rdev_minor: 0,
        };
        Change {
            path: RootfsPath::new(path).expect("valid"),
            kind,
            metadata: (kind != ChangeKind::Removed).then_some(metadata),
        }
    }

    #[test]
    fn whiteouts_are_sorted_in_by_their_own_names() {
        use ChangeKind::{Added, Ancestor, Removed};
        let changes = [
            change("", Ancestor),
            change("-", Added),
            change("a", Ancestor),
            change("a/-x", Added),
            change("a/b", Removed),
            change("a/c", Ancestor),
            change("a/c/.a", Added),
            change("a/c/d", Removed),
            change("a/c/z", Added),
            change("b", Removed),
            change("z", Removed),
        ];
        let ordered = in_layer_order(changes.iter());
        let spelled: Vec<_> =
            ordered.iter().map(|change| spelling(change).escape_ascii().to_string()).collect();
        assert_eq!(
            spelled,
            [
                "",
                "-",
                ".wh.b",
                ".wh.z",
                "a",
                "a/-x",
                "a/.wh.b",
                "a/c",
                "a/c/.a",
                "a/c/.wh.d",
                "a/c/z",
            ]
        );
    }

    #[test]
    fn only_names_that_begin_with_the_prefix_are_reserved() {
        for (name, expected) in [
            (".wh.", true),
            (".wh.a", true),
            (".wh..wh..opq", true),
            (".wh", false),
            ("a.wh.", false),
        ] {
            assert_eq!(is_reserved(name.as_bytes()), expected, "{name}");
        }
    }
}
