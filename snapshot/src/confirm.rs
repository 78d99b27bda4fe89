//! Whether a root file system is still what an index says of it.
//!
//! Knows nothing of why it might not be. The idea to hold in mind: nobody is believed to have left
//! it alone, so that everything the kernel says of each entry has to be the same, ctime and link
//! count included; what only the content could tell is a difference too.

use std::num::NonZeroUsize;

use crate::diff::Rules;
use crate::error::SnapshotError;
use crate::ignore::IgnoreList;
use crate::index::Index;
use crate::layer::MtimeRule;
use crate::metadata::Timestamp;
use crate::mode::Mode;
use crate::rootfs::Rootfs;
use crate::walk::{self, Part, WalkInput};

/// Tells whether everything in `rootfs`, and nothing else, is as `index` says, by its metadata; all
/// of it is looked at, on `threads` threads or as many as suit the machine.
///
/// # Errors
/// The first path that could not be looked at.
pub fn is_as_indexed(
    rootfs: &Rootfs,
    index: &Index,
    threads: Option<NonZeroUsize>,
) -> Result<bool, SnapshotError> {
    // Its rows are older than whatever could be written now.
    let racy_from = Timestamp { seconds: i64::MAX, nanoseconds: 0 };
    let input = WalkInput {
        rootfs,
        index,
        ignore: &IgnoreList::default(),
        rules: Rules { mode: Mode::Redo, racy_from, mtime: MtimeRule::Keep },
        threads,
    };
    let found = walk::walk(&input, &Part::Everything)?;
    if let Some(first) = found.sightings.first() {
        tracing::debug!(path = %first.path, "not as it was");
    }
    Ok(found.sightings.is_empty()
        && found.removed.is_empty()
        && found.replaced.is_empty()
        && found.vanished.is_empty()
        && found.sockets.is_empty()
        && found.counts.mounts_skipped == 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;
    use crate::scope::{Reason, Scope};
    use crate::snapshotter::{SnapshotOptions, Snapshotter};

    #[test]
    fn whatever_is_done_to_a_tree_is_seen() {
        type Act = fn(&Path);
        let acts: [(&str, Act, bool); 11] = [
            ("nothing", |_| {}, true),
            ("read", |at| drop(fs::read(at.join("dir/file")).expect("read")), true),
            (
                "listed",
                |at| assert_eq!(fs::read_dir(at.join("dir")).expect("listed").count(), 2),
                true,
            ),
            ("written", |at| fs::write(at.join("dir/file"), "CONTENT").expect("written"), false),
            ("chmod", |at| set_mode(&at.join("dir/file"), 0o600), false),
            ("chmod and back", |at| set_mode(&at.join("dir"), 0o755), false),
            ("added", |at| fs::write(at.join("new"), "").expect("written"), false),
            ("removed", |at| fs::remove_file(at.join("dir/link")).expect("removed"), false),
            ("moved", |at| fs::rename(at.join("dir"), at.join("other")).expect("moved"), false),
            ("linked", |at| fs::hard_link(at.join("dir/file"), at.join("x")).expect("ln"), false),
            (
                "replaced",
                |at| {
                    fs::remove_file(at.join("dir/link")).expect("removed");
                    symlink("file", at.join("dir/link")).expect("linked");
                },
                false,
            ),
        ];
        for (what, act, expected) in acts {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let at = directory.path();
            fs::create_dir(at.join("dir")).expect("made");
            fs::write(at.join("dir/file"), "content").expect("written");
            symlink("file", at.join("dir/link")).expect("linked");
            set_mode(&at.join("dir"), 0o755);
            let rootfs = Rootfs::open(at).expect("it is there");
            let mut snapshotter =
                Snapshotter::new(rootfs.clone(), Index::new(), SnapshotOptions::default());
            snapshotter.take(Scope::Everything(Reason::Mode)).expect("a snapshot");
            // So that what is done now has another time.
            snapshotter.begin();
            let index = snapshotter.into_index();
            act(at);
            assert_eq!(
                is_as_indexed(&rootfs, &index, None).expect("looked at"),
                expected,
                "{what}"
            );
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
}
