//! Each operation by itself, under every tracker: nothing of what one did is missed because another
//! happened to be seen.

use snapshot::track::TrackerKind;

use super::ground::FileSystem;
use super::trial::{Trial, Way};
use super::writer::Operation;

use crate::skip::skip;

/// What is tried: what is there before the step, and what the step does. One operation a line, its
/// arguments after it, in a directory of its own.
pub struct Row {
    pub name: &'static str,
    before: &'static str,
    step: &'static str,
}

const fn row(name: &'static str, before: &'static str, step: &'static str) -> Row {
    Row { name, before, step }
}

const FILE: &str = "write f";
const LINKED: &str = "write f, mkdir d, link f d/l";
const DIRECTORY: &str = "mkdir d, write d/f, mkdir d/e, write d/e/g";

pub const ROWS: &[Row] = &[
    row("write and truncate", FILE, "write f"),
    row("write in place", FILE, "overwrite f"),
    row("append", FILE, "append f"),
    row("open with O_TRUNC", FILE, "open_truncate f"),
    row("ftruncate to less", FILE, "shrink f"),
    row("ftruncate to more", FILE, "grow f"),
    row("truncate by path", FILE, "truncate_by_path f"),
    row("fallocate", FILE, "allocate f"),
    row("punch a hole", FILE, "punch f"),
    row("copy_file_range", FILE, "copy_range f"),
    row("sendfile", FILE, "send_file f"),
    row("splice", FILE, "splice f"),
    row("reflink", FILE, "clone f"),
    row("io_uring", FILE, "uring_write f"),
    row("io_uring with a registered file", FILE, "uring_write_fixed f"),
    row("io_uring, then SIGKILL", FILE, "uring_write_and_be_killed f"),
    row("io_uring, mapped write, then SIGKILL", FILE, "uring_map_write_and_be_killed f"),
    row("asynchronous write", FILE, "aio_write f"),
    row("asynchronous write, descriptor in flight", FILE, "aio_write_in_flight f"),
    row("mapped write", FILE, "map_write f"),
    row("mapped write after close", FILE, "map_write_after_close f"),
    row("mapped write, then exit", FILE, "map_write_and_exit f"),
    row("mapped write, then SIGKILL", FILE, "map_write_and_be_killed f"),
    row("mapped write after a read fault", FILE, "map_read_then_write f"),
    row("mapped write after msync", FILE, "map_write_twice f"),
    row("write, then SIGKILL", FILE, "write_and_be_killed f"),
    row("descriptor of before the step", "write f, hold f k", "write_held k"),
    row("the same, closed", "write f, hold f k", "write_held k, release_held k"),
    row("descriptor in flight", FILE, "write_in_flight f"),
    row("mapped write, descriptor in flight", FILE, "map_write_in_flight f"),
    row("chmod of a file", FILE, "chmod f"),
    row("chmod of a directory", DIRECTORY, "chmod d"),
    row("chown of a file", FILE, "chown f"),
    row("chown of a link", "symlink s", "chown s"),
    row("chown of a directory", DIRECTORY, "chown d"),
    row("utimensat of a file", FILE, "set_times f"),
    row("utimensat of a link", "symlink s", "set_times s"),
    row("utimensat of a directory", DIRECTORY, "set_times d"),
    row("setxattr of a file", FILE, "set_xattr f"),
    row("setxattr of a directory", DIRECTORY, "set_xattr d"),
    row("setxattr, replaced", "write f, set_xattr f", "set_xattr f"),
    row("removexattr", "write f, set_xattr f", "remove_xattr f"),
    row("setxattr, mtime restored", FILE, "set_xattr_keeping_mtime f"),
    row("access control list", FILE, "set_acl f"),
    row("capability", FILE, "set_capability f"),
    row("capability of a linked file", LINKED, "set_capability d/l"),
    row("write, mtime restored", FILE, "overwrite_keeping_mtime f"),
    row("mapped write, mtime restored", FILE, "map_write_keeping_mtime f"),
    row("rename over, all else alike", FILE, "rename_over_alike f"),
    row("exchange, all else alike", "write f, write g", "exchange_alike f g"),
    row("new name", FILE, "link f g"),
    row("new name by descriptor", FILE, "link_by_descriptor f g"),
    row("one name less", LINKED, "unlink d/l"),
    row("another name more", LINKED, "link f g"),
    row("write through another name", LINKED, "overwrite d/l"),
    row("append through the first name", LINKED, "append f"),
    row("chmod through another name", LINKED, "chmod d/l"),
    row("write through a passing name", FILE, "alias_write f z"),
    row("the same in a new directory", FILE, "alias_write_in_new_directory f z"),
    row("the same outside", FILE, "alias_write_outside f"),
    row("chmod through a name outside", FILE, "alias_chmod_outside f"),
    row("write to a name outside", "write f, link_outside f o", "write_outside o"),
    row("one of two names replaced", LINKED, "rename_new_over f"),
    row("names of a link group moved", LINKED, "rename d e"),
    row("rename", FILE, "rename f g"),
    row("rename over", "write f, write g", "rename f g"),
    row("rename over of another name", "write f, write g, link f h", "rename g f"),
    row("rename into a directory", "write f, mkdir d", "rename f d/g"),
    row("rename of a directory", DIRECTORY, "rename d e"),
    row("rename of a directory, write inside", DIRECTORY, "rename_then_write_inside d e"),
    row("rename of a directory into another", "mkdir d, mkdirs e", "rename e d/e"),
    row("rename away and back", DIRECTORY, "rename_away_and_back d"),
    row("exchange of files", "write f, write g", "exchange f g"),
    row("exchange of file and directory", "write f, mkdirs d", "exchange f d"),
    row("exchange of directories", "mkdirs d, mkdirs e", "exchange d e, append d/file"),
    row("open, rename, write", FILE, "open_rename_write f g"),
    row("write to a temporary file, rename", FILE, "rename_new_over f"),
    row("move out", DIRECTORY, "move_out d o"),
    row("move in", "mkdirs d, move_out d o", "move_in o e, append e/deep/er/file"),
    row("move out, write, move in", DIRECTORY, "move_out_write_in d"),
    row("nameless for a while", FILE, "unlink_write_link f"),
    row("unlink", FILE, "unlink f"),
    row("rmdir", "mkdir d", "rmdir d"),
    row("remove a tree", DIRECTORY, "remove_tree d"),
    row("unlink and make again", FILE, "recreate f"),
    row("remove a tree and make again", DIRECTORY, "recreate_directory d"),
    row("a file becomes a directory", FILE, "unlink f, mkdirs f"),
    row("a directory becomes a file", DIRECTORY, "remove_tree d, write d"),
    row("a directory becomes a link", DIRECTORY, "remove_tree d, symlink d"),
    row("mkdir", "", "mkdir d"),
    row("mkdir and write below", "", "mkdirs d"),
    row("mkdir and write below, then more", "", "mkdirs d, append d/deep/er/file, mkdirs d/deep/x"),
    row("device node", "", "mknod n"),
    row("named pipe", "", "mkfifo p"),
    row("socket", "", "bind_socket s"),
    row("link", "", "symlink s"),
    row("link, replaced", "symlink s", "replace_symlink s"),
    row("O_TMPFILE and linkat, then write", "", "nameless_then_link f"),
    row("reopen through /proc", FILE, "write_by_proc f"),
    row("write in a chroot", FILE, "write_in_chroot f"),
    row("write through a bind mount", FILE, "write_in_bind_mount f"),
    row("open without writing", FILE, "open_only f"),
    row("read", FILE, "read_only f"),
    row("inode flags", FILE, "set_flags f"),
    row("many files", "", "churn d"),
    row("many files in vain", "", "churn_and_remove d"),
    row("a process that stays behind", FILE, "daemon f"),
    row("two links, one file each", "write f, write g, link f h", "unlink h, link g h"),
];

/// Words that name no file in the row's directory.
const NO_PATHS: [&str; 2] = ["k", "o"];

/// The operations of a row, in a directory of that row.
fn operations(script: &str, directory: &str) -> Vec<Operation> {
    script
        .split(", ")
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let name = words.next().expect("an operation");
            let argument = |word: String| {
                // Each row has its own names there too.
                let number = directory.trim_start_matches("row");
                if NO_PATHS.contains(&word.as_str()) {
                    format!("{word}{number}")
                } else {
                    format!("{directory}/{word}")
                }
            };
            Operation(std::iter::once(name).chain(words.map(argument)).collect())
        })
        .collect()
}

/// What the kernel says of a rename or link out of an overlay: a step cannot get there.
const BEYOND: &str = "EXDEV";

/// Rows that need a process which lives for two steps; no step on an overlay has one.
const OF_ONE_PROCESS: [&str; 2] = ["descriptor of before the step", "the same, closed"];

/// Runs all rows, each in two steps; returns the names of those that this machine refused.
pub fn run(trial: &mut Trial) -> Vec<(&'static str, String)> {
    let mut refused = Vec::new();
    for (number, row) in ROWS.iter().enumerate() {
        let directory = format!("row{number}");
        let make = Operation::new(["mkdir", &directory]);
        let mut before = vec![make];
        before.extend(operations(row.before, &directory));
        let prepared =
            trial.step(&[before]).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        let answers = prepared.answers.concat();
        if trial.way().kind == TrackerKind::Overlay && answers.contains(&BEYOND.to_owned()) {
            continue;
        }
        if let Some(answer) = answers.into_iter().find(|answer| answer != "ok") {
            refused.push((row.name, answer));
            continue;
        }
        match trial.step(&[operations(row.step, &directory)]) {
            Ok(outcome) => {
                let answers = outcome.answers.concat();
                let bad = answers
                    .into_iter()
                    .find(|answer| answer != "ok" && !answer.starts_with("daemon "));
                refused.extend(bad.map(|answer| (row.name, answer)));
            }
            Err(error) => panic!("{:?}: {}: {error}", trial.way(), row.name),
        }
    }
    refused
}

/// Whether only later kernels than this one can do a row on a file system, under a tracker.
fn is_later(file_system: FileSystem, kind: TrackerKind, row: &str) -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let kernel = (numbers.next().expect("a version"), numbers.next().expect("a version"));
    let is_on_overlay = kind == TrackerKind::Overlay
        || matches!(file_system, FileSystem::OverlayOnExt4 | FileSystem::OverlayOnTmpfs);
    if is_on_overlay && row.starts_with("O_TMPFILE") {
        return kernel < (6, 3);
    }
    // The overlay of a step is attached nowhere here, as it is to a command's own mounts, and from such
    // a mount others are made since Linux 6.15.
    if kind == TrackerKind::Overlay && row == "write through a bind mount" {
        return kernel < (6, 15);
    }
    match file_system {
        FileSystem::Tmpfs if row.contains("xattr") => kernel < (6, 6),
        FileSystem::OverlayOnTmpfs if row.contains("xattr") => kernel < (6, 6),
        _ => false,
    }
}

fn check(file_system: FileSystem, kinds: &[TrackerKind], may_refuse: &[&str]) {
    for &kind in kinds {
        let mut trial = match Trial::new(file_system, Way::new(kind)) {
            Ok(trial) => trial,
            Err(lacking) => {
                skip(format_args!("{kind} on {file_system:?}"), lacking);
                continue;
            }
        };
        let mut refused = run(&mut trial);
        refused
            .retain(|(name, _)| !may_refuse.contains(name) && !is_later(file_system, kind, name));
        if kind == TrackerKind::Overlay {
            refused.retain(|(name, answer)| answer != BEYOND && !OF_ONE_PROCESS.contains(name));
        }
        if rustix::process::geteuid().is_root() {
            assert_eq!(refused, [], "{kind} on {file_system:?}");
        }
        trial.assert_not_given_up();
    }
}

const WITHOUT_PRIVILEGE: [TrackerKind; 3] =
    [TrackerKind::Inotify, TrackerKind::Walk, TrackerKind::Content];
const KINDS: [TrackerKind; 4] =
    [TrackerKind::Inotify, TrackerKind::Fanotify, TrackerKind::Walk, TrackerKind::Content];

#[test]
fn every_operation_on_ext4() {
    check(FileSystem::Ext4, &KINDS, &["reflink"]);
}

#[test]
fn every_operation_of_a_step_on_an_overlay() {
    check(FileSystem::Ext4, &[TrackerKind::Overlay], &["reflink"]);
}

#[test]
fn every_operation_on_xfs() {
    check(FileSystem::Xfs, &KINDS, &[]);
}

#[test]
fn every_operation_on_btrfs() {
    check(FileSystem::Btrfs, &KINDS, &[]);
}

#[test]
fn every_operation_on_tmpfs() {
    check(FileSystem::Tmpfs, &KINDS, &["reflink"]);
}

#[test]
fn every_operation_on_an_overlay() {
    // A directory of a lower layer cannot be renamed there; it is, these are in the upper one.
    check(FileSystem::OverlayOnExt4, &WITHOUT_PRIVILEGE, &["reflink"]);
    check(FileSystem::OverlayOnTmpfs, &WITHOUT_PRIVILEGE, &["reflink"]);
}

#[test]
fn every_operation_here() {
    check(FileSystem::Here, &KINDS, &["reflink"]);
}
