//! What the control group of this process says of its memory: its limit, and how often the kernel
//! killed a process in it. Both versions are read.

use std::fs;

/// Returns how often the kernel killed a process of this group for want of memory, 0 where that
/// cannot be read: a hint for a message, never a decision.
pub(super) fn kill_count() -> u64 {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    files(&groups, "memory.events", "memory.oom_control")
        .iter()
        .find_map(|path| fs::read_to_string(path).ok().and_then(|events| parse_kills(&events)))
        .unwrap_or(0)
}

/// Returns how many bytes of memory this process and all that share its control group may use;
/// `None` where nothing limits it, or the limit cannot be read.
pub fn memory_limit_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // A group above may have a lower limit.
    files(&groups, "memory.max", "memory.limit_in_bytes")
        .iter()
        .flat_map(|path| upwards(path))
        .filter_map(|path| parse_limit(&fs::read_to_string(path).ok()?))
        .min()
}

/// Returns the files of that name of the groups in `/proc/self/cgroup`, version 2 of control groups
/// first; a container sees its own group at the top of the mount.
fn files(groups: &str, version_2: &str, version_1: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_end_matches('/');
        if controllers.is_empty() {
            paths.push(format!("{MOUNT}{path}/{version_2}"));
            paths.push(format!("{MOUNT}/{version_2}"));
        } else if controllers.split(',').any(|controller| controller == "memory") {
            paths.push(format!("{MOUNT}/memory{path}/{version_1}"));
            paths.push(format!("{MOUNT}/memory/{version_1}"));
        }
    }
    paths
}

const MOUNT: &str = "/sys/fs/cgroup";

/// Returns a file of a group and those of the same name in the groups above it.
fn upwards(path: &str) -> Vec<String> {
    let Some((folder, name)) = path.rsplit_once('/') else { return Vec::new() };
    let mut folder = folder;
    let mut paths = vec![path.to_owned()];
    while let Some((above, _)) = folder.rsplit_once('/')
        && above.starts_with(MOUNT)
    {
        paths.push(format!("{above}/{name}"));
        folder = above;
    }
    paths
}

fn parse_kills(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Returns a limit; version 2 says `max` where there is none, version 1 the greatest number of whole
/// pages.
fn parse_limit(text: &str) -> Option<u64> {
    /// No machine has as much.
    const NO_LIMIT: u64 = 1 << 62;
    text.trim().parse().ok().filter(|&bytes| bytes < NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_read() {
        assert_eq!(
            files("0::/kubepods/pod1\n", "memory.events", "memory.oom_control"),
            ["/sys/fs/cgroup/kubepods/pod1/memory.events", "/sys/fs/cgroup/memory.events"]
        );
        assert_eq!(
            files(
                "9:memory:/\n3:cpu,cpuacct:/x\nnonsense\n",
                "memory.max",
                "memory.limit_in_bytes"
            ),
            [
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!(parse_kills("low 0\nhigh 0\nmax 1\noom 1\noom_kill 3\n"), Some(3));
        assert_eq!(parse_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), Some(2));
        assert_eq!(parse_kills("oom_kill_disable 0\n"), None);
    }

    #[test]
    fn limits_are_read_upwards() {
        assert_eq!(
            upwards("/sys/fs/cgroup/a/b/memory.max"),
            [
                "/sys/fs/cgroup/a/b/memory.max",
                "/sys/fs/cgroup/a/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(parse_limit("536870912\n"), Some(536_870_912));
        assert_eq!(parse_limit("max\n"), None);
        assert_eq!(parse_limit("9223372036854771712\n"), None);
        assert_eq!(parse_limit(""), None);
    }
}
