//! What is special about overlays: renamed directories, hidden ones, and files with several names of
//! which one is written to. Each row is a step of its own; what it saw at its end has to be what the
//! root is afterwards.

use std::path::Path;
use std::process::Command;

use snapshot::track::TrackerKind;

use super::ground::FileSystem;
use super::trial::{Trial, Way};

use crate::skip::skip;

struct Row {
    name: &'static str,
    /// Run on the plain root, as part of an earlier step.
    before: &'static str,
    step: &'static str,
}

const fn row(name: &'static str, before: &'static str, step: &'static str) -> Row {
    Row { name, before, step }
}

const ROWS: &[Row] = &[
    row("nothing", "mkdir a; echo 1 > a/f", "true"),
    row("directory renamed", "mkdir -p a/b; echo 1 > a/f; echo 2 > a/b/g", "mv a c"),
    row(
        "directory renamed and written in",
        "mkdir -p a/b; echo 1 > a/f; echo 2 > a/b/g",
        "mv a c; echo 3 > c/b/g; rm c/f; echo new > c/b/new",
    ),
    row(
        "two directories change places",
        "mkdir -p a/x b/y; echo 1 > a/x/f",
        "mv a t; mv b a; mv t b",
    ),
    row(
        "three directories in a ring",
        "mkdir -p a/x b/y c/z; echo 1 > a/x/f",
        "mv a t; mv c a; mv b c; mv t b; echo 2 > b/x/g",
    ),
    row("directory moved into another", "mkdir -p a/b c; echo 1 > a/b/f", "mv a/b c/b"),
    row(
        "inner directory moved out, outer one moved in",
        "mkdir -p a/b/c d; echo 1 > a/b/c/f; echo 2 > a/g",
        "mv a/b/c d/c; mv a d/c/a; mv d/c/a/b e; echo 3 > e/new",
    ),
    row("directory moved below its former child", "mkdir -p a/b/c", "mv a/b b; mv a b/c/a"),
    row(
        "renamed away and back",
        "mkdir -p a/b; echo 1 > a/b/f",
        "mv a t; mv t a; mv a/b t; mv t a/b",
    ),
    row(
        "moved into a new directory, and a new one in its place",
        "mkdir -p a/b; echo 1 > a/b/f",
        "mkdir n; mv a n/a; mkdir -p a/b; echo 2 > a/b/other",
    ),
    row("directory removed", "mkdir -p a/b; echo 1 > a/b/f", "rm -r a"),
    row(
        "directory removed and made again",
        "mkdir -p a/b; echo 1 > a/f",
        "rm -r a; mkdir a; echo 2 > a/g",
    ),
    row("directory becomes a file", "mkdir -p a/b; echo 1 > a/b/f", "rm -r a; echo 2 > a"),
    row("file becomes a directory", "echo 1 > a", "rm a; mkdir -p a/b; echo 2 > a/b/f"),
    row(
        "directory becomes a link to another",
        "mkdir a b; echo 1 > a/f",
        "rm -r a; ln -s b a; echo 2 > a/f",
    ),
    row(
        "renamed over an empty directory",
        "mkdir -p a/x b; echo 1 > a/x/f",
        "mv -T a b; rm -r b/x; mkdir b/x",
    ),
    row(
        "removed in a renamed directory",
        "mkdir -p a/b/c; echo 1 > a/b/f",
        "mv a z; rm -r z/b; mkdir z/b",
    ),
    row(
        "written through one of three names",
        "mkdir a; echo 1 > f; ln f a/g; ln f h",
        "echo 2 > a/g",
    ),
    row(
        "written through one name, which is removed",
        "mkdir a; echo 1 > f; ln f a/g",
        "echo 2 > f; rm f",
    ),
    row("written through one name, which is renamed", "echo 1 > f; ln f g", "mv f h; echo 2 > h"),
    row("one of two names removed", "mkdir a; echo 1 > f; ln f a/g", "rm f"),
    row("both names removed", "echo 1 > f; ln f g", "echo 2 > f; rm f g"),
    row(
        "both names removed, one made again",
        "echo 1 > f; ln f g",
        "echo 2 > g; rm f g; echo 3 > f",
    ),
    row(
        "both names written through",
        "mkdir a; echo 1 > f; ln f a/g",
        "echo 2 >> f; echo 3 >> a/g",
    ),
    row(
        "other name in a directory that is renamed",
        "mkdir a; echo 1 > f; ln f a/g; touch -d @99 a",
        "mv a b; echo 2 > f; ln f b/new",
    ),
    row(
        "other name in a directory that is removed",
        "mkdir a; echo 1 > f; ln f a/g",
        "echo 2 > f; rm -r a",
    ),
    row("name added to a file with one", "mkdir a; echo 1 > f", "ln f a/g; echo 2 > a/g"),
    row("name added to a file with two", "mkdir a; echo 1 > f; ln f g", "ln g a/h; chmod 600 f"),
    row(
        "names change hands",
        "echo 1 > f; ln f g; echo 2 > h; ln h i",
        "ln -f h f; echo 3 > i; ln -f g h",
    ),
    row("link with two names", "ln -s x f; ln f g", "touch -h -d @77 g; mv f h"),
    row("pipe with two names", "mkfifo f; ln f g", "chmod 600 g"),
    row("device with two names", "mknod f c 1 3; ln f g", "chmod 600 g; mknod n b 7 200"),
    row("only opened for writing", "mkdir a; echo 1 > a/f; touch -d @99 a/f a", ": >> a/f"),
    row(
        "directory attributes",
        "mkdir -p a/b; setfattr -n user.old -v 1 a/b; touch -d @99 a/b a",
        "chmod 2751 a/b; chown 5:6 a/b; setfattr -x user.old a/b; setfattr -n user.new -v 2 a/b",
    ),
    row(
        "times of directories",
        "mkdir -p a/b c; touch -d @99 a/b a c",
        "echo 1 > c/f; touch -d @55 c a",
    ),
    row(
        "set-user-id and capability",
        "cp /bin/true f; cp /bin/true g",
        "chmod 4755 f; setcap cap_net_raw=ep g",
    ),
    row("the top itself", "true", "chmod 751 .; setfattr -n user.top -v 1 .; touch -d @66 ."),
    row("the top itself again", "true", "chmod 755 .; setfattr -x user.top .; chown 1:1 ."),
    row(
        "names of all bytes",
        "mkdir a; echo 1 > \"a/$(printf '\\001\\n :,=')\"",
        "mv a \"b$(printf '\\n:,\\\\')\"; d=$(echo b*); echo 2 > \"$d\"/new",
    ),
    row(
        "wide",
        "mkdir a; for i in $(seq 300); do mkdir a/$i; echo 1 > a/$i/f; done",
        "for i in $(seq 1 2 300); do echo 2 > a/$i/f; mv a/$i a/m$i; done; rm -r a/20*",
    ),
    row(
        "deep",
        "mkdir a; (cd a; for i in $(seq 150); do mkdir dddddddddddddddddddd; cd dddddddddddddddddddd; done; echo 1 > f)",
        "mv a b; (cd b; while cd dddddddddddddddddddd 2> /dev/null; do :; done; echo 2 > f; mkdir n; echo 3 > n/g)",
    ),
    row(
        "made and removed",
        "mkdir a; touch -d @99 a",
        "echo 1 > a/f; mkdir -p a/d/e; rm -r a/f a/d; touch -d @99 a",
    ),
];

fn sh(directory: &Path, script: &str) {
    let status = Command::new("sh")
        .args(["-e", "-c", script])
        .current_dir(directory)
        .status()
        .expect("there is a shell");
    assert!(status.success(), "{script}");
}

fn check(file_system: FileSystem) {
    let mut trial = match Trial::new(file_system, Way::new(TrackerKind::Overlay)) {
        Ok(trial) => trial,
        Err(lacking) => return skip(format_args!("overlay on {file_system:?}"), lacking),
    };
    for (number, row) in ROWS.iter().enumerate() {
        let (name, directory) = (row.name, format!("row{number}"));
        let enter = |root: &Path| match name.starts_with("the top") {
            true => root.to_owned(),
            false => root.join(&directory),
        };
        trial
            .step_by(|root| {
                std::fs::create_dir(root.join(&directory)).expect("a directory");
                sh(&enter(root), row.before);
            })
            .unwrap_or_else(|error| panic!("before {name} on {file_system:?}: {error}"));
        trial
            .step_by(|root| sh(&enter(root), row.step))
            .unwrap_or_else(|error| panic!("{name} on {file_system:?}: {error}"));
    }
}

#[test]
fn what_a_step_saw_is_what_stays_on_ext4() {
    check(FileSystem::Ext4);
}

#[test]
fn what_a_step_saw_is_what_stays_on_xfs() {
    check(FileSystem::Xfs);
}

#[test]
fn what_a_step_saw_is_what_stays_on_btrfs() {
    check(FileSystem::Btrfs);
}

#[test]
fn what_a_step_saw_is_what_stays_on_tmpfs() {
    check(FileSystem::Tmpfs);
}

#[test]
fn what_a_step_saw_is_what_stays_here() {
    check(FileSystem::Here);
}
