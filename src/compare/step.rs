//! What the RUNs of the scenarios do, inside their sandbox, by this program itself: so that no
//! image with tools is needed.

mod adversarial;
mod meter;

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub(super) use adversarial::{Member, base as adversarial_base};
pub(super) use meter::read_cost;

use super::base::{self, TREE, file_path};
use super::error::CompareError;
use super::scenario::Scenario;

/// How a line begins that says what could not be done.
pub(super) const SKIPPED: &str = "skipped: ";

const MANY_FILES: u64 = 45_000;
const CREATED_FILES: u64 = 100_000;
const PACKAGES: u64 = 600;
const FILES_A_PACKAGE: u64 = 15;

/// Does a step of a scenario to the tree in `root`, and returns lines to print: what could not be
/// done here, or what it took.
///
/// # Errors
/// A step that does not exist, or one that a later one builds on and that failed.
pub fn perform(step: &str, root: &Path) -> Result<String, CompareError> {
    let (name, number) = step.split_once(':').unwrap_or((step, ""));
    let act: &dyn Fn() -> io::Result<u64> = match name {
        "no-op" => return Ok(String::new()),
        "small" => &|| {
            let path = root.join("srv/small");
            fs::create_dir_all(&path)?;
            fs::write(path.join(number), number).map(|()| 1)
        },
        "many-files" => &|| many_files(&root.join("srv/new")),
        "npm-install" => &|| npm(&root.join("srv/node_modules"), Npm::Install),
        "npm-update" => &|| npm(&root.join("srv/node_modules"), Npm::Update),
        "delete" => &|| delete(&root.join(TREE)),
        "create" => &|| create(&root.join(TREE)),
        "open" => &|| open(&root.join(TREE)),
        "adversarial" => return Ok(adversarial::perform(root)),
        _ => return Err(CompareError::UnknownStep(step.to_owned())),
    };
    meter::measured(act).map_err(CompareError::at("change", root))
}

fn many_files(directory: &Path) -> io::Result<u64> {
    for number in 0..MANY_FILES {
        let folder = directory.join((number / 100).to_string());
        if number % 100 == 0 {
            fs::create_dir_all(&folder)?;
        }
        fs::write(folder.join(number.to_string()), content(number, 2048))?;
    }
    Ok(MANY_FILES)
}

/// Makes files in directories of the base: where a tracker watches, and is told of each by name.
fn create(tree: &Path) -> io::Result<u64> {
    let directories = directories(tree, Scenario::Create100k.file_count());
    let bytes = content(1, 1024);
    let count = u64::try_from(directories.len()).unwrap_or(1).max(1);
    for number in 0..CREATED_FILES.div_ceil(count) {
        for directory in &directories {
            fs::write(directory.join(format!("new{number}")), &bytes)?;
        }
    }
    Ok(CREATED_FILES.div_ceil(count) * count)
}

/// Returns the directories that the files of a base are in.
fn directories(tree: &Path, file_count: u64) -> Vec<PathBuf> {
    let files = (0..file_count).map(|number| tree.join(file_path(number)));
    let mut directories: Vec<PathBuf> =
        files.filter_map(|file| file.parent().map(Path::to_owned)).collect();
    directories.dedup();
    directories
}

fn open(tree: &Path) -> io::Result<u64> {
    let count = Scenario::Open100k.file_count();
    let mut buffer = [0; 4096];
    for number in 0..count {
        // The length does not matter; that it was read does.
        let _ = File::open(tree.join(file_path(number)))?.read(&mut buffer)?;
    }
    Ok(count)
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

fn npm(modules: &Path, what: Npm) -> io::Result<u64> {
    let mut count = 0;
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
            count += 1;
        }
    }
    Ok(count)
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

fn delete(tree: &Path) -> io::Result<u64> {
    let count = Scenario::DeleteHeavy.file_count();
    let mut removed = 0;
    let mut tops: Vec<PathBuf> = Vec::new();
    for item in fs::read_dir(tree)? {
        tops.push(item?.path());
    }
    tops.sort();
    // Four whole directories of ten, and every second file of the others.
    for (_, top) in tops.iter().enumerate().filter(|(index, _)| index % 5 < 2) {
        fs::remove_dir_all(top)?;
        removed += base::FILES_A_TOP;
    }
    for number in (0..count).step_by(2) {
        match fs::remove_file(tree.join(file_path(number))) {
            Ok(()) => removed += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}
