//! A root that is somebody's home: what stages leave there goes, what was there stays.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};
use snapshot::{Rootfs, Timestamp};
use tempfile::TempDir;
use zuwai::sandbox::{Eviction, InPlace, Tenancy};

use super::may_run;

/// A root with residents, a protected directory and a mount in it.
struct Home {
    directory: TempDir,
}

impl Home {
    fn make() -> Self {
        let home = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        fs::set_permissions(home.path(""), fs::Permissions::from_mode(0o755)).expect("chmod");
        for name in ["kaniko/stages", "etc", "tmp", "run/secrets/account", "builds/project"] {
            fs::create_dir_all(home.path(name)).expect("mkdir");
        }
        fs::set_permissions(home.path("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod");
        home.write("kaniko/executor", "program");
        home.write("builds/project/Dockerfile", "FROM scratch");
        home.write("etc/nsswitch.conf", "hosts: files");
        let place = home.path("run/secrets/account");
        let flags = MountFlags::empty();
        rustix::mount::mount("none", &place, "tmpfs", flags, None).expect("mount");
        home.write("run/secrets/account/token", "secret");
        home
    }

    fn path(&self, inside: &str) -> std::path::PathBuf {
        self.directory.path().join(inside)
    }

    fn write(&self, name: &str, content: &str) {
        fs::create_dir_all(self.path(name).parent().expect("a directory")).expect("mkdir");
        fs::write(self.path(name), content).expect("write");
    }

    fn open(&self) -> InPlace {
        InPlace::open(self.directory.path(), &[self.path("kaniko"), self.path("builds/project")])
            .expect("open")
    }

    /// What a base and its steps leave behind: new directories, files next to residents, a
    /// resident replaced, metadata of residents changed.
    fn build_a_stage(&self) {
        self.write("usr/bin/tool", "tool");
        fs::hard_link(self.path("usr/bin/tool"), self.path("usr/bin/alias")).expect("link");
        symlink("usr/bin", self.path("bin")).expect("symlink");
        self.write("etc/passwd", "root:x:0:0:");
        fs::remove_file(self.path("etc/nsswitch.conf")).expect("remove");
        self.write("etc/nsswitch.conf", "replaced");
        self.write("run/lock/file", "");
        self.write("run/secrets/other", "of the stage");
        self.write("builds/cache/file", "");
        self.write("tmp/left", "");
        fs::set_permissions(self.path("tmp"), fs::Permissions::from_mode(0o700)).expect("chmod");
        std::os::unix::fs::chown(self.path("etc"), Some(7), Some(8)).expect("chown");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let place = self.path("run/secrets/account");
        let _ = rustix::mount::unmount(&place, UnmountFlags::DETACH);
    }
}

/// Lists what is below a directory: mode, owner and path, with the content of files.
fn list(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("list") {
            let path = entry.expect("entry").path();
            let metadata = fs::symlink_metadata(&path).expect("stat");
            let content = if metadata.is_dir() {
                pending.push(path.clone());
                "/".to_owned()
            } else if metadata.is_symlink() {
                format!(">{}", fs::read_link(&path).expect("readlink").display())
            } else {
                format!("={}", fs::read_to_string(&path).expect("read"))
            };
            let name = path.strip_prefix(root).expect("below").display().to_string();
            let mode = metadata.mode() & 0o7777;
            found.push(format!("{name}{content} {mode:o} {}:{}", metadata.uid(), metadata.gid()));
        }
    }
    found.sort();
    found
}

const BEFORE: [&str; 13] = [
    "builds/ 755 0:0",
    "builds/project/ 755 0:0",
    "builds/project/Dockerfile=FROM scratch 644 0:0",
    "etc/ 755 0:0",
    "etc/nsswitch.conf=hosts: files 644 0:0",
    "kaniko/ 755 0:0",
    "kaniko/executor=program 644 0:0",
    "kaniko/stages/ 755 0:0",
    "run/ 755 0:0",
    "run/secrets/ 755 0:0",
    "run/secrets/account/ 1777 0:0",
    "run/secrets/account/token=secret 644 0:0",
    "tmp/ 1777 0:0",
];

/// [`BEFORE`] without the resident that a stage replaced: that one is gone for good.
fn after() -> Vec<&'static str> {
    BEFORE.into_iter().filter(|line| !line.starts_with("etc/nsswitch")).collect()
}

#[test]
fn what_a_stage_left_is_removed_and_residents_stay() {
    if !may_run("what_a_stage_left_is_removed_and_residents_stay") {
        return;
    }
    let home = Home::make();
    assert_eq!(list(home.directory.path()), BEFORE);
    let place = home.open();
    let residents = place.survey().expect("survey");
    let paths: Vec<String> = residents.paths().map(|path| path.to_string()).collect();
    assert_eq!(
        paths,
        ["/", "/builds", "/etc", "/etc/nsswitch.conf", "/run", "/run/secrets", "/tmp"]
    );
    let time = |name: &str| fs::metadata(home.path(name)).expect("stat").mtime_nsec();
    let times = [time("etc"), time("tmp"), time("")];

    home.build_a_stage();
    place.evict(&residents, Eviction::Remove).expect("evict");
    assert_eq!(list(home.directory.path()), after());
    assert_eq!([time("etc"), time("tmp"), time("")], times);
    // A second time there is nothing to do.
    place.evict(&residents, Eviction::Remove).expect("evict");
    assert_eq!(list(home.directory.path()), after());
}

#[test]
fn a_stage_can_be_moved_aside_whole() {
    if !may_run("a_stage_can_be_moved_aside_whole") {
        return;
    }
    let home = Home::make();
    let place = home.open();
    let residents = place.survey().expect("survey");
    home.build_a_stage();
    let time = fs::metadata(home.path("etc")).expect("stat").mtime_nsec();
    let inode = fs::metadata(home.path("usr/bin/tool")).expect("stat").ino();
    let aside = home.path("kaniko/stages");
    let stage = Rootfs::open(&aside).expect("open");
    place.evict(&residents, Eviction::MoveTo(&stage)).expect("evict");
    assert_eq!(
        list(&aside),
        [
            "bin>usr/bin 777 0:0",
            "builds/ 755 0:0",
            "builds/cache/ 755 0:0",
            "builds/cache/file= 644 0:0",
            "etc/ 755 7:8",
            "etc/nsswitch.conf=replaced 644 0:0",
            "etc/passwd=root:x:0:0: 644 0:0",
            "run/ 755 0:0",
            "run/lock/ 755 0:0",
            "run/lock/file= 644 0:0",
            "run/secrets/ 755 0:0",
            "run/secrets/other=of the stage 644 0:0",
            "tmp/ 700 0:0",
            "tmp/left= 644 0:0",
            "usr/ 755 0:0",
            "usr/bin/ 755 0:0",
            "usr/bin/alias=tool 644 0:0",
            "usr/bin/tool=tool 644 0:0",
        ]
    );
    let metadata = |name: &str| fs::metadata(aside.join(name)).expect("stat");
    assert_eq!(metadata("etc").mtime_nsec(), time);
    // Moved, not copied.
    assert_eq!((metadata("usr/bin/tool").ino(), metadata("usr/bin/alias").ino()), (inode, inode));
    fs::remove_dir_all(&aside).expect("remove");
    fs::create_dir(&aside).expect("mkdir");
    assert_eq!(list(home.directory.path()), after());
}

#[test]
fn what_is_protected_or_mounted_cannot_be_written_to() {
    if !may_run("what_is_protected_or_mounted_cannot_be_written_to") {
        return;
    }
    let home = Home::make();
    let place = home.open();
    let path = |text: &str| snapshot::RootfsPath::new(text).expect("a path");
    for (name, message) in [
        ("kaniko/executor", "`/kaniko/executor` is protected"),
        ("kaniko", "`/kaniko` is protected"),
        ("builds/project/Dockerfile", "`/builds/project/Dockerfile` is protected"),
        ("builds", "`/builds` is protected"),
        ("run/secrets/account/token", "`/run/secrets/account/token` is on a mount"),
        ("run/secrets/account", "`/run/secrets/account` is on a mount"),
    ] {
        let error = place.root().remove(&path(name)).expect_err(name);
        assert_eq!(error.to_string(), message);
    }
    // By another name, too.
    symlink("kaniko", home.path("other")).expect("symlink");
    let error = place.root().create_file(&path("other/new")).expect_err("protected");
    assert_eq!(error.to_string(), "`/other/new` is protected");
    assert_eq!(list(home.directory.path()).len(), BEFORE.len() + 1);
}

/// Waits until the kernel gives a later time to what is written than it does now.
fn let_the_clock_tick(directory: &Path) -> Timestamp {
    let probe = directory.join("probe");
    let time = || {
        fs::write(&probe, "").expect("write");
        let metadata = fs::metadata(&probe).expect("stat");
        fs::remove_file(&probe).expect("remove");
        (metadata.ctime(), metadata.ctime_nsec())
    };
    let before = time();
    while time() == before {}
    let (seconds, nanoseconds) = before;
    Timestamp { seconds, nanoseconds: u32::try_from(nanoseconds).expect("less than a second") }
}

/// Builds a stage and then works in the root as somebody else; returns what has to be left once the
/// stage is gone.
fn build_and_work_after(home: &Home, last_seen: impl FnOnce()) -> Vec<&'static str> {
    home.build_a_stage();
    last_seen();
    home.write("image.tar", "result of the first");
    home.write("etc/mine", "mine");
    home.write("usr/bin/mine", "mine, too");
    fs::remove_file(home.path("bin")).expect("remove");
    home.write("bin", "mine now");
    let mut expected = after();
    expected.extend([
        "bin=mine now 644 0:0",
        "etc/mine=mine 644 0:0",
        "image.tar=result of the first 644 0:0",
        "usr/ 755 0:0",
        "usr/bin/ 755 0:0",
        "usr/bin/mine=mine, too 644 0:0",
    ]);
    // Changed after the stage: that it has another owner may be wanted.
    expected.retain(|line| *line != "etc/ 755 0:0");
    expected.push("etc/ 755 7:8");
    expected.sort_unstable();
    expected
}

#[test]
fn a_build_removes_what_the_one_before_left_and_nothing_else() {
    if !may_run("a_build_removes_what_the_one_before_left_and_nothing_else") {
        return;
    }
    let home = Home::make();
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let tenancy = home.open().move_in().expect("surveyed");
    let mut text = Vec::new();
    let expected = build_and_work_after(&home, || {
        text = serde_json::to_vec(&tenancy.ended()).expect("written");
        let_the_clock_tick(elsewhere.path());
    });
    let ended: Tenancy = serde_json::from_slice(&text).expect("read");
    // When it was last seen does not matter, because it said when it ended.
    let never = Timestamp { seconds: 0, nanoseconds: 0 };
    assert!(home.open().clear_after(&ended, never).expect("removed"));
    assert_eq!(list(home.directory.path()), expected);

    // In another root nothing is touched.
    let other = Home::make();
    other.build_a_stage();
    let before = list(other.directory.path());
    assert!(!other.open().clear_after(&ended, never).expect("looked at"));
    assert_eq!(list(other.directory.path()), before);
}

#[test]
fn a_killed_builds_files_are_those_until_it_was_last_seen() {
    if !may_run("a_killed_builds_files_are_those_until_it_was_last_seen") {
        return;
    }
    let home = Home::make();
    home.write("etc/before", "older than the build");
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let place = home.open().make_aside().expect("made");
    let aside = place.create_aside(0).expect("made").expect("in the root");
    assert_eq!(aside.metadata().expect("stat").mode() & 0o7777, 0o755);
    fs::write(aside.join("of a finished stage"), "").expect("write");
    let text = serde_json::to_vec(&place.move_in().expect("surveyed")).expect("written");
    let mut last_seen = None;
    let mut expected = build_and_work_after(&home, || {
        last_seen = Some(let_the_clock_tick(elsewhere.path()));
    });
    let killed: Tenancy = serde_json::from_slice(&text).expect("read");
    assert!(home.open().clear_after(&killed, last_seen.expect("was set")).expect("removed"));
    expected.push("etc/before=older than the build 644 0:0");
    expected.sort_unstable();
    assert_eq!(list(home.directory.path()), expected);
}

#[test]
fn one_build_at_a_time_is_in_a_root() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let open = || InPlace::open(directory.path(), &[]).expect("open");
    let first = open().claim().expect("free");
    let second = open().claim().expect_err("taken");
    assert_eq!(second.to_string(), "another build is under way in `/` of this container");
    drop(first);
    open().claim().expect("free again");
}

#[test]
fn finished_stages_go_into_the_root_where_the_work_directory_is_on_another_mount() {
    let test = "finished_stages_go_into_the_root_where_the_work_directory_is_on_another_mount";
    if !may_run(test) {
        return;
    }
    let home = Home::make();
    let place = home.open();
    assert!(place.is_beside(&home.path("kaniko")).expect("looked at"));
    assert!(!place.is_beside(&home.path("run/secrets/account")).expect("looked at"));
    assert_eq!(place.create_aside(0).expect("asked"), None);

    let place = place.make_aside().expect("made");
    let tenancy = place.move_in().expect("surveyed");
    home.build_a_stage();
    let aside = place.create_aside(7).expect("made").expect("in the root");
    assert_eq!(aside.parent().and_then(Path::parent), Some(home.directory.path()));
    let stage = Rootfs::open(&aside).expect("open");
    place.evict(tenancy.residents(), Eviction::MoveTo(&stage)).expect("evict");
    assert!(aside.join("usr/bin/tool").exists());
    place.remove_aside().expect("removed");
    assert_eq!(list(home.directory.path()), after());
}

#[test]
fn residents_are_no_change_of_a_stage() {
    if !may_run("residents_are_no_change_of_a_stage") {
        return;
    }
    let home = Home::make();
    let place = home.open();
    let residents = place.survey().expect("survey");
    fs::remove_file(home.path("etc/nsswitch.conf")).expect("remove");
    let known = |path: &snapshot::RootfsPath| path.to_string() == "/tmp";
    let rows = place.resident_rows(&residents, known).expect("rows");
    let paths: Vec<String> = rows.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(paths, ["/", "/builds", "/etc", "/run", "/run/secrets"]);
    assert!(rows.iter().all(|(_, row)| !row.shadow));
}
