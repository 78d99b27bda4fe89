//! The root of a step in namespaces, and what is mounted into it.
//!
//! Runs in the step's own mount namespace, before anything of the image does. The new root is
//! entered first: from then on a symbolic link in the image leads to a place in the image. The old
//! root stays within reach, through a descriptor, until everything is mounted.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags};
use rustix::path::Arg;

use super::{During, step_mounts};
use crate::sandbox::wire::{
    MountKind, NamespaceRoot, RootDirectory, RootSource, SetupAction, SetupFailure,
};

/// Nodes every program may expect, by minor number of the memory devices' major 1; `tty` is 5:0.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// What of the machine a step neither sees nor changes: the paths that runc and BuildKit mask and
/// make read-only by default.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Makes `root` the root of this process, with everything in it that a RUN expects. `mount` is the
/// root itself where it is not at its path yet.
pub(super) fn enter(root: &NamespaceRoot, mount: Option<&OwnedFd>) -> Result<(), SetupFailure> {
    rustix::process::umask(Mode::empty());
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .during(|| SetupAction::MakePrivate)?;
    let mut opened = step_mounts::open(&root.mounts)?;
    let old_root = match &root.directory {
        Some(directory) => pivot(directory, mount)?,
        None => pivot(&memory_root()?, None)?,
    };
    mount_proc()?;
    mount_dev(&old_root, root, &mut opened)?;
    mount_sys(&old_root)?;
    for path in MASKED {
        mask(path)?;
    }
    for path in READ_ONLY {
        if rustix::fs::stat(path).is_ok() {
            bind(path, path, "itself")?;
            make_read_only(path)?;
        }
    }
    step_mounts::mount_all(&root.mounts, &opened)?;
    nix::unistd::sethostname(&root.hostname).during(|| SetupAction::SetHostname)?;
    rustix::process::fchdir(&old_root).during(|| SetupAction::DetachOldRoot)?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).during(|| SetupAction::DetachOldRoot)?;
    rustix::process::chdir("/").during(|| SetupAction::DetachOldRoot)
}

/// Enters the new root and returns the old one, which then lies on top of the new.
fn pivot(directory: &RootDirectory, mount: Option<&OwnedFd>) -> Result<OwnedFd, SetupFailure> {
    let path = &directory.path;
    let opening = || SetupAction::OpenRoot(path.clone());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Both ends of a pivot must be mounts.
    match mount {
        Some(mount) => {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            rustix::mount::move_mount(mount, c"", rustix::fs::CWD, path, flags).during(opening)?;
        }
        None => rustix::mount::mount_bind(path, path).during(opening)?,
    }
    let new_root = rustix::fs::open(path, flags, Mode::empty()).during(opening)?;
    let found = rustix::fs::fstat(&new_root).during(opening)?;
    if (found.st_dev, found.st_ino) != (directory.dev, directory.ino) {
        return Err(SetupFailure {
            action: SetupAction::RootReplaced(path.clone()),
            errno: Errno::STALE.raw_os_error(),
        });
    }
    allow_programs(&new_root)?;
    let old_root = rustix::fs::open("/", flags, Mode::empty()).during(opening)?;
    rustix::process::fchdir(&new_root).during(opening)?;
    rustix::process::pivot_root(".", ".").during(|| SetupAction::PivotRoot)?;
    Ok(old_root)
}

/// Lifts what the mount that the root is on forbids to programs: a work directory on a file system
/// mounted `nosuid,nodev`, such as `/tmp`, must not break `sudo` in RUN.
fn allow_programs(root: &OwnedFd) -> Result<(), SetupFailure> {
    let action = || mounting("the root with programs allowed", "/");
    let flags = rustix::fs::fstatvfs(root).during(action)?.f_flag;
    let barred = StatVfsMountFlags::NOSUID | StatVfsMountFlags::NODEV | StatVfsMountFlags::NOEXEC;
    if !flags.intersects(barred) {
        return Ok(());
    }
    let lifted = rustix::mount::mount_remount(by_descriptor(root), MountFlags::BIND, c"");
    // In a user namespace these are locked. Without `noexec` a step can do nothing at all.
    if flags.contains(StatVfsMountFlags::NOEXEC) { lifted.during(action) } else { Ok(()) }
}

/// Mounts an empty root in memory over a directory that exists everywhere; seen by nobody else.
fn memory_root() -> Result<RootDirectory, SetupFailure> {
    let place = ["/tmp", "/var", "/etc"]
        .into_iter()
        .find(|path| {
            rustix::fs::stat(*path)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
        })
        .unwrap_or("/");
    let action = || mounting("tmpfs", place);
    rustix::mount::mount("tmpfs", place, "tmpfs", MountFlags::empty(), Some(c"mode=755"))
        .during(action)?;
    for name in ["proc", "dev", "sys"] {
        let path = format!("{place}/{name}");
        rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755))
            .during(|| SetupAction::Create(path))?;
    }
    let root = rustix::fs::stat(place).during(action)?;
    Ok(RootDirectory {
        path: place.into(),
        dev: root.st_dev,
        ino: root.st_ino,
        source: RootSource::There,
    })
}

fn mount_proc() -> Result<(), SetupFailure> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, c"")
}

/// Mounts `/dev`, and over the image's files those of the machine.
///
/// The contents of both come from a file system in memory that `/dev` then hides, and so do the
/// files that are mounted later, which are opened here.
fn mount_dev(
    old_root: &OwnedFd,
    root: &NamespaceRoot,
    opened: &mut [Option<OwnedFd>],
) -> Result<(), SetupFailure> {
    mount("tmpfs", "/dev", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755,size=64m")?;
    let mut covers = Vec::new();
    for (index, cover) in root.covers.iter().enumerate() {
        let file = write_file(&format!("/dev/{index}"), 0o644, &cover.content)?;
        covers.push((file, &cover.target));
    }
    make_directory("/dev/pipes", 0o755)?;
    for pipe in &root.pipes {
        write_file(&format!("/dev/pipes/{}", pipe.name), 0o755, &pipe.content)?;
    }
    for ((index, mount), opened) in root.mounts.iter().enumerate().zip(opened) {
        if let MountKind::File(file) = &mount.kind {
            *opened = Some(step_mounts::write(&format!("/dev/mount-{index}"), file)?);
        }
    }
    let pipes = open_path("/dev/pipes", "/dev/pipes")?;

    let flags = MountFlags::NOSUID | MountFlags::STRICTATIME;
    mount("tmpfs", "/dev", "tmpfs", flags, c"mode=755,size=64m")?;
    for (name, major, minor) in NODES {
        make_node(old_root, name, major, minor)?;
    }
    for (target, name) in LINKS {
        let path = format!("/dev/{name}");
        rustix::fs::symlink(target, &path).during(|| SetupAction::Create(path))?;
    }
    mount_inside_dev()?;

    for (file, target) in covers {
        let mut path = b"/".to_vec();
        path.extend_from_slice(target);
        let action = || mounting("a file of the machine", &String::from_utf8_lossy(&path));
        rustix::mount::mount_bind(by_descriptor(&file), path.as_slice()).during(action)?;
    }
    if !root.pipes.is_empty() {
        make_directory("/dev/pipes", 0o755)?;
        bind(&by_descriptor(&pipes), "/dev/pipes", "heredocs")?;
        make_read_only("/dev/pipes")?;
    }
    Ok(())
}

/// Makes a device node, or in a user namespace, where that is refused, borrows the machine's.
fn make_node(old_root: &OwnedFd, name: &str, major: u32, minor: u32) -> Result<(), SetupFailure> {
    let path = format!("/dev/{name}");
    let mode = Mode::from_raw_mode(0o666);
    let device = rustix::fs::makedev(major, minor);
    let made = rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::CharacterDevice, mode, device);
    if made != Err(Errno::PERM) {
        return made.during(|| SetupAction::Create(path));
    }
    write_file(&path, 0o666, b"")?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let node = rustix::fs::openat(old_root, format!("dev/{name}"), flags, Mode::empty())
        .during(|| mounting("the machine's device", &path))?;
    bind(&by_descriptor(&node), &path, "the machine's device")
}

fn mount_inside_dev() -> Result<(), SetupFailure> {
    make_directory("/dev/pts", 0o755)?;
    make_directory("/dev/shm", 0o755)?;
    make_directory("/dev/mqueue", 0o755)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    // Group 5 is `tty` nearly everywhere; a user namespace may not know it.
    let terminals = |options| mount("devpts", "/dev/pts", "devpts", flags, options);
    terminals(c"newinstance,ptmxmode=0666,mode=0620,gid=5")
        .or_else(|_| terminals(c"newinstance,ptmxmode=0666,mode=0620"))?;
    let flags = flags | MountFlags::NODEV;
    mount("shm", "/dev/shm", "tmpfs", flags, c"mode=1777,size=64m")?;
    match mount("mqueue", "/dev/mqueue", "mqueue", flags, c"") {
        // Kernels can be built without it, and nothing but its users misses it.
        Err(failure) if failure.errno == Errno::NODEV.raw_os_error() => Ok(()),
        mounted => mounted,
    }
}

fn mount_sys(old_root: &OwnedFd) -> Result<(), SetupFailure> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    if mount("sysfs", "/sys", "sysfs", flags, c"").is_err() {
        // Only the owner of the network namespace may mount a new one.
        let sys = open_in(old_root, "sys").during(|| mounting("sysfs", "/sys"))?;
        rustix::mount::mount_bind_recursive(by_descriptor(&sys), "/sys")
            .during(|| mounting("sysfs", "/sys"))?;
        return make_tree_read_only("/sys");
    }
    // Programs size themselves after the limits of their control group.
    if let Ok(groups) = open_in(old_root, "sys/fs/cgroup")
        && rustix::mount::mount_bind_recursive(by_descriptor(&groups), "/sys/fs/cgroup").is_ok()
    {
        return make_tree_read_only("/sys/fs/cgroup");
    }
    Ok(())
}

/// Hides a file behind `/dev/null` and a directory behind an empty one.
fn mask(path: &str) -> Result<(), SetupFailure> {
    let Ok(stat) = rustix::fs::stat(path) else { return Ok(()) };
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        mount("tmpfs", path, "tmpfs", MountFlags::RDONLY, c"size=0")
    } else {
        bind("/dev/null", path, "nothing")
    }
}

/// Makes one mount read-only, keeping its other flags, which may be locked.
pub(super) fn make_read_only(path: &str) -> Result<(), SetupFailure> {
    let action = || mounting("a read-only view", path);
    let kept = rustix::fs::statvfs(path).during(action)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (flag, mount_flag) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if kept.contains(flag) {
            flags |= mount_flag;
        }
    }
    rustix::mount::mount_remount(path, flags, c"").during(action)
}

/// Makes `top` and every mount below it read-only.
pub(super) fn make_tree_read_only(top: &str) -> Result<(), SetupFailure> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")
        .during(|| mounting("a read-only view", top))?;
    for path in mounts_below(&table, top) {
        match make_read_only(&path) {
            // Hidden by a mount on top of it.
            Err(failure) if failure.errno == Errno::NOENT.raw_os_error() => {}
            made => made?,
        }
    }
    Ok(())
}

/// Returns the mount points at and below `top`; those with odd bytes in them, which the table
/// escapes, do not occur among the kernel's own.
fn mounts_below(table: &str, top: &str) -> Vec<String> {
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|path| {
            path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .map(str::to_owned)
        .collect()
}

pub(super) fn mounting(what: &str, target: &str) -> SetupAction {
    SetupAction::Mount { what: what.to_owned(), target: target.to_owned() }
}

fn mount(
    what: &str,
    target: &str,
    kind: &str,
    flags: MountFlags,
    options: &std::ffi::CStr,
) -> Result<(), SetupFailure> {
    rustix::mount::mount(what, target, kind, flags, Some(options)).during(|| mounting(what, target))
}

fn bind(source: &str, target: &str, what: &str) -> Result<(), SetupFailure> {
    rustix::mount::mount_bind(source, target).during(|| mounting(what, target))
}

/// Returns a path by which the kernel finds an open file again, wherever it is.
pub(super) fn by_descriptor(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

pub(super) fn open_path(path: impl Arg, shown: &str) -> Result<OwnedFd, SetupFailure> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .during(|| SetupAction::Create(shown.to_owned()))
}

fn open_in(directory: &OwnedFd, path: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(directory, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn make_directory(path: &str, mode: u32) -> Result<(), SetupFailure> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(mode))
        .during(|| SetupAction::Create(path.to_owned()))
}

/// Writes a new file and returns a handle on it that can be mounted but not read.
pub(super) fn write_file(path: &str, mode: u32, content: &[u8]) -> Result<OwnedFd, SetupFailure> {
    let creating = || SetupAction::Create(path.to_owned());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(mode)).during(creating)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written =
            rustix::io::retry_on_intr(|| rustix::io::write(&file, rest)).during(creating)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    drop(file);
    open_path(path, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_component() {
        let table = "21 1 0:19 / /sys ro - sysfs sysfs rw\n\
                     22 21 0:20 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n\
                     23 22 0:21 / /sys/fs/cgroup/memory ro - cgroup cgroup rw\n\
                     24 21 0:22 / /sys/fs/cgroup2 ro - cgroup2 cgroup2 rw\n\
                     broken\n";
        assert_eq!(
            mounts_below(table, "/sys/fs/cgroup"),
            ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"]
        );
        assert_eq!(mounts_below(table, "/proc"), Vec::<String>::new());
    }
}
