//! What the kernel says of this container without being asked to do anything.

use std::fs;
use std::path::{Path, PathBuf};

use crate::build::options::ExecutionOptions;
use crate::sandbox::{GroupLimits, Mount, Sign, mount_over, mounts, signs};

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) process: Process,
    /// The ids of this process' user namespace are the machine's own.
    pub(super) has_machine_ids: bool,
    /// The profile of the security module, such as `cri-containerd.apparmor.d (enforce)`.
    pub(super) profile: Option<String>,
    pub(super) kernel: Kernel,
    pub(super) signs: Vec<Sign>,
    pub(super) limits: GroupLimits,
    pub(super) inotify: Inotify,
    pub(super) mounts: Vec<Mount>,
    pub(super) work: WorkDirectory,
    /// Directories of the program, which no build touches.
    pub(super) kept: Vec<PathBuf>,
}

/// What `/proc/self/status` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) uid: u32,
    /// Bits, in the order of the kernel's numbers.
    pub(super) effective: u64,
    /// 0: none, 1: strict, 2: a filter; `None` where the kernel does not know it.
    pub(super) seccomp: Option<u32>,
    pub(super) no_new_privileges: bool,
}

/// What `uname` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kernel {
    pub(super) release: String,
    pub(super) version: String,
}

/// The node's limits of watches, and what processes that can be seen from here have of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inotify {
    pub(super) max_user_watches: Option<u64>,
    pub(super) max_user_instances: Option<u64>,
    pub(super) max_queued_events: Option<u64>,
    pub(super) watches_seen: u64,
    pub(super) instances_seen: u64,
}

/// The work directory, or the nearest one above it that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WorkDirectory {
    pub(super) path: PathBuf,
    pub(super) file_system: Option<String>,
    pub(super) free_bytes: Option<u64>,
    /// `None` also where the file system does not count them.
    pub(super) free_inodes: Option<u64>,
}

impl Facts {
    pub(super) fn read(execution: &ExecutionOptions) -> Self {
        let mounts = mounts();
        Self {
            process: Process::parse(&text("/proc/self/status")),
            has_machine_ids: is_whole(&text("/proc/self/uid_map")),
            profile: profile(),
            kernel: Kernel::here(),
            signs: signs(execution.surroundings),
            limits: GroupLimits::here(),
            inotify: Inotify::here(),
            work: WorkDirectory::at(&execution.work_directory, &mounts),
            mounts,
            kept: execution.kept_directories.clone(),
        }
    }

    /// Returns the mount that the root is.
    pub(super) fn root(&self) -> Option<&Mount> {
        mount_over(&self.mounts, Path::new("/"))
    }
}

/// Reads a file of the kernel's; empty where it cannot be read.
fn text(path: &str) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn number(path: &str) -> Option<u64> {
    text(path).trim().parse().ok()
}

impl Process {
    pub(super) fn parse(status: &str) -> Self {
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            value.split_ascii_whitespace().nth(usize::from(name == "Uid:"))
        };
        Self {
            uid: field("Uid:").and_then(|value| value.parse().ok()).unwrap_or(u32::MAX),
            effective: field("CapEff:")
                .and_then(|value| u64::from_str_radix(value, 16).ok())
                .unwrap_or_default(),
            seccomp: field("Seccomp:").and_then(|value| value.parse().ok()),
            no_new_privileges: field("NoNewPrivs:") == Some("1"),
        }
    }
}

/// Tells whether a map of ids is that of the machine itself: all ids, each as it is.
fn is_whole(map: &str) -> bool {
    let mut words = map.split_ascii_whitespace();
    // Before Linux 3.8 there was none.
    words.next().is_none() || map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// Returns the profile of the security module that confines this process.
fn profile() -> Option<String> {
    ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"]
        .into_iter()
        .map(|path| text(path).trim_matches(['\0', '\n', ' ']).to_owned())
        .find(|profile| !profile.is_empty())
}

impl Kernel {
    fn here() -> Self {
        let name = rustix::system::uname();
        Self {
            release: name.release().to_string_lossy().into_owned(),
            version: name.version().to_string_lossy().into_owned(),
        }
    }

    /// Tells whether this is gVisor's: its own name for itself, or the one version that it has
    /// always shown.
    pub(super) fn is_gvisor(&self) -> bool {
        self.release.contains("gvisor") || self.version == "#1 SMP Sun Jan 10 15:06:54 PST 2016"
    }
}

impl Inotify {
    fn here() -> Self {
        let limit = |name: &str| number(&format!("/proc/sys/fs/inotify/{name}"));
        let mut found = Self {
            max_user_watches: limit("max_user_watches"),
            max_user_instances: limit("max_user_instances"),
            max_queued_events: limit("max_queued_events"),
            ..Self::default()
        };
        // Of other containers' processes nothing is seen, nor of those that hide themselves.
        let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
        let processes = entries(Path::new("/proc"))
            .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
        for process in processes {
            for descriptor in entries(&process.path().join("fdinfo")) {
                let info = fs::read(descriptor.path()).unwrap_or_default();
                let watches = watch_count(&String::from_utf8_lossy(&info));
                found.watches_seen += watches;
                found.instances_seen += u64::from(watches > 0);
            }
        }
        found
    }
}

fn watch_count(info: &str) -> u64 {
    info.lines().filter(|line| line.starts_with("inotify ")).count() as u64
}

impl WorkDirectory {
    fn at(path: &Path, mounts: &[Mount]) -> Self {
        let there = path.ancestors().find_map(|above| fs::canonicalize(above).ok());
        let there = there.unwrap_or_else(|| PathBuf::from("/"));
        let room = rustix::fs::statvfs(&there).ok();
        Self {
            path: path.to_owned(),
            file_system: mount_over(mounts, &there).map(|mount| mount.kind.clone()),
            free_bytes: room.as_ref().map(|room| room.f_bavail.saturating_mul(room.f_frsize)),
            free_inodes: room.as_ref().filter(|room| room.f_files > 0).map(|room| room.f_favail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_process_is_read() {
        let status = "Name:\tzuwai\nUid:\t1000\t0\t0\t0\nGid:\t0\t0\t0\t0\n\
                      CapEff:\t00000000a80425fb\nCapBnd:\t0\nNoNewPrivs:\t1\nSeccomp:\t2\n\
                      Seccomp_filters:\t1\n";
        let expected =
            Process { uid: 0, effective: 0xa804_25fb, seccomp: Some(2), no_new_privileges: true };
        assert_eq!(Process::parse(status), expected);
        let nothing =
            Process { uid: u32::MAX, effective: 0, seccomp: None, no_new_privileges: false };
        assert_eq!(Process::parse(""), nothing);
    }

    #[test]
    fn a_machine_is_told_from_a_user_namespace() {
        assert!(is_whole("         0          0 4294967295\n"));
        assert!(is_whole(""));
        assert!(!is_whole("         0     100000      65536\n"));
        assert!(!is_whole("0 1000 1\n1 100000 65536\n"));
    }

    #[test]
    fn watches_are_counted() {
        let info = "pos:\t0\nflags:\t00\ninotify wd:2 ino:1 sdev:1\ninotify wd:1 ino:2 sdev:1\n";
        assert_eq!(watch_count(info), 2);
        assert_eq!(watch_count("pos:\t0\nfanotify flags:1\n"), 0);
    }

    #[test]
    fn gvisor_is_known_by_what_it_calls_itself() {
        let kernel = |release: &str, version: &str| Kernel {
            release: release.into(),
            version: version.into(),
        };
        let old = "#1 SMP Sun Jan 10 15:06:54 PST 2016";
        assert!(kernel("4.4.0", old).is_gvisor());
        assert!(kernel("4.19.0-gvisor", "#1 SMP").is_gvisor());
        assert!(!kernel("6.8.0-45-generic", "#45-Ubuntu SMP").is_gvisor());
    }
}
