//! Every ordered pair of operations, on one file, on one directory, and on two names of one inode.
//!
//! Each pair has a directory of its own, so that all of them are one step.

use snapshot::track::TrackerKind;

use super::ground::FileSystem;
use super::trial::{Trial, Way};
use super::writer::Operation;

use crate::skip::skip;

/// On the file `f`; a second name, where one is needed, is `g`.
const ON_A_FILE: &[&str] = &[
    "write f",
    "overwrite f",
    "append f",
    "open_truncate f",
    "truncate_by_path f",
    "allocate f",
    "copy_range f",
    "map_write_after_close f",
    "map_read_then_write f",
    "overwrite_keeping_mtime f",
    "chmod f",
    "chown f",
    "set_times f",
    "set_xattr f",
    "remove_xattr f",
    "set_capability f",
    "open_only f",
    "unlink f",
    "recreate f",
    "make f",
    "mkdir f",
    "symlink f",
    "mkfifo f",
    "nameless_then_link f",
    "link f g",
    "rename f g",
    "rename g f",
    "exchange f g",
    "rename_over_alike f",
    "rename_new_over f",
    "rename_away_and_back f",
    "open_rename_write f g",
    "unlink_write_link f",
    "alias_write f g",
    "alias_write_in_new_directory f g",
    "alias_write_outside f",
    "move_out_write_in f",
    "write_by_proc f",
    "remove_tree f",
    "unlink g",
];

/// On the directory `d`, which holds `d/f` and `d/e/g`.
const ON_A_DIRECTORY: &[&str] = &[
    "chmod d",
    "chown d",
    "set_times d",
    "set_xattr d",
    "write d/f",
    "write d/new",
    "unlink d/f",
    "append d/e/g",
    "remove_tree d/e",
    "mkdirs d/e2",
    "rename d d2",
    "rename d2 d",
    "rename_then_write_inside d d2",
    "rename_then_write_inside d2 d",
    "rename_away_and_back d",
    "exchange d other",
    "rename d other/d",
    "rename other/d d",
    "remove_tree d",
    "mkdir d",
    "mkdirs d",
    "recreate_directory d",
    "move_out_write_in d",
    "write d",
    "symlink d",
    "rename d/e e",
    "rename e d/e",
    "rename d/f g",
    "rename g d/f",
    "link d/f g",
    "rmdir d",
    "churn_and_remove d/x",
];

/// On `f` and `d/l`, which are names of one file.
const ON_TWO_NAMES: &[&str] = &[
    "overwrite f",
    "overwrite d/l",
    "append f",
    "append d/l",
    "chmod f",
    "chmod d/l",
    "overwrite_keeping_mtime f",
    "overwrite_keeping_mtime d/l",
    "map_read_then_write f",
    "map_read_then_write d/l",
    "set_xattr d/l",
    "set_capability f",
    "unlink f",
    "unlink d/l",
    "recreate f",
    "recreate d/l",
    "rename_new_over f",
    "rename_new_over d/l",
    "rename_over_alike f",
    "rename_over_alike d/l",
    "rename f d/l",
    "rename d/l f",
    "rename f g",
    "rename g f",
    "rename d d2",
    "rename d2 d",
    "link f d/l",
    "link d/l f",
    "link f g",
    "link d/l g",
    "exchange f d/l",
    "exchange f g",
    "alias_write f g",
    "alias_write_outside d/l",
    "unlink_write_link f",
    "remove_tree d",
    "mkdir d",
    "open_rename_write f d/l",
    "truncate_by_path d/l",
];

/// What is there before, on what, and the operations.
const GROUPS: [(&str, &[&str]); 3] = [
    ("write f", ON_A_FILE),
    ("mkdir d, write d/f, mkdir d/e, write d/e/g, mkdir other, write other/h", ON_A_DIRECTORY),
    ("write f, mkdir d, link f d/l", ON_TWO_NAMES),
];

fn in_directory(directory: &str, script: &str) -> Vec<Operation> {
    let operation = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let name = words.next().expect("an operation");
        let arguments = words.map(|word| format!("{directory}/{word}"));
        Operation(std::iter::once(name).chain(arguments).collect())
    };
    script.split(", ").map(operation).collect()
}

/// Returns what prepares all pairs, and what does them.
pub fn steps() -> (Vec<Operation>, Vec<Operation>) {
    let mut before = Vec::new();
    let mut pairs = Vec::new();
    for (group, (prepare, operations)) in GROUPS.iter().enumerate() {
        for (i, first) in operations.iter().enumerate() {
            for (j, second) in operations.iter().enumerate() {
                let directory = format!("p{group}-{i}-{j}");
                before.push(Operation::new(["mkdir", &directory]));
                before.extend(in_directory(&directory, prepare));
                pairs.extend(in_directory(&directory, first));
                pairs.extend(in_directory(&directory, second));
            }
        }
    }
    (before, pairs)
}

fn check(file_system: FileSystem, kind: TrackerKind) {
    let mut trial = match Trial::new(file_system, Way::new(kind)) {
        Ok(trial) => trial,
        Err(lacking) => return skip(format_args!("{kind} on {file_system:?}"), lacking),
    };
    let (before, pairs) = steps();
    trial.step(&[before]).unwrap_or_else(|error| panic!("{kind} on {file_system:?}: {error}"));
    let outcome = trial.step(&[pairs]);
    let outcome = outcome.unwrap_or_else(|error| panic!("{kind} on {file_system:?}: {error}"));
    trial.assert_not_given_up();
    // An operation that is refused because the one before it took its file away is no loss; that all
    // of them are would be.
    let answers = outcome.answers.concat();
    let done = answers.iter().filter(|answer| *answer == "ok").count();
    // What leads out of an overlay was not refused for want of a file.
    let beyond = answers.iter().filter(|answer| *answer == "EXDEV").count();
    let count = answers.len() - beyond;
    assert!(done * 10 > count * 7, "{done} of {count} operations");
}

#[test]
fn every_pair_under_inotify() {
    for file_system in [FileSystem::Here, FileSystem::Tmpfs, FileSystem::OverlayOnTmpfs] {
        check(file_system, TrackerKind::Inotify);
    }
}

#[test]
fn every_pair_under_fanotify() {
    for file_system in [FileSystem::Here, FileSystem::Tmpfs] {
        check(file_system, TrackerKind::Fanotify);
    }
}

#[test]
fn every_pair_on_an_overlay() {
    for file_system in [FileSystem::Here, FileSystem::Tmpfs, FileSystem::Xfs] {
        check(file_system, TrackerKind::Overlay);
    }
}

#[test]
fn every_pair_under_the_walk() {
    for file_system in [FileSystem::Here, FileSystem::Tmpfs, FileSystem::OverlayOnTmpfs] {
        check(file_system, TrackerKind::Walk);
    }
}
