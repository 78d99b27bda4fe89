use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use snapshot::Rootfs;
use tempfile::TempDir;

use super::*;
use crate::execute::copy::{Source, copy, look};
use crate::execute::{Input, Outline, inputs};
use crate::plan::{CopyItem, CopySource, CopyStep};

fn context() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir_all(path.join("d/inner")).unwrap();
    fs::create_dir(path.join("d/ignored")).unwrap();
    fs::write(path.join("d/file"), "content").unwrap();
    fs::write(path.join("d/inner/other"), "content").unwrap();
    fs::hard_link(path.join("d/file"), path.join("d/name")).unwrap();
    symlink("file", path.join("d/link")).unwrap();
    fs::write(path.join("top"), "content").unwrap();
    folder
}

fn step() -> CopyStep {
    let mut step = CopyStep::whole(CopySource::Context, RootfsPath::new("d").unwrap());
    step.sources.push(CopyItem::Path(RootfsPath::new("t*p").unwrap()));
    step
}

/// Has whatever is done to a file move its ctime, which is as coarse as the kernel's ticks.
fn until_it_shows(path: &Path, change: impl Fn()) {
    let ctime = || fs::symlink_metadata(path).map(|it| (it.ctime(), it.ctime_nsec())).ok();
    let before = ctime();
    change();
    while ctime() == before {
        change();
    }
}

/// One reading of a context: what was seen, and what changed within it.
fn reading(hasher: &RandomState, read: impl FnOnce(&Watch)) -> (Seen, Option<RootfsPath>) {
    let changed = Changed::default();
    let watch = Watch::new(hasher, &changed);
    read(&watch);
    (watch.take(), changed.first().cloned())
}

/// Reads the context in every way there is: for a key, only looking, onto disk, onto an outline.
fn readings(context: &Path, hasher: &RandomState) -> Vec<(Seen, Option<RootfsPath>)> {
    let root = Rootfs::open(context).unwrap();
    let keeps = |path: &RootfsPath| path.as_bytes() != b"d/ignored";
    let source = || Source::context(&root, &keeps);
    let digests = crate::execute::ContentDigests::new(2.try_into().unwrap());
    let onto = tempfile::tempdir().unwrap();
    let onto = Rootfs::open(onto.path()).unwrap();
    vec![
        reading(hasher, |watch| {
            inputs(&step(), &source().watched_by(watch), &digests).map(drop).unwrap();
        }),
        reading(hasher, |watch| look(&step(), &source().watched_by(watch)).unwrap()),
        reading(hasher, |watch| {
            copy(&step(), &source().watched_by(watch), &onto).map(drop).unwrap();
        }),
        reading(hasher, |watch| {
            let mut outline = Outline::of_scratch();
            outline.copy(&step(), &source().watched_by(watch)).map(drop).unwrap();
        }),
    ]
}

#[test]
fn all_readings_of_a_context_see_the_same_until_it_changes() {
    let context = context();
    let path = context.path();
    let hasher = RandomState::new();
    let check = |before: Option<Seen>| {
        let readings = readings(path, &hasher);
        let first = readings.first().unwrap().0;
        for (position, reading) in readings.iter().enumerate() {
            assert_eq!(*reading, (first, None), "{position}");
        }
        assert_ne!(before.map(|before| before.sum), Some(first.sum));
        first
    };
    let mut seen = check(None);
    let file = path.join("d/file");
    let with_mode =
        |mode| fs::set_permissions(path.join("d/inner"), PermissionsExt::from_mode(mode));
    let changes: &[&dyn Fn()] = &[
        &|| until_it_shows(&file, || fs::write(&file, "tnetnoc").unwrap()),
        &|| {
            // As it was but for the ctime.
            let before = fs::metadata(&file).unwrap().modified().unwrap();
            until_it_shows(&file, || {
                fs::write(&file, "content").unwrap();
                fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
            });
        },
        &|| fs::rename(path.join("top"), path.join("tip")).unwrap(),
        &|| fs::write(path.join("d/new"), "").unwrap(),
        &|| fs::create_dir(path.join("d/inner/hollow")).unwrap(),
        &|| fs::remove_file(path.join("d/link")).unwrap(),
        &|| symlink("new", path.join("d/link")).unwrap(),
        &|| with_mode(0o700).unwrap(),
    ];
    for change in changes {
        change();
        seen = check(Some(seen));
    }
    // What is ignored does not count.
    fs::write(path.join("d/ignored/new"), "").unwrap();
    fs::write(path.join("beside"), "").unwrap();
    for reading in readings(path, &hasher) {
        assert_eq!(reading, (seen, None));
    }
}

#[test]
fn a_file_that_changes_while_it_is_copied_is_noted() {
    let context = context();
    let file = context.path().join("top");
    let root = Rootfs::open(context.path()).unwrap();
    let changed = Changed::default();
    let watch = Watch::new(&RandomState::new(), &changed);
    let path = RootfsPath::new("top").unwrap();
    let before = root.metadata(&path).unwrap().unwrap();
    // Between the look at it and its end.
    let expected = watch.expect(&before);
    expected.check(&path, root.metadata(&path).unwrap().as_ref());
    assert_eq!(changed.first(), None);
    until_it_shows(&file, || fs::write(&file, "tnetnoc").unwrap());
    expected.check(&path, root.metadata(&path).unwrap().as_ref());
    assert_eq!(changed.first(), Some(&path));
}

#[test]
fn what_changes_between_a_key_and_the_copy_shows() {
    let context = context();
    let (top, hasher) = (context.path().to_owned(), RandomState::new());
    let root = Rootfs::open(&top).unwrap();
    let digests = crate::execute::ContentDigests::new(1.try_into().unwrap());
    let (expected, _) = reading(&hasher, |watch| {
        let source = Source::context(&root, &|_| true).watched_by(watch);
        inputs(&step(), &source, &digests).map(drop).unwrap();
    });
    // The copy asks of each path whether it is ignored; the file changes when it is asked for another.
    let asked = RefCell::new(Vec::new());
    let keeps = |path: &RootfsPath| {
        if asked.borrow().is_empty() {
            let file = top.join("d/inner/other");
            until_it_shows(&file, || fs::write(&file, "tnetnoc").unwrap());
        }
        asked.borrow_mut().push(path.clone());
        true
    };
    let onto = tempfile::tempdir().unwrap();
    let rootfs = Rootfs::open(onto.path()).unwrap();
    let (seen, _) = reading(&hasher, |watch| {
        let source = Source::context(&root, &keeps).watched_by(watch);
        copy(&step(), &source, &rootfs).map(drop).unwrap();
    });
    assert_eq!(fs::read_to_string(onto.path().join("inner/other")).unwrap(), "tnetnoc");
    assert_ne!(seen.sum, expected.sum);
}

/// Copies a step's files to a directory, has the copies read there, and returns what a key is made of
/// by that and by reading everything, and of how many files the first has asked for the content.
fn inputs_after(context: &Path, step: &CopyStep, change: impl Fn()) -> [(Vec<Input>, u64); 2] {
    let root = Rootfs::open(context).unwrap();
    let keeps = |path: &RootfsPath| path.as_bytes() != b"d/ignored";
    let source = || Source::context(&root, &keeps);
    let onto = tempfile::tempdir().unwrap();
    let watch = Watch::new(&RandomState::new(), &Changed::default()).following();
    let to = Rootfs::open(onto.path()).unwrap();
    let copied = copy(step, &source().watched_by(&watch), &to).unwrap();
    let mut followed = watch.take_followed();
    for (path, _) in copied.touched.iter() {
        let at = onto.path().join(path.to_string().trim_start_matches('/'));
        if fs::symlink_metadata(&at).unwrap().is_file() {
            followed.learn(path, &Digest::of(&fs::read(at).unwrap()));
        }
    }
    change();
    let digests = || crate::execute::ContentDigests::new(2.try_into().unwrap());
    let known = digests();
    known.take_for_now(followed.into_known());
    [known, digests()]
        .map(|digests| (inputs(step, &source(), &digests).unwrap(), digests.asked_count()))
}

#[test]
fn what_was_copied_is_not_read_again_for_a_key() {
    let context = context();
    let path = context.path();
    let check = |step: &CopyStep, change: &dyn Fn(), expected: u64| {
        let [(by_copies, asked_count), (by_reading, all_count)] = inputs_after(path, step, change);
        assert_eq!(by_copies, by_reading);
        assert_eq!(asked_count, expected);
        assert!(all_count > expected || all_count == expected && expected > 0);
    };
    check(&step(), &|| {}, 0);
    let touched =
        || until_it_shows(&path.join("top"), || fs::write(path.join("top"), "x").unwrap());
    check(&step(), &touched, 1);
    // Two go to one name, where only the later one is left.
    let mut to_one = CopyStep::whole(CopySource::Context, RootfsPath::new("d/file").unwrap());
    fs::create_dir(path.join("e")).unwrap();
    fs::write(path.join("e/file"), "other content").unwrap();
    to_one.sources.push(CopyItem::Path(RootfsPath::new("e/file").unwrap()));
    check(&to_one, &|| {}, 1);
}
