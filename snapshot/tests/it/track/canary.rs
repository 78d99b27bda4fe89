//! The trial of a tracker on an overlay, where files of the lower layer are copied up.

use snapshot::Rootfs;
use snapshot::track::{self, TrackerKind, TrackerOptions};

use super::ground::{FileSystem, Ground};

#[test]
fn a_trial_on_an_overlay_tries_its_layers_too() {
    for file_system in [FileSystem::OverlayOnExt4, FileSystem::OverlayOnTmpfs] {
        let ground = match Ground::new(file_system, &|_| {}) {
            Ok(ground) => ground,
            Err(lacking) => return eprintln!("skipped: {file_system:?}: {lacking}"),
        };
        let root = Rootfs::open(&ground.root).expect("it is there");
        track::try_out(TrackerKind::Inotify, &root, TrackerOptions::default()).expect("it works");
        // What the trial with a lower layer leaves: where it was mounted, for itself alone.
        let left = std::fs::read_dir(ground.root.join("layers")).expect("it was made").count();
        assert_eq!(left, 0, "{file_system:?}");
    }
}
