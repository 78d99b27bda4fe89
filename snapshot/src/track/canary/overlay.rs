//! The trial of the overlay tracker.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use super::super::{StepOverlay, TrackError, Tracked};
use super::{FIRST, Grounds, Outcome, SECOND, check_reported, if_there_is};
use crate::index::Index;
use crate::metadata::{FileKind, Metadata, Timestamp};
use crate::mode::Mode as SnapshotMode;
use crate::path::RootfsPath;
use crate::rootfs::{Rootfs, RootfsError};
use crate::scope::{Reason, Scope};
use crate::snapshotter::{SnapshotOptions, Snapshotter};
use crate::xattr::Xattrs;

/// Tries an overlay out: its steps are not done in the root, and the root has to become what they
/// saw.
pub(super) fn try_overlay(directory: &Rootfs) -> Result<(), TrackError> {
    let [root, scratch, linked, other] = ["root", "step", "linked", "linked-too"]
        .map(|name| RootfsPath::root().join_name(name.as_bytes()));
    directory.create_dir(&root, 0o755)?;
    let root = directory.subtree(&root)?;
    let grounds = Grounds { root: root.open_dir(&RootfsPath::root())? };
    grounds.lay_out()?;
    grounds.fill("linked")?;
    let has_links = if_there_is(root.hard_link(&linked, &other))? == Outcome::Done;
    let scratch = directory.host_path().join(scratch.to_string().trim_start_matches('/'));
    let options = SnapshotOptions {
        mode: SnapshotMode::Full,
        threads: Some(NonZeroUsize::MIN),
        ..SnapshotOptions::default()
    };
    let mut snapshotter = Snapshotter::new(root.clone(), Index::new(), options);
    snapshotter.take(Scope::Everything(Reason::Mode))?;
    for operations in [FIRST, SECOND] {
        let before = look(&root)?;
        let overlay = StepOverlay::mount(&root, snapshotter.index(), &scratch)?;
        let grounds = Grounds { root: overlay.rootfs().open_dir(&RootfsPath::root())? };
        let mut expected = Vec::new();
        for operation in operations {
            if (operation.act)(&grounds)? == Outcome::Done {
                expected.push(operation);
            }
        }
        grounds.append("linked")?;
        let seen = look(overlay.rootfs())?;
        drop(grounds);
        // All of it was copied up: the step can still be given up.
        if look(&root)? != before {
            return Err(TrackError::NoCopyUp);
        }
        let paths = overlay.finish(snapshotter.index())?;
        check_reported(&expected, &paths)?;
        if has_links && !(paths.contains(&linked) && paths.contains(&other)) {
            return Err(TrackError::Missed("write to a file with two names"));
        }
        let names =
            |path: &RootfsPath| Ok::<_, RootfsError>(root.metadata(path)?.map(|file| file.inode()));
        if look(&root)? != seen || (has_links && names(&linked)? != names(&other)?) {
            return Err(TrackError::Unmerged);
        }
        snapshotter.take_tracked(Tracked::by_overlay(paths))?;
    }
    Ok(())
}

/// What a layer holds of an entry, but for content: size, mode, time, number of names, attributes.
type Look = (FileKind, u64, u32, Timestamp, u32, Xattrs);

/// Looks at everything in a root.
fn look(root: &Rootfs) -> Result<BTreeMap<RootfsPath, Look>, TrackError> {
    let mut found = BTreeMap::new();
    let mut pending = vec![RootfsPath::root()];
    while let Some(path) = pending.pop() {
        for entry in root.read_dir(&path)? {
            let path = path.join_name(&entry.name);
            let Some(Metadata { kind, size, mode, mtime, nlink, .. }) = root.metadata(&path)?
            else {
                continue;
            };
            // Those of a directory are the file system's affair.
            let (size, nlink) = match kind {
                FileKind::Directory => (0, 0),
                _ => (size, nlink),
            };
            let xattrs = root.xattrs(&path)?;
            found.insert(path.clone(), (kind, size, mode, mtime, nlink, xattrs));
            if kind == FileKind::Directory {
                pending.push(path);
            }
        }
    }
    Ok(found)
}
