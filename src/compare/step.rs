//! What the RUNs of the scenarios do, inside their sandbox, by this program itself: so that no
//! image with tools is needed.

mod adversarial;

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub(super) use adversarial::{Member, base as adversarial_base};

use super::base::{TREE, file_path};
use super::error::CompareError;
use super::scenario::Scenario;

/// How a line begins that says what could not be done.
pub(super) const SKIPPED: &str = "skipped: ";

const MANY_FILES: u64 = 45_000;
const PACKAGES: u64 = 600;
const FILES_A_PACKAGE: u64 = 15;

/// Does a step of a scenario to the tree in `root`, and returns lines to print: what could not be
/// done here.
///
/// # Errors
/// A step that does not exist, or one that a later one builds on and that failed.
pub fn perform(step: &str, root: &Path) -> Result<String, CompareError> {
    let at = |result: io::Result<()>| result.map_err(CompareError::at("change", root));
    let (name, number) = step.split_once(':').unwrap_or((step, ""));
    match name {
        "no-op" => {}
        "small" => {
            let path = root.join("srv/small");
            at(fs::create_dir_all(&path).and_then(|()| fs::write(path.join(number), number)))?;
        }
        "many-files" => at(many_files(&root.join("srv/new")))?,
        "npm-install" => at(npm(&root.join("srv/node_modules"), Npm::Install))?,
        "npm-update" => at(npm(&root.join("srv/node_modules"), Npm::Update))?,
        "delete" => at(delete(&root.join(TREE)))?,
        "adversarial" => return Ok(adversarial::perform(root)),
        _ => return Err(CompareError::UnknownStep(step.to_owned())),
    }
    Ok(String::new())
}

fn many_files(directory: &Path) -> io::Result<()> {
    for number in 0..MANY_FILES {
        let folder = directory.join((number / 100).to_string());
        if number % 100 == 0 {
            fs::create_dir_all(&folder)?;
        }
        fs::write(folder.join(number.to_string()), content(number, 2048))?;
    }
    Ok(())
}

/// Returns text that compresses about as source code does.
pub(super) fn content(number: u64, length: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = Vec::with_capacity(length + 32);
    while text.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let word = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
        text.extend_from_slice(format!("    let value_{word} = {number};\n").as_bytes());
    }
    text.truncate(length);
    text
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Npm {
    Install,
    Update,
}

fn npm(modules: &Path, what: Npm) -> io::Result<()> {
    for package in 0..PACKAGES {
        let directory = modules.join(format!("package-{package}"));
        if what == Npm::Update {
            if package % 3 != 0 {
                continue;
            }
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(directory.join("lib"))?;
        for file in 0..FILES_A_PACKAGE {
            let number = package * FILES_A_PACKAGE + file + if what == Npm::Update { 7 } else { 0 };
            write_as_npm(&directory.join("lib").join(format!("{file}.js")), number)?;
        }
    }
    Ok(())
}

fn write_as_npm(path: &Path, number: u64) -> io::Result<()> {
    let temporary = path.with_extension("js.tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(&content(number, 2048))?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    fchown(&file, Some(0), Some(0))?;
    drop(file);
    fs::rename(&temporary, path)?;
    // npm gives every file of a package the same time, in 1985.
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(499_162_500);
    File::options().write(true).open(path)?.set_modified(time)
}

fn delete(tree: &Path) -> io::Result<()> {
    let count = Scenario::DeleteHeavy.file_count();
    let mut tops: Vec<PathBuf> = Vec::new();
    for item in fs::read_dir(tree)? {
        tops.push(item?.path());
    }
    tops.sort();
    // Four whole directories of ten, and every second file of the others.
    for (_, top) in tops.iter().enumerate().filter(|(index, _)| index % 5 < 2) {
        fs::remove_dir_all(top)?;
    }
    for number in (0..count).step_by(2) {
        match fs::remove_file(tree.join(file_path(number))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
