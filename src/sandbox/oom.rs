//! How often the kernel killed a process of this control group for want of memory.

use std::fs;

/// Returns the number of such kills so far, 0 where the control group cannot be read: a hint for
/// a message, never a decision.
pub(super) fn kill_count() -> u64 {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    candidates(&groups)
        .iter()
        .find_map(|path| fs::read_to_string(path).ok().and_then(|events| parse(&events)))
        .unwrap_or(0)
}

/// Returns the files that may hold the count, version 2 of control groups first; a container sees
/// its own group at the top of the mount.
fn candidates(groups: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_end_matches('/');
        if controllers.is_empty() {
            paths.push(format!("/sys/fs/cgroup{path}/memory.events"));
            paths.push("/sys/fs/cgroup/memory.events".to_owned());
        } else if controllers.split(',').any(|controller| controller == "memory") {
            paths.push(format!("/sys/fs/cgroup/memory{path}/memory.oom_control"));
            paths.push("/sys/fs/cgroup/memory/memory.oom_control".to_owned());
        }
    }
    paths
}

fn parse(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_read() {
        assert_eq!(
            candidates("0::/kubepods/pod1\n"),
            ["/sys/fs/cgroup/kubepods/pod1/memory.events", "/sys/fs/cgroup/memory.events"]
        );
        assert_eq!(
            candidates("9:memory:/\n3:cpu,cpuacct:/x\nnonsense\n"),
            [
                "/sys/fs/cgroup/memory/memory.oom_control",
                "/sys/fs/cgroup/memory/memory.oom_control"
            ]
        );
        assert_eq!(parse("low 0\nhigh 0\nmax 1\noom 1\noom_kill 3\n"), Some(3));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), Some(2));
        assert_eq!(parse("oom_kill_disable 0\n"), None);
    }
}
