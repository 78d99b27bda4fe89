//! What goes wrong inside a tracker ends in the right changes, the stats say why, and the next step is
//! recorded again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;

use super::super::reader::{Drained, EventSource, Reader};
use super::super::touched::Touched;
use super::*;
use crate::mode::Mode;
use crate::snapshotter::{SnapshotOptions, Snapshotter};

/// Does a step while `fault` happens to the tracker, and another one after that. Returns why the
/// first was not recorded; `None` where this kind cannot work.
fn check(
    kind: TrackerKind,
    expected: Reason,
    fault: impl FnOnce(&mut ChangeTracker, &std::path::Path),
) {
    let Some(fixture) = filled(kind, Weakness::None) else { return };
    let Fixture { directory, rootfs, tracker } = fixture;
    let snapshotter = |mode| {
        let options = SnapshotOptions { mode, ..SnapshotOptions::default() };
        let mut snapshotter = Snapshotter::new(rootfs.clone(), Index::new(), options);
        snapshotter.take(Scope::Everything(Reason::Mode)).expect("the first snapshot");
        snapshotter
    };
    let (mut tracked, mut truth) = (snapshotter(Mode::Redo), snapshotter(Mode::Full));
    tracked.track_with(tracker);

    tracked.begin();
    fs::write(directory.path().join("new"), "new").expect("a file");
    fs::remove_file(directory.path().join("d/h")).expect("it was there");
    fault(tracked.tracker_mut().expect("one was given"), directory.path());
    let snapshot = tracked.take_step().expect("taken");
    let true_snapshot = truth.take(Scope::Everything(Reason::Mode)).expect("taken");
    assert_eq!(snapshot.changeset, true_snapshot.changeset, "{kind}");
    assert_eq!(snapshot.stats.everything_because, Some(expected), "{kind}");

    tracked.begin();
    fs::write(directory.path().join("another"), "new").expect("a file");
    let snapshot = tracked.take_step().expect("taken");
    let names: Vec<_> = snapshot.changeset.iter().map(|change| change.path.to_string()).collect();
    assert_eq!(names, ["/", "/another"], "{kind}");
    assert_eq!(snapshot.stats.everything_because, None, "{kind}");
}

/// Stops the reader of the step that runs, and goes on with what `start` returns.
fn with_reader(tracker: &mut ChangeTracker, start: impl FnOnce(&mut ChangeTracker) -> Reader) {
    let Step { reader, surroundings, root } = tracker.step.take().expect("it has begun");
    drop(reader);
    let reader = start(tracker);
    tracker.step = Some(Step { reader, surroundings, root });
}

#[test]
fn a_reader_that_was_stopped() {
    check(TrackerKind::Inotify, Reason::QueueOverflow, |tracker, root| {
        with_reader(tracker, |tracker| {
            let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
            let limit: usize = limit.expect("a limit").trim().parse().expect("a number");
            for number in 0..=limit {
                File::open(root.join(["f", "g"][number % 2])).expect("it is there");
            }
            let Source::Inotify(tracker) = &tracker.source else { panic!("it was started") };
            Reader::start(tracker.source()).expect("a thread")
        });
    });
}

/// A queue that has something to say, whatever it is read from.
struct Odd(OwnedFd);

impl EventSource for Odd {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn take_in(&self, _: &[u8], _: &mut Touched) -> Drained {
        panic!("a reader ends");
    }

    fn trip_sentinel(&self) -> std::io::Result<()> {
        Ok(())
    }
}

const KINDS: [TrackerKind; 2] = [TrackerKind::Inotify, TrackerKind::Fanotify];

#[test]
fn a_reader_that_dies() {
    for kind in KINDS {
        check(kind, Reason::ReaderGone, |tracker, _| {
            with_reader(tracker, |_| {
                let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
                let ready = rustix::event::eventfd(1, flags).expect("a descriptor");
                let reader = Reader::start(Arc::new(Odd(ready))).expect("a thread");
                reader.wait_until_it_ended();
                reader
            });
        });
    }
}

#[test]
fn a_queue_that_cannot_be_read() {
    for kind in KINDS {
        check(kind, Reason::ReadError, |tracker, root| {
            with_reader(tracker, |_| {
                let directory = File::open(root).expect("it is there");
                let reader = Reader::start(Arc::new(Odd(directory.into()))).expect("a thread");
                reader.wait_until_it_ended();
                reader
            });
        });
    }
}

#[test]
fn a_clock_that_is_set() {
    for kind in KINDS {
        check(kind, Reason::ClockStepped, |tracker, _| {
            tracker.step.as_mut().expect("it has begun").surroundings.set_clock_back();
        });
    }
}
