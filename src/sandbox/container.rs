//! Whether this is a container that can be thrown away, by what the kernel shows.
//!
//! Files in the image, such as `/.dockerenv`, prove nothing: images become the disks of machines.
//! Wrong in one direction this costs a flag, in the other somebody's machine; so a sign that this
//! one was booted outweighs all others.

use std::fmt;
use std::fs;
use std::path::Path;

use super::mount_table::{self, Mount};

/// What points to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// We are process 1, or its child and it is us.
    FirstProcess,
    /// `/etc/hosts` and another file in `/etc` are mounts, as every container runtime has it.
    MountedHosts,
    /// The root is an overlay of layers that a container runtime keeps.
    LayeredRoot,
    /// The control group is named by a container runtime.
    ControlGroup,
    /// The environment or the mounts are those of a Kubernetes Pod.
    Pod,
}

impl fmt::Display for Sign {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::FirstProcess => "zuwai is the first process",
            Self::MountedHosts => "`/etc/hosts` is mounted",
            Self::LayeredRoot => "the root is an overlay of image layers",
            Self::ControlGroup => "the control group is a container's",
            Self::Pod => "this is a Kubernetes Pod",
        })
    }
}

/// What the environment says of where we are; only `cli` may read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `KUBERNETES_SERVICE_HOST` is set.
    pub is_kubernetes: bool,
}

/// What is looked at.
#[derive(Debug, Default)]
struct Facts {
    mountinfo: String,
    cgroup: String,
    /// systemd runs as the machine's init.
    is_booted: bool,
    is_first_process: bool,
    is_kubernetes: bool,
}

/// Tells whether this is a container that can be thrown away.
///
/// Needs no rights: what another user's process 1 does not show counts as not seen.
pub fn is_container(surroundings: Surroundings) -> bool {
    !signs(surroundings).is_empty()
}

/// Returns what points to a container; nothing when this is none, or a machine all the same.
pub fn signs(surroundings: Surroundings) -> Vec<Sign> {
    let read = |path: &str| fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned());
    judge(&Facts {
        mountinfo: read("/proc/self/mountinfo").unwrap_or_default(),
        cgroup: read("/proc/1/cgroup").unwrap_or_default(),
        is_booted: fs::metadata("/run/systemd/system").is_ok_and(|found| found.is_dir()),
        is_first_process: is_first_process(),
        is_kubernetes: surroundings.is_kubernetes,
    })
}

/// Tells whether process 1 is this program: after
/// [`leave_pid_one`](super::supervisor::leave_pid_one) we are its child.
fn is_first_process() -> bool {
    if std::process::id() == 1 {
        return true;
    }
    let program = |process: &str| fs::read_link(format!("/proc/{process}/exe")).ok();
    rustix::process::getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == 1)
        && program("1").is_some_and(|first| Some(first) == program("self"))
}

fn judge(facts: &Facts) -> Vec<Sign> {
    if facts.is_booted {
        return Vec::new();
    }
    let mounts = mount_table::parse(&facts.mountinfo);
    let is_mounted = |path: &str| mounts.iter().any(|mount| mount.point == Path::new(path));
    let mut signs = Vec::new();
    if facts.is_first_process {
        signs.push(Sign::FirstProcess);
    }
    if is_mounted("/etc/hosts") && (is_mounted("/etc/resolv.conf") || is_mounted("/etc/hostname")) {
        signs.push(Sign::MountedHosts);
    }
    if mounts.iter().any(is_layered_root) {
        signs.push(Sign::LayeredRoot);
    }
    let runtimes = [
        "/docker",
        "/kubepods",
        "containerd",
        "/libpod",
        "crio-",
        "/lxc/",
        "/garden/",
        "/actions_job",
    ];
    if facts.cgroup.lines().any(|line| runtimes.iter().any(|runtime| line.contains(runtime))) {
        signs.push(Sign::ControlGroup);
    }
    let has_account = mounts.iter().any(|mount| {
        mount.point.ends_with("run/secrets/kubernetes.io/serviceaccount")
            || mount.point == Path::new("/dev/termination-log")
    });
    if facts.is_kubernetes || has_account {
        signs.push(Sign::Pod);
    }
    signs
}

/// Tells whether a mount is a root that a container runtime put together.
fn is_layered_root(mount: &Mount) -> bool {
    let homes = [
        "/containerd/",
        "/docker/",
        "/containers/storage/",
        "/lib/containers/",
        "/k3s/",
        "/crio/",
        "/snapshots/",
    ];
    mount.point == Path::new("/")
        && matches!(mount.kind.as_str(), "overlay" | "fuse.fuse-overlayfs" | "aufs")
        && homes.iter().any(|home| mount.options.contains(home))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "\
10 1 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/3/fs,upperdir=/x,workdir=/y
11 10 0:51 / /proc rw,nosuid - proc proc rw
12 10 259:1 /var/lib/kubelet/pods/1/etc-hosts /etc/hosts rw - ext4 /dev/root rw
13 10 259:1 /x /etc/resolv.conf rw - ext4 /dev/root rw
14 10 0:52 / /var/run/secrets/kubernetes.io/serviceaccount ro - tmpfs tmpfs rw
";
    const HOST: &str = "\
20 1 259:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw
21 20 0:20 / /proc rw shared:2 - proc proc rw
22 20 0:60 / /var/lib/docker/overlay2/1/merged rw - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l
";

    #[test]
    fn containers_are_told_by_what_the_kernel_shows() {
        let facts = |mountinfo: &str, cgroup: &str| Facts {
            mountinfo: mountinfo.to_owned(),
            cgroup: cgroup.to_owned(),
            ..Facts::default()
        };
        assert_eq!(
            judge(&facts(POD, "0::/\n")),
            [Sign::MountedHosts, Sign::LayeredRoot, Sign::Pod]
        );
        assert_eq!(judge(&facts(HOST, "0::/init.scope\n")), []);
        assert_eq!(judge(&facts(HOST, "12:pids:/docker/ab12\n")), [Sign::ControlGroup]);
        assert_eq!(
            judge(&facts("", "0::/kubepods.slice/kubepods-besteffort.slice\n")),
            [Sign::ControlGroup]
        );
        assert_eq!(
            judge(&Facts { is_first_process: true, ..facts(HOST, "0::/\n") }),
            [Sign::FirstProcess]
        );
        assert_eq!(judge(&Facts { is_kubernetes: true, ..facts(HOST, "") }), [Sign::Pod]);
        // `ip netns exec` mounts a resolver configuration of its own on any machine.
        let netns = format!("{HOST}23 20 0:61 / /etc/resolv.conf rw - tmpfs tmpfs rw\n");
        assert_eq!(judge(&facts(&netns, "")), []);
        // A live system is an overlay, too.
        let live = "1 0 0:1 / / rw - overlay overlay rw,lowerdir=/run/rootfs,upperdir=/run/cow\n";
        assert_eq!(judge(&facts(live, "")), []);
    }

    #[test]
    fn a_booted_machine_is_none_whatever_else_is_seen() {
        let facts = Facts {
            mountinfo: POD.to_owned(),
            is_booted: true,
            is_first_process: true,
            is_kubernetes: true,
            ..Facts::default()
        };
        assert_eq!(judge(&facts), []);
    }
}
