//! What the control group of this process says of its memory: its limit, and how often the kernel
//! killed a process in it. Both versions are read.

use std::fs;

/// What a control group says of one thing, by the names that the two versions have for it.
#[derive(Clone, Copy)]
struct Knob {
    /// Who says it in version 1.
    controller: &'static str,
    version_2: &'static str,
    version_1: &'static str,
}

const fn knob(controller: &'static str, version_2: &'static str, version_1: &'static str) -> Knob {
    Knob { controller, version_2, version_1 }
}

const KILLS: Knob = knob("memory", "memory.events", "memory.oom_control");
const MEMORY: Knob = knob("memory", "memory.max", "memory.limit_in_bytes");
const MEMORY_USED: Knob = knob("memory", "memory.current", "memory.usage_in_bytes");
const PROCESSES: Knob = knob("pids", "pids.max", "pids.max");
const PROCESSES_USED: Knob = knob("pids", "pids.current", "pids.current");
/// Version 1 has the period in a file of its own.
const PROCESSORS: Knob = knob("cpu", "cpu.max", "cpu.cfs_quota_us");
const PERIOD: Knob = knob("cpu", "cpu.max", "cpu.cfs_period_us");

/// What this process and all that share its control group may use, and do; `None` where nothing
/// limits it, or it cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupLimits {
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory in use, caches of files included, in bytes.
    pub memory_used_bytes: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Processes and threads that there are.
    pub processes_used: Option<u64>,
    /// Thousandths of a processor.
    pub processors_milli: Option<u64>,
}

impl GroupLimits {
    /// Reads them.
    pub fn here() -> Self {
        let groups = read("/proc/self/cgroup");
        Self {
            memory_bytes: least(&groups, MEMORY),
            memory_used_bytes: first(&groups, MEMORY_USED, |text| text.trim().parse().ok()),
            processes: least(&groups, PROCESSES),
            processes_used: first(&groups, PROCESSES_USED, |text| text.trim().parse().ok()),
            processors_milli: first(&groups, PERIOD, Some).and_then(|period| {
                first(&groups, PROCESSORS, |quota| parse_processors(&quota, &period))
            }),
        }
    }
}

/// Returns how often the kernel killed a process of this group for want of memory, 0 where that
/// cannot be read: a hint for a message, never a decision.
pub(super) fn kill_count() -> u64 {
    kills(MOUNT, &read("/proc/self/cgroup"))
}

fn kills(mount: &str, groups: &str) -> u64 {
    let count = |path: &String| parse_kills(&fs::read_to_string(path).ok()?);
    files(mount, groups, KILLS).iter().find_map(count).unwrap_or(0)
}

/// Returns how many bytes of memory this process and all that share its control group may use;
/// `None` where nothing limits it, or the limit cannot be read.
pub fn memory_limit_bytes() -> Option<u64> {
    least(&read("/proc/self/cgroup"), MEMORY)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Returns what the first file says that there is.
fn first<T>(groups: &str, knob: Knob, parse: impl Fn(String) -> Option<T>) -> Option<T> {
    files(MOUNT, groups, knob).iter().find_map(|path| parse(fs::read_to_string(path).ok()?))
}

/// Returns the least limit: a group above may have a lower one.
fn least(groups: &str, knob: Knob) -> Option<u64> {
    files(MOUNT, groups, knob)
        .iter()
        .flat_map(|path| upwards(path))
        .filter_map(|path| parse_limit(&fs::read_to_string(path).ok()?))
        .min()
}

/// Returns the files of the groups in `/proc/self/cgroup`, version 2 of control groups first; a
/// container sees its own group at the top of the mount.
fn files(mount: &str, groups: &str, knob: Knob) -> Vec<String> {
    let Knob { controller, version_2, version_1 } = knob;
    let mut paths = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_end_matches('/');
        if controllers.is_empty() {
            paths.push(format!("{mount}{path}/{version_2}"));
            paths.push(format!("{mount}/{version_2}"));
        } else if controllers.split(',').any(|one| one == controller) {
            paths.push(format!("{mount}/{controller}{path}/{version_1}"));
            paths.push(format!("{mount}/{controller}/{version_1}"));
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

/// Returns thousandths of a processor: of `QUOTA PERIOD`, or of a quota with its period beside it;
/// `None` without a limit, which is `max` or -1.
fn parse_processors(quota: &str, period: &str) -> Option<u64> {
    let quota: u64 = quota.split_ascii_whitespace().next()?.parse().ok()?;
    let period: u64 = period.split_ascii_whitespace().next_back()?.parse().ok()?;
    quota.checked_mul(1000)?.checked_div(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_read() {
        assert_eq!(
            files(MOUNT, "0::/kubepods/pod1\n", KILLS),
            ["/sys/fs/cgroup/kubepods/pod1/memory.events", "/sys/fs/cgroup/memory.events"]
        );
        assert_eq!(
            files(MOUNT, "9:memory:/\n3:cpu,cpuacct:/x\nnonsense\n", MEMORY),
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
    fn kills_are_counted_wherever_a_container_sees_its_group() {
        let version_2 = "low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n";
        let version_1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        for (groups, file, content, expected) in [
            // Of version 2: with a namespace of control groups, with the machine's view of them, and
            // where the mount is of the group itself.
            ("0::/\n", "memory.events", version_2, 2),
            ("0::/kubepods/pod1\n", "kubepods/pod1/memory.events", version_2, 2),
            ("0::/kubepods/pod1\n", "memory.events", version_2, 2),
            // Of version 1, beside a hierarchy of version 2 that knows nothing of memory.
            ("4:memory:/pod1\n0::/pod1\n", "memory/pod1/memory.oom_control", version_1, 3),
            ("4:memory:/pod1\n0::/pod1\n", "memory/memory.oom_control", version_1, 3),
            // Before Linux 4.13 nobody counted.
            ("4:memory:/\n", "memory/memory.oom_control", "under_oom 0\n", 0),
            ("0::/\n", "elsewhere", version_2, 0),
        ] {
            let mount = tempfile::tempdir().expect("a temporary directory");
            let path = mount.path().join(file);
            fs::create_dir_all(path.parent().expect("it has one")).expect("directories");
            fs::write(&path, content).expect("a file");
            let mount = mount.path().to_str().expect("text");
            assert_eq!(kills(mount, groups), expected, "{groups} {file}");
        }
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
        assert_eq!(parse_processors("150000 100000\n", "150000 100000\n"), Some(1500));
        assert_eq!(parse_processors("50000\n", "100000\n"), Some(500));
        assert_eq!(parse_processors("max 100000\n", "max 100000\n"), None);
        assert_eq!(parse_processors("-1\n", "100000\n"), None);
        assert_eq!(parse_processors("1 0\n", "1 0\n"), None);
    }
}
