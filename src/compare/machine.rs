//! What the figures were taken on.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// The machine, as far as it matters to figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cpus: u64,
    /// The processor's name.
    pub cpu_model: String,
    /// Memory of the machine, in bytes.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The file system that the builds wrote to.
    pub file_system: String,
    /// Load of the last minute when the comparison began.
    pub load_average: f64,
    /// Version of this program.
    pub program: String,
    /// `release`, or `debug`, whose figures mean nothing.
    pub build: String,
    /// When the comparison began, RFC 3339.
    pub date: String,
    /// Where peaks of memory come from.
    pub memory_source: String,
}

impl Machine {
    /// Asks the machine; what cannot be learned is `unknown` or 0.
    pub(super) fn describe(directory: &Path, memory_source: &str) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let unknown = || "unknown".to_owned();
        let value = |text: &str, key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            let found = lines.find(|(name, _)| name.trim() == key);
            found.map(|(_, value)| value.trim().to_owned())
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal");
        let kibibytes = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let load = read("/proc/loadavg");
        Self {
            cpus: std::thread::available_parallelism().map_or(0, |count| count.get() as u64),
            cpu_model: value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
            memory_bytes: kibibytes.unwrap_or_default() * 1024,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            file_system: file_system(&read("/proc/self/mountinfo"), directory)
                .unwrap_or_else(unknown),
            load_average: load.split(' ').next().and_then(|t| t.parse().ok()).unwrap_or_default(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            date: super::report::whole_seconds(jiff::Timestamp::now()),
            memory_source: memory_source.to_owned(),
        }
    }
}

/// Returns the type of the file system that a directory is on: of the last mount over it.
fn file_system(mountinfo: &str, directory: &Path) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        Some((Path::new(left.split(' ').nth(4)?), right.split(' ').next()?))
    });
    let over = mounts.filter(|(point, _)| directory.starts_with(point));
    over.max_by_key(|(point, _)| point.components().count()).map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_says_what_a_directory_is_on() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                      30 22 0:26 / /dev/shm rw shared:1 - tmpfs tmpfs rw\n";
        let of = |path: &str| file_system(mounts, Path::new(path));
        assert_eq!(of("/dev/shm/a"), Some("tmpfs".to_owned()));
        assert_eq!(of("/dev/shmem"), Some("ext4".to_owned()));
    }
}
