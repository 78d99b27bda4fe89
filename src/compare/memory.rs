//! How much memory a run takes: of a control group made for it where that is allowed, which counts
//! the kernel's share (watches, inodes, page tables) and the page cache too.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often what is in use without the page cache is looked up: the kernel keeps no peak of it.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);

/// Which interface of control groups the memory controller has here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A control group that was made for one run; removed when dropped.
#[derive(Debug)]
pub(super) struct ControlGroup {
    directory: PathBuf,
    version: Version,
}

/// The largest use that was seen, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peaks {
    /// Everything, by the kernel's own record.
    pub(super) total_bytes: Option<u64>,
    /// Anonymous and kernel memory, by sampling.
    pub(super) without_cache_bytes: Option<u64>,
}

impl ControlGroup {
    /// Makes a group below the one that this process is in; `None` where that is not possible.
    pub(super) fn create(name: &str) -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        places(&groups).into_iter().find_map(|(parent, version)| {
            let directory = parent.join(name);
            fs::create_dir(&directory).ok()?;
            let group = Self { directory, version };
            // Without the controller the group counts no memory.
            group.read(group.peak_file()).map(|_| group)
        })
    }

    /// Returns the file that a process writes itself into the group with.
    pub(super) fn processes(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }

    /// Returns what the report says of where figures come from.
    pub(super) fn source(&self) -> &'static str {
        match self.version {
            Version::One => "control group v1: memory.max_usage_in_bytes",
            Version::Two => "control group v2: memory.peak",
        }
    }

    /// Starts to sample; [`Sampler::finish`] ends it.
    pub(super) fn sample(self) -> Sampler {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let mut peak = None;
            loop {
                peak = peak.max(self.without_cache());
                match stopped.recv_timeout(SAMPLE_INTERVAL) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            let total = self.read(self.peak_file()).and_then(|text| text.trim().parse().ok());
            Peaks { total_bytes: total, without_cache_bytes: peak }
        });
        Sampler { stop, thread }
    }

    fn peak_file(&self) -> &'static str {
        match self.version {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        }
    }

    fn without_cache(&self) -> Option<u64> {
        let stat = self.read("memory.stat")?;
        match self.version {
            Version::Two => Some(field(&stat, "anon")? + field(&stat, "kernel")?),
            Version::One => {
                let kernel = self.read("memory.kmem.usage_in_bytes")?;
                Some(field(&stat, "rss")? + kernel.trim().parse::<u64>().ok()?)
            }
        }
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(file)).ok()
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Every process of the run is dead, so that only a race of the kernel's could keep it.
        if let Err(error) = fs::remove_dir(&self.directory) {
            tracing::debug!(group = %self.directory.display(), %error, "control group not removed");
        }
    }
}

/// A thread that samples.
pub(super) struct Sampler {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Peaks>,
}

impl Sampler {
    /// Ends the sampling and removes the group; no process is in it any more.
    pub(super) fn finish(self) -> Peaks {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

/// Returns where groups with a memory controller may be made, by `/proc/self/cgroup`.
fn places(groups: &str) -> Vec<(PathBuf, Version)> {
    let mut places = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let path = path.trim_start_matches('/');
        if controllers.split(',').any(|name| name == "memory") {
            places.push((Path::new("/sys/fs/cgroup/memory").join(path), Version::One));
        } else if controllers.is_empty() {
            places.push((Path::new("/sys/fs/cgroup").join(path), Version::Two));
        }
    }
    places
}

/// Returns a field of `memory.stat`.
fn field(stat: &str, name: &str) -> Option<u64> {
    let lines = stat.lines().filter_map(|line| line.split_once(' '));
    lines.filter(|(key, _)| *key == name).find_map(|(_, value)| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_made_where_memory_is_counted() {
        let one = "9:name=systemd:/\n4:cpu,memory:/pod/a\n0::/\n";
        let two = "0::/kubepods/b\n";
        assert_eq!(
            places(one),
            [
                (PathBuf::from("/sys/fs/cgroup/memory/pod/a"), Version::One),
                (PathBuf::from("/sys/fs/cgroup/"), Version::Two),
            ]
        );
        assert_eq!(places(two), [(PathBuf::from("/sys/fs/cgroup/kubepods/b"), Version::Two)]);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let stat = "anon_thp 1\nanon 4096\nkernel 8192\n";
        assert_eq!((field(stat, "anon"), field(stat, "kern")), (Some(4096), None));
    }
}
