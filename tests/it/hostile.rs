//! Archives made to get out of the root they are unpacked into: as base layers, as contexts, as
//! what ADD unpacks, and as the source and the target of a `COPY --from`.
//!
//! Beside every root stands a canary: a directory with a file of two names. Whatever an archive
//! says, the canary's content, modes, owners, times and link counts stay, and nothing appears beside
//! it.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use snapshot::{Rootfs, RootfsPath};
use tempfile::TempDir;
use zuwai::archive::{Contents, ExtractOptions, Limits, Ownership, RatioLimit, extract};
use zuwai::execute::{Source, copy};
use zuwai::plan::{Archives, CopyItem, CopySource, CopyStep, Destination, Footing};
use zuwai::unpack::{UnpackOptions, unpack};

use crate::hostile_cases::{Case, Ending, cases};
use crate::skip::{Reason, is_root, skip};
use crate::tarball::{Member, archive};
use crate::tree::{names, tree};
use crate::unpack::{assert_headers_agree, layer, message};

/// A directory to play in: `canary` and `root` side by side.
struct World {
    directory: TempDir,
    canary_before: Vec<String>,
}

impl World {
    fn new() -> Self {
        let mut world = Self { directory: tempfile::tempdir().unwrap(), canary_before: Vec::new() };
        world.renew();
        world
    }

    /// Makes everything anew, in the same place: cases name the canary by its path.
    fn renew(&mut self) {
        for name in ["canary", "root"] {
            match fs::remove_dir_all(self.path(name)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.unwrap(),
            }
            fs::create_dir(self.path(name)).unwrap();
        }
        fs::write(self.path("canary/file"), "untouched").unwrap();
        fs::hard_link(self.path("canary/file"), self.path("canary/second")).unwrap();
        self.canary_before = self.canary_now();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn rootfs(&self) -> Rootfs {
        Rootfs::open(&self.path("root")).unwrap()
    }

    fn canary_now(&self) -> Vec<String> {
        let mut lines = tree(&self.path("canary"));
        let mut beside: Vec<_> = self
            .directory
            .path()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        beside.sort();
        lines.extend(beside);
        lines
    }

    fn assert_canary_lives(&self, case: &str) {
        assert_eq!(self.canary_now(), self.canary_before, "{case}");
    }

    /// The canary's place as an archive may spell it.
    fn canary(&self) -> String {
        self.path("canary").to_str().unwrap().to_owned()
    }
}

/// How an archive comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Layers,
    Context,
    Add,
}

const LIMITS: Limits = Limits { entry_bytes: 1 << 30, entry_count: 2000, ..DEFAULT_LIMITS };

/// The default limits; `Default` is no constant.
const DEFAULT_LIMITS: Limits = Limits {
    stream_bytes: u64::MAX,
    entry_bytes: u64::MAX,
    entry_count: Limits::ENTRY_COUNT,
    ratio: Some(Limits::RATIO),
};

/// Brings the archives in one after the other. Returns the directory where they went.
fn bring_in(world: &World, way: Way, archives: &[Vec<u8>]) -> Result<PathBuf, String> {
    let rootfs = world.rootfs();
    let (destination, ownership) = match way {
        Way::Layers => {
            let layers = || archives.iter().map(|archive| layer(archive.clone())).collect();
            let options = UnpackOptions { limits: LIMITS, ..UnpackOptions::default() };
            let unpacked = unpack(&rootfs, layers(), &options).map_err(|error| message(&error))?;
            assert_headers_agree(layers(), &unpacked.index);
            let left = unpacked.index.iter().filter(|(_, row)| row.shadow).count();
            assert_eq!(left, 0, "everything is on disk");
            return Ok(world.path("root"));
        }
        Way::Context => (RootfsPath::root(), Ownership::Process),
        Way::Add => (RootfsPath::new("dest").unwrap(), Ownership::Archive),
    };
    let options = ExtractOptions { limits: LIMITS, ownership, contents: Contents::Digest };
    for (index, archive) in archives.iter().enumerate() {
        let archive = Cursor::new(compress(index, archive));
        extract(archive, &rootfs, &destination, &options).map_err(|error| message(&error))?;
    }
    Ok(world.path("root").join(Path::new(std::str::from_utf8(destination.as_bytes()).unwrap())))
}

/// Compresses in one of five ways.
fn compress(way: usize, data: &[u8]) -> Vec<u8> {
    match way % 5 {
        0 => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        1 => zstd::encode_all(data, 1).unwrap(),
        2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        3 => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        _ => data.to_vec(),
    }
}

fn assert_ends(case: &Case, way: Way, ending: &Ending, world: &World, archives: &[Vec<u8>]) {
    let label = format!("{} as {way:?}", case.name);
    let result = bring_in(world, way, archives);
    world.assert_canary_lives(&label);
    match (ending, result) {
        (Ending::Refused(expected), Err(message)) => {
            assert!(message.contains(expected.as_str()), "{label}: {message}");
        }
        (Ending::Inside(expected), Ok(root)) => {
            assert_eq!(&names(&root), expected, "{label}");
        }
        (expected, result) => panic!("{label}: expected {expected:?}, got {result:?}"),
    }
}

#[test]
fn hostile_archives_stay_inside_or_are_refused() {
    if !is_root("hostile_archives_stay_inside_or_are_refused") {
        return;
    }
    let mut world = World::new();
    let cases = cases(&world.canary());
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    for case in &cases {
        for way in [Way::Layers, Way::Context, Way::Add] {
            world.renew();
            let ending = if way == Way::Layers { &case.as_layers } else { &case.as_archives };
            assert_ends(case, way, ending, &world, &case.archives);
            // What one archive plants, the next one finds; and one alone does too.
            if let Some(members) = &case.members
                && members.len() > 1
                && way != Way::Layers
            {
                world.renew();
                assert_ends(case, way, ending, &world, &[archive(&members.concat())]);
            }
        }
    }
}

fn copy_everything(from: &Rootfs, to: &Rootfs) -> Result<(), String> {
    let step = CopyStep {
        from: CopySource::Stage(0),
        sources: vec![CopyItem::Path(RootfsPath::root())],
        inline: Vec::new(),
        destination: Destination { path: RootfsPath::root(), is_directory: true },
        owner: None,
        mode: None,
        archives: Archives::Copied,
        exclude: Vec::new(),
        footing: Footing::Stage,
    };
    copy(&step, &Source::root(from), to).map(drop).map_err(|error| message(&error))
}

#[test]
fn what_hostile_layers_leave_is_copied_without_getting_out() {
    if !is_root("what_hostile_layers_leave_is_copied_without_getting_out") {
        return;
    }
    let mut world = World::new();
    let mut target = World::new();
    let mut copied = 0;
    for case in &cases(&world.canary()) {
        let Ending::Inside(expected) = &case.as_layers else { continue };
        world.renew();
        target.renew();
        bring_in(&world, Way::Layers, &case.archives).unwrap();
        // The second time the hostile tree is the target too.
        for _ in 0..2 {
            copy_everything(&world.rootfs(), &target.rootfs()).unwrap();
            world.assert_canary_lives(case.name);
            target.assert_canary_lives(case.name);
            assert_eq!(&names(&target.path("root")), expected, "{}", case.name);
        }
        copied += 1;
    }
    assert!(copied >= 20, "only {copied} copied");
}

#[test]
fn an_archive_does_not_touch_the_directory_it_is_added_to() {
    if !is_root("an_archive_does_not_touch_the_directory_it_is_added_to") {
        return;
    }
    let world = World::new();
    let rootfs = world.rootfs();
    fs::create_dir(world.path("root/real")).unwrap();
    std::os::unix::fs::symlink("/real", world.path("root/dest")).unwrap();
    let before = fs::symlink_metadata(world.path("root/real")).unwrap();
    let bytes = archive(&[
        Member::new(b'5', "./").mode(0o1777).owner(1234, 1234),
        Member::new(b'5', "sub").mode(0o2750).owner(5, 6),
        Member::file("sub/file", "x").mode(0o4711).owner(7, 8),
    ]);
    let options = ExtractOptions {
        limits: Limits::default(),
        ownership: Ownership::Archive,
        contents: Contents::Digest,
    };
    let path = |path: &str| RootfsPath::new(path).unwrap();
    let extracted = extract(Cursor::new(bytes), &rootfs, &path("dest"), &options).unwrap();
    let after = fs::symlink_metadata(world.path("root/real")).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), 0, 0));
    let digest = Some(snapshot::Digest::of(b"x"));
    let touched: Vec<_> = extracted
        .touched
        .iter()
        .map(|touched| (touched.path.to_string(), touched.content))
        .collect();
    assert_eq!(touched, [("/real/sub".to_owned(), None), ("/real/sub/file".to_owned(), digest)]);
    let lines = tree(&world.path("root/real"));
    assert!(lines[1].starts_with("/sub 42750 5:6 1500000000.0"), "{lines:?}");
    assert!(lines[2].starts_with("/sub/file 104711 7:8 1500000000.0"), "{lines:?}");
}

#[test]
fn a_missing_destination_is_made() {
    if !is_root("a_missing_destination_is_made") {
        return;
    }
    let world = World::new();
    let options = ExtractOptions {
        limits: Limits::default(),
        ownership: Ownership::Archive,
        contents: Contents::Ignore,
    };
    let bytes = archive(&[Member::file("x/y", "")]);
    let destination = RootfsPath::new("a/b").unwrap();
    let extracted = extract(Cursor::new(bytes), &world.rootfs(), &destination, &options).unwrap();
    let touched: Vec<_> =
        extracted.touched.iter().map(|touched| touched.path.to_string()).collect();
    assert_eq!(touched, ["/a", "/a/b", "/a/b/x", "/a/b/x/y"]);
    assert_eq!(extracted.entry_count, 1);
}

#[test]
fn a_file_in_place_of_a_directory_that_a_link_is_swapped_for_stays_inside() {
    if !is_root("a_file_in_place_of_a_directory_that_a_link_is_swapped_for_stays_inside") {
        return;
    }
    let world = World::new();
    let root = world.path("root");
    fs::create_dir(root.join("d")).unwrap();
    std::os::unix::fs::symlink(world.path("canary"), root.join("evil")).unwrap();
    let members: Vec<_> = (0..3000)
        .flat_map(|index| {
            // A directory of its own each time, so that no handle is kept.
            let name = format!("d/{}/x", index % 100);
            [Member::file(format!("d/{index}"), "x"), Member::file(name, "y")]
        })
        .collect();
    let bytes = archive(&members);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let (d, evil) = (root.join("d"), root.join("evil"));
                // Either may be missing for a moment: the archive replaces what is in its way.
                _ = rustix::fs::renameat_with(rustix::fs::CWD, &d, rustix::fs::CWD, &evil, flags);
            }
        });
        let options = ExtractOptions {
            limits: Limits::default(),
            ownership: Ownership::Archive,
            contents: Contents::Ignore,
        };
        for _ in 0..5 {
            // It may well fail; what counts is where nothing went.
            _ = extract(Cursor::new(&bytes), &world.rootfs(), &RootfsPath::root(), &options);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    world.assert_canary_lives("swapped");
}

#[test]
fn bombs_stop_at_their_limits() {
    if !is_root("bombs_stop_at_their_limits") {
        return;
    }
    let expected = "more than 200 times its size";
    let bomb = |size: usize| {
        let zeros = Member { content: vec![0; size], ..Member::file("zeros", "") };
        archive(&[zeros])
    };
    let add = |bomb: &[u8], limits: Limits| {
        let options =
            ExtractOptions { limits, ownership: Ownership::Archive, contents: Contents::Ignore };
        let root = RootfsPath::root();
        let error = extract(Cursor::new(bomb), &World::new().rootfs(), &root, &options);
        assert!(message(&error.unwrap_err()).ends_with(expected));
    };
    let zeros = bomb(3_000_000);
    let ratio = RatioLimit { after_bytes: 1_000_000, ..Limits::RATIO };
    let limits = Limits { ratio: Some(ratio), ..Limits::default() };
    for way in 0..4 {
        let bomb = compress(way, &zeros);
        add(&bomb, limits);
        let layers = vec![crate::unpack::compressed(snapshot::Digest::of(&zeros), bomb)];
        let error =
            unpack(&World::new().rootfs(), layers, &UnpackOptions { limits, beneath: None })
                .unwrap_err();
        assert!(message(&error).ends_with(expected), "{error:?}");
    }
    // And with the limits that hold when nobody sets any.
    add(&compress(0, &bomb(101_000_000)), Limits::default());
}

#[test]
fn what_the_reader_takes_gnu_tar_and_python_read_alike() {
    let directory = tempfile::tempdir().unwrap();
    // A few seconds' worth; `hack/fuzz.sh` does as many as one likes.
    match crate::differential::run(1, 1500, directory.path()) {
        None => skip("the comparison of readers", Reason::Lacking("needs GNU tar and python3")),
        Some(outcome) => {
            assert!(outcome.differences.is_empty(), "{}", crate::differential::summary(&outcome));
            assert!(outcome.accepted >= 150, "{}", crate::differential::summary(&outcome));
        }
    }
}
