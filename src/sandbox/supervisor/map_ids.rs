//! Writes the id maps of a user namespace from outside, through the set-user-id programs that
//! know which subordinate ids belong to whom.

use std::io::Write;
use std::process::{Command, Stdio};

use super::During;
use crate::sandbox::wire::{IdMaps, IdRange, MapWay, Reply, SetupAction, SetupFailure};

/// Where distributions put them; the environment of a supervisor has no `PATH`.
const DIRECTORIES: [&str; 5] =
    ["/usr/bin", "/usr/sbin", "/bin", "/usr/local/bin", "/run/wrappers/bin"];

/// Maps the ids of a process that has just entered a user namespace.
pub(super) fn run(maps: &IdMaps) -> Reply {
    let both = [("newuidmap", "uid_map", &maps.uids), ("newgidmap", "gid_map", &maps.gids)];
    for (program, file, ranges) in both {
        let mapped = match maps.way {
            MapWay::Direct => write(file, maps.pid, ranges),
            MapWay::Programs => map(program, maps.pid, ranges),
        };
        if let Err(failure) = mapped {
            return failure.into();
        }
    }
    Reply::Works
}

fn write(file: &str, pid: u32, ranges: &[IdRange]) -> Result<(), SetupFailure> {
    let path = format!("/proc/{pid}/{file}");
    let text: String = ranges
        .iter()
        .map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count))
        .collect();
    // The kernel takes a map as one write or not at all.
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .during(|| SetupAction::MapIds(path))
}

fn map(program: &str, pid: u32, ranges: &[IdRange]) -> Result<(), SetupFailure> {
    let failed = |errno| SetupFailure { action: SetupAction::MapIds(program.to_owned()), errno };
    let path = DIRECTORIES
        .iter()
        .map(|directory| format!("{directory}/{program}"))
        .find(|path| std::fs::metadata(path).is_ok())
        .ok_or(SetupFailure {
            action: SetupAction::FindMapper(program.to_owned()),
            errno: nix::errno::Errno::ENOENT as i32,
        })?;
    let numbers = ranges.iter().flat_map(|range| [range.inside, range.outside, range.count]);
    // What it has to say goes where the output of a step does.
    let status = Command::new(path)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .env_clear()
        .stdin(Stdio::null())
        .status()
        .map_err(|error| failed(error.raw_os_error().unwrap_or(0)))?;
    if status.success() { Ok(()) } else { Err(failed(nix::errno::Errno::EPERM as i32)) }
}
