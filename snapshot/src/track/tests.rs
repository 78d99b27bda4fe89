mod faults;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::index::Row;
use crate::metadata::FileKind;
use crate::scope::PathSet;
use crate::tests::skip;

/// A root with a tracker, and an index that is brought up to date by reading the tree anew.
struct Fixture {
    directory: TempDir,
    rootfs: Rootfs,
    tracker: ChangeTracker,
}

const WATCHES: TrackerLimits = TrackerLimits { watch_count: Some(20_000), memory_bytes: None };

impl Fixture {
    /// `None`, with the reason printed, where this kind cannot work.
    fn start(kind: TrackerKind, weakness: Weakness) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let rootfs = Rootfs::open(directory.path()).expect("it is there");
        let options = TrackerOptions { limits: WATCHES, weakness };
        let tracker = match ChangeTracker::start(kind, &rootfs, options) {
            Ok(tracker) => tracker,
            Err(error) => {
                skip(kind, format_args!("{error:?}"));
                return None;
            }
        };
        Some(Self { directory, rootfs, tracker })
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn index(&self) -> Index {
        let mut index = Index::new();
        let mut directories = vec![RootfsPath::root()];
        while let Some(directory) = directories.pop() {
            for entry in self.rootfs.read_dir(&directory).expect("a listing") {
                let path = directory.join_name(&entry.name);
                let metadata = self.rootfs.metadata(&path).expect("metadata").expect("is there");
                index.insert(&path, Row { metadata, content: None, xattrs: None, shadow: false });
                if entry.kind == FileKind::Directory {
                    directories.push(path);
                }
            }
        }
        index
    }

    fn step(&mut self, act: impl FnOnce(&Self)) -> Scope {
        let index = self.index();
        self.tracker.begin(&self.rootfs, &index);
        act(self);
        let scope = self.tracker.take(&self.rootfs, &index).scope;
        let index = self.index();
        let rows: Vec<_> = index.iter().collect();
        let entries = rows.iter().map(|(path, row)| (path, &row.metadata));
        self.tracker.follow(&self.rootfs, entries);
        scope
    }
}

fn only(scope: Scope) -> PathSet {
    match scope {
        Scope::Only(paths) => paths,
        Scope::Everything(reason) => panic!("everything: {reason}"),
    }
}

fn listed(scope: Scope) -> Vec<String> {
    only(scope).iter().map(|(path, extent)| format!("{path} {extent:?}")).collect()
}

/// A tree whose file `f` has a second name, used by all steps here.
fn filled(kind: TrackerKind, weakness: Weakness) -> Option<Fixture> {
    let fixture = Fixture::start(kind, weakness)?;
    fs::create_dir_all(fixture.at("d/e")).expect("directories");
    for file in ["f", "g", "d/h"] {
        fs::write(fixture.at(file), "content").expect("a file");
    }
    fs::hard_link(fixture.at("f"), fixture.at("d/e/link")).expect("a link");
    symlink("nowhere", fixture.at("s")).expect("a link");
    Some(fixture)
}

const KINDS: [TrackerKind; 2] = [TrackerKind::Inotify, TrackerKind::Fanotify];

#[test]
fn a_quiet_step_has_an_empty_scope() {
    for mut fixture in KINDS.into_iter().filter_map(|kind| filled(kind, Weakness::None)) {
        for _ in 0..2 {
            let scope = fixture.step(|fixture| {
                fs::read_dir(fixture.at("d")).expect("a listing").for_each(drop);
                fs::metadata(fixture.at("g")).expect("metadata");
            });
            assert_eq!(listed(scope), [""; 0], "{:?}", fixture.tracker);
        }
    }
}

#[test]
fn a_write_is_seen_by_all_names() {
    for mut fixture in KINDS.into_iter().filter_map(|kind| filled(kind, Weakness::None)) {
        let scope = fixture.step(|fixture| {
            File::options().append(true).open(fixture.at("f")).unwrap().write_all(b"x").unwrap();
        });
        assert_eq!(listed(scope), ["/d/e/link Entry", "/f Entry"], "{:?}", fixture.tracker);
        // Through a name that was never there before, nor after.
        let scope = fixture.step(|fixture| {
            fs::hard_link(fixture.at("f"), fixture.at("z")).unwrap();
            File::options().append(true).open(fixture.at("z")).unwrap().write_all(b"x").unwrap();
            fs::remove_file(fixture.at("z")).unwrap();
        });
        let expected = ["/ Entry", "/d/e/link Entry", "/f Entry", "/z Entry"];
        assert_eq!(listed(scope), expected, "{:?}", fixture.tracker);
    }
}

#[test]
fn a_directory_that_came_is_looked_at_whole() {
    for mut fixture in KINDS.into_iter().filter_map(|kind| filled(kind, Weakness::None)) {
        let scope = fixture.step(|fixture| {
            fs::create_dir_all(fixture.at("new/below")).unwrap();
            fs::write(fixture.at("new/below/file"), "x").unwrap();
            fs::rename(fixture.at("d"), fixture.at("moved")).unwrap();
        });
        let scope = only(scope);
        let contains = |text: &str| scope.contains(&RootfsPath::new(text).expect("valid"));
        for path in ["new/below/file", "moved/e/link", "d", ""] {
            assert!(contains(path), "{path}: {:?}", fixture.tracker);
        }
        assert!(!contains("g"), "{:?}", fixture.tracker);
        // What came is watched from now on, under the name that it has.
        let scope = fixture.step(|fixture| {
            fs::write(fixture.at("new/below/file"), "y").unwrap();
            fs::write(fixture.at("moved/h"), "y").unwrap();
        });
        let expected = ["/moved/h Entry", "/new/below/file Entry"];
        assert_eq!(listed(scope), expected, "{:?}", fixture.tracker);
    }
}

#[test]
fn what_happens_between_steps_is_not_in_the_next() {
    for mut fixture in KINDS.into_iter().filter_map(|kind| filled(kind, Weakness::None)) {
        fixture.step(|_| {});
        fs::write(fixture.at("g"), "by the executor").unwrap();
        fs::remove_file(fixture.at("s")).unwrap();
        assert_eq!(listed(fixture.step(|_| {})), [""; 0], "{:?}", fixture.tracker);
    }
}

#[test]
fn weaknesses_are_weak() {
    let append = |at: PathBuf| {
        File::options().append(true).open(at).unwrap().write_all(b"x").unwrap();
    };
    let one_name = ["/d/e/link Entry", "/d/h Entry", "/g Entry"].as_slice();
    let no_open = ["/d/e/link Entry", "/d/h Entry", "/f Entry"].as_slice();
    for (kind, weakness, expected) in [
        (TrackerKind::Inotify, Weakness::OneName, one_name),
        (TrackerKind::Inotify, Weakness::DirectoriesOnly, &[]),
        (TrackerKind::Inotify, Weakness::NoOpen, no_open),
        (TrackerKind::Fanotify, Weakness::OneName, one_name),
        (TrackerKind::Fanotify, Weakness::NoOpen, no_open),
    ] {
        let Some(mut fixture) = filled(kind, weakness) else { continue };
        let scope = fixture.step(|fixture| {
            append(fixture.at("f"));
            append(fixture.at("d/h"));
            File::open(fixture.at("g")).unwrap();
        });
        assert_eq!(listed(scope), expected, "{kind}, {weakness:?}");
    }
}

#[test]
fn an_overflowing_queue_is_everything_once() {
    let Some(mut fixture) = filled(TrackerKind::Inotify, Weakness::None) else { return };
    let index = fixture.index();
    fixture.tracker.begin(&fixture.rootfs, &index);
    // The reader is stopped, and the queue filled beyond what any limit allows.
    let step = fixture.tracker.step.take().expect("it has begun");
    let Step { reader, surroundings, root } = step;
    let Source::Inotify(tracker) = &fixture.tracker.source else { panic!("inotify was started") };
    let _ = reader.finish(&*tracker.source());
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a limit");
    let limit: usize = limit.trim().parse().expect("a number");
    for number in 0..=limit {
        // Two files in turn, because equal events in a row become one.
        File::open(fixture.at(["f", "g"][number % 2])).unwrap();
    }
    let reader = Reader::start(tracker.source()).expect("a thread");
    fixture.tracker.step = Some(Step { reader, surroundings, root });
    let scope = fixture.tracker.take(&fixture.rootfs, &index).scope;
    assert_eq!(scope, Scope::Everything(Reason::QueueOverflow));
    assert_eq!(listed(fixture.step(|_| {})), [""; 0]);
}

#[test]
fn a_tree_beyond_the_budget_is_not_tracked() {
    let Some(mut fixture) = filled(TrackerKind::Inotify, Weakness::None) else { return };
    let limits = TrackerLimits { watch_count: Some(7), memory_bytes: None };
    let options = TrackerOptions { limits, weakness: Weakness::None };
    fixture.tracker = ChangeTracker::start(TrackerKind::Inotify, &fixture.rootfs, options).unwrap();
    let scope = fixture.step(|fixture| fs::write(fixture.at("f"), "x").unwrap());
    assert_eq!(scope, Scope::Everything(Reason::WatchLimit));
    let failure = fixture.tracker.failure().map(ToString::to_string);
    let expected = "8 inodes would have to be watched and 7 may be (the limit given)";
    assert_eq!(failure.as_deref(), Some(expected));
}

#[test]
fn a_tree_that_outgrows_the_budget_is_given_up() {
    let Some(mut fixture) = filled(TrackerKind::Inotify, Weakness::None) else { return };
    // As many as the index has rows with the root; two of them are names of one inode.
    let limits = TrackerLimits { watch_count: Some(8), memory_bytes: None };
    let options = TrackerOptions { limits, weakness: Weakness::None };
    fixture.tracker = ChangeTracker::start(TrackerKind::Inotify, &fixture.rootfs, options).unwrap();
    let index = fixture.index();
    fixture.tracker.begin(&fixture.rootfs, &index);
    fs::write(fixture.at("new"), "").unwrap();
    let scope = fixture.tracker.take(&fixture.rootfs, &index).scope;
    assert_eq!(listed(scope), ["/ Entry", "/new Entry"]);
    let path = RootfsPath::new("new").unwrap();
    let metadata = fixture.rootfs.metadata(&path).unwrap().unwrap();
    fixture.tracker.follow(&fixture.rootfs, [(&path, &metadata)].into_iter());
    // Full now. What is known may come again, and one more may not.
    let scope = fixture.step(|fixture| fs::write(fixture.at("f"), "x").unwrap());
    assert_eq!(listed(scope), ["/d/e/link Entry", "/f Entry"]);
    let scope = fixture.step(|fixture| fs::write(fixture.at("more"), "").unwrap());
    assert_eq!(listed(scope), ["/ Entry", "/more Entry"]);
    assert_eq!(fixture.step(|_| {}), Scope::Everything(Reason::WatchLimit));
}

#[test]
fn an_index_that_is_not_what_is_there_is_not_tracked() {
    let Some(mut fixture) = filled(TrackerKind::Inotify, Weakness::None) else { return };
    let index = fixture.index();
    fs::remove_dir_all(fixture.at("d")).unwrap();
    fixture.tracker.begin(&fixture.rootfs, &index);
    let scope = fixture.tracker.take(&fixture.rootfs, &index).scope;
    assert_eq!(scope, Scope::Everything(Reason::NoTracker));
    assert!(matches!(fixture.tracker.failure(), Some(TrackError::Watch(_))));
}

#[test]
fn a_step_that_was_not_begun_is_everything() {
    for (kind, reason) in [
        (TrackerKind::Walk, Reason::Mode),
        (TrackerKind::Content, Reason::Mode),
        (TrackerKind::Overlay, Reason::NoTracker),
    ] {
        let Some(mut fixture) = filled(kind, Weakness::None) else { continue };
        assert_eq!(fixture.step(|_| {}), Scope::Everything(reason), "{kind}");
    }
    let Some(mut fixture) = filled(TrackerKind::Inotify, Weakness::None) else { return };
    let index = fixture.index();
    let scope = fixture.tracker.take(&fixture.rootfs, &index).scope;
    assert_eq!(scope, Scope::Everything(Reason::NoTracker));
}

#[test]
fn names_of_trackers_round_trip() {
    for kind in TrackerKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert_eq!("Walk".parse::<TrackerKind>(), Err(UnknownTracker("Walk".into())));
}
