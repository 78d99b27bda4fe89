//! A root that is somebody's home: what stages leave there goes, what was there stays.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags};
use snapshot::Rootfs;
use tempfile::TempDir;
use zuwai::sandbox::{Eviction, InPlace, Leftovers};

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

#[test]
fn a_build_removes_what_the_one_before_left_and_nothing_else() {
    if !may_run("a_build_removes_what_the_one_before_left_and_nothing_else") {
        return;
    }
    let home = Home::make();
    let place = home.open();
    let residents = place.survey().expect("survey");
    home.build_a_stage();
    let text = serde_json::to_vec(&place.leftovers(&residents).expect("listed")).expect("written");
    // Somebody works here between the two builds.
    home.write("image.tar", "result of the first");
    home.write("etc/mine", "mine");
    fs::remove_file(home.path("bin")).expect("remove");
    home.write("bin", "mine now");
    let leftovers: Leftovers = serde_json::from_slice(&text).expect("read");
    assert!(home.open().remove_leftovers(&leftovers).expect("removed"));
    let mut expected = after();
    expected.extend([
        "bin=mine now 644 0:0",
        "etc/mine=mine 644 0:0",
        "image.tar=result of the first 644 0:0",
    ]);
    expected.sort_unstable();
    assert_eq!(list(home.directory.path()), expected);

    // In another root nothing is touched.
    let other = Home::make();
    other.build_a_stage();
    let before = list(other.directory.path());
    assert!(!other.open().remove_leftovers(&leftovers).expect("looked at"));
    assert_eq!(list(other.directory.path()), before);
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
