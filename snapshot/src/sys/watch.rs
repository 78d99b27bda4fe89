//! Adds inotify watches in bulk, by short names.
//!
//! `inotify_add_watch` takes no directory descriptor, and a name through `/proc/self/fd` costs twice
//! what a name in the working directory does. The working directory belongs to the process, so that
//! the calls are made by a child that shares our memory and has a working directory of its own; a
//! thread could have one too, but container seccomp filters refuse `unshare(CLONE_FS)`.

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Room for the child's few frames; the C library's own calls of this kind take 32 KiB.
const STACK_BYTES: usize = 64 * 1024;

/// A walk through a tree that adds watches on its way, as bytes: an operation, then the name it is
/// for, with a NUL.
#[derive(Debug, Default)]
pub(crate) struct WatchScript {
    code: Vec<u8>,
    watch_count: usize,
}

const ENTER: u8 = b'>';
const LEAVE: u8 = b'<';
const WATCH_DIRECTORY: u8 = b'd';
const WATCH_OTHER: u8 = b'f';
const WATCH_DEVICE: u8 = b'n';

/// What stands for the descriptor of a device that may not be watched.
pub(crate) const REFUSED: i32 = -1;

impl WatchScript {
    /// Goes into the directory `name`, which must not be a symbolic link.
    pub(crate) fn enter(&mut self, name: &[u8]) {
        self.push(ENTER, name);
    }

    /// Goes back to the directory above.
    pub(crate) fn leave(&mut self) {
        self.push(LEAVE, b"..");
    }

    /// Adds a watch for the directory `name`.
    pub(crate) fn watch_directory(&mut self, name: &[u8]) {
        self.push(WATCH_DIRECTORY, name);
        self.watch_count += 1;
    }

    /// Adds a watch for the device `name`, if it may be read: a control group can forbid that to
    /// root too (`EPERM`).
    pub(crate) fn watch_device(&mut self, name: &[u8]) {
        self.push(WATCH_DEVICE, name);
        self.watch_count += 1;
    }

    /// Adds a watch for `name`, whatever else it is.
    pub(crate) fn watch_other(&mut self, name: &[u8]) {
        self.push(WATCH_OTHER, name);
        self.watch_count += 1;
    }

    fn push(&mut self, operation: u8, name: &[u8]) {
        debug_assert!(!name.contains(&0), "no file name holds a NUL");
        self.code.push(operation);
        self.code.extend_from_slice(name);
        self.code.push(0);
    }
}

/// What a script is run with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchTarget<'a> {
    /// The directory that the script begins in.
    pub(crate) root: BorrowedFd<'a>,
    /// The inotify instance.
    pub(crate) inotify: BorrowedFd<'a>,
    /// A second instance that gets the same watches: seen to be possible, they are a reserve.
    pub(crate) reserve: Option<BorrowedFd<'a>>,
    /// What is watched of directories.
    pub(crate) directory_mask: u32,
    /// What is watched of everything else.
    pub(crate) other_mask: u32,
}

/// How far a script came.
#[derive(Debug)]
pub(crate) struct WatchesAdded {
    /// The watch descriptors, in the script's order; all of them when there is no error. Of a device
    /// that may not be watched, [`REFUSED`].
    pub(crate) descriptors: Vec<i32>,
    /// What stopped it.
    pub(crate) error: Option<io::Error>,
}

/// What the child works on, in memory that it shares with us.
struct Job<'a> {
    root: c_int,
    inotify: c_int,
    reserve: Option<c_int>,
    directory_mask: u32,
    other_mask: u32,
    code: &'a [u8],
    descriptors: Vec<i32>,
    errno: c_int,
}

/// Runs a script and waits for its end.
///
/// # Errors
/// When the child cannot be made; what stops the script itself is in the answer.
pub(crate) fn add_watches(
    target: &WatchTarget<'_>,
    script: &WatchScript,
) -> io::Result<WatchesAdded> {
    let mut job = Job {
        root: target.root.as_raw_fd(),
        inotify: target.inotify.as_raw_fd(),
        reserve: target.reserve.map(|fd| fd.as_raw_fd()),
        directory_mask: target.directory_mask,
        other_mask: target.other_mask,
        code: &script.code,
        // The child must not allocate.
        descriptors: Vec::with_capacity(script.watch_count),
        errno: 0,
    };
    let before = block_signals()?;
    let child = clone_child(&mut job);
    restore_signals(&before)?;
    wait_for(child?)?;
    let error = (job.errno != 0).then(|| io::Error::from_raw_os_error(job.errno));
    Ok(WatchesAdded { descriptors: job.descriptors, error })
}

/// Starts the child and returns its id when it has ended.
fn clone_child(job: &mut Job<'_>) -> io::Result<libc::pid_t> {
    // Of 16-byte units, because the end of the stack has to be aligned so.
    let mut stack = vec![0_u128; STACK_BYTES / size_of::<u128>()];
    let top = stack.as_mut_ptr_range().end;
    // No exit signal: nobody's handler for its own children learns of this one.
    let flags = libc::CLONE_VM | libc::CLONE_VFORK;
    // SAFETY: `top` is the aligned end of a stack that nothing else uses and that outlives the
    // child, because with CLONE_VFORK this thread sleeps until the child has ended. For the same
    // reason the job is not touched by two at once and the thread-local storage that the child
    // shares (it holds `errno`) has one user. `run_job` makes system calls only: it neither
    // allocates, locks, panics nor returns into frames of this thread. All signals are blocked, so
    // that no handler runs in the child.
    let pid = unsafe {
        libc::clone(run_job, top.cast::<c_void>(), flags, std::ptr::from_mut(job).cast::<c_void>())
    };
    if pid == -1 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

extern "C" fn run_job(argument: *mut c_void) -> c_int {
    // SAFETY: the argument is the job that `clone_child` has borrowed mutably, and its thread
    // sleeps.
    let job = unsafe { &mut *argument.cast::<Job<'_>>() };
    // SAFETY: the call takes a number, and the descriptor is borrowed for longer than this.
    if unsafe { libc::fchdir(job.root) } == -1 {
        job.errno = errno();
        return 0;
    }
    let mut code = job.code;
    while let Some((&operation, rest)) = code.split_first() {
        let Ok(name) = CStr::from_bytes_until_nul(rest) else { break };
        code = rest.get(name.count_bytes() + 1..).unwrap_or_default();
        let mask = match operation {
            WATCH_DIRECTORY => job.directory_mask,
            WATCH_OTHER | WATCH_DEVICE => job.other_mask,
            _ => match change_directory(name) {
                Ok(()) => continue,
                Err(errno) => {
                    job.errno = errno;
                    return 0;
                }
            },
        };
        let descriptor = match watch(job, name, mask) {
            Ok(descriptor) => descriptor,
            Err(libc::EPERM) if operation == WATCH_DEVICE => REFUSED,
            Err(errno) => {
                job.errno = errno;
                return 0;
            }
        };
        // There is room for as many as the script has watches; pushing beyond would allocate.
        if job.descriptors.len() < job.descriptors.capacity() {
            job.descriptors.push(descriptor);
        }
    }
    0
}

/// Adds a watch, and one to the reserve before. Returns its descriptor, or the error number.
fn watch(job: &Job<'_>, name: &CStr, mask: u32) -> Result<c_int, c_int> {
    if let Some(reserve) = job.reserve
        && add_watch(reserve, name, mask) == -1
    {
        return Err(errno());
    }
    match add_watch(job.inotify, name, mask) {
        -1 => Err(errno()),
        descriptor => Ok(descriptor),
    }
}

fn add_watch(inotify: c_int, name: &CStr, mask: u32) -> c_int {
    // SAFETY: the name is NUL-terminated and outlives the call; the descriptor is a number that the
    // kernel checks.
    unsafe { libc::inotify_add_watch(inotify, name.as_ptr(), mask) }
}

/// Goes into a directory that is no symbolic link. Returns the error number.
fn change_directory(name: &CStr) -> Result<(), c_int> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the name is NUL-terminated and outlives the call.
    let fd = unsafe { libc::openat(libc::AT_FDCWD, name.as_ptr(), flags) };
    if fd == -1 {
        return Err(errno());
    }
    // SAFETY: the call takes a number, that of the directory just opened.
    let changed = unsafe { libc::fchdir(fd) };
    let result = if changed == 0 { Ok(()) } else { Err(errno()) };
    // SAFETY: the descriptor was opened above, in the child's own table, and is used no more.
    unsafe { libc::close(fd) };
    result
}

/// Returns the number of the last error; allocates nothing.
fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

fn wait_for(child: libc::pid_t) -> io::Result<()> {
    loop {
        let mut status = 0;
        // SAFETY: the status is ours to write; the child is this function's caller's own. Without an
        // exit signal it is only found with `__WALL`.
        if unsafe { libc::waitpid(child, &raw mut status, libc::__WALL) } == child {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn block_signals() -> io::Result<libc::sigset_t> {
    let mut all = MaybeUninit::uninit();
    // SAFETY: the set is ours to write, and `sigfillset` writes all of it.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    let mut before = MaybeUninit::uninit();
    // SAFETY: the first set was filled above, the second is ours to write.
    let result =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    // SAFETY: the call succeeded, so that it has written the set.
    Ok(unsafe { before.assume_init() })
}

fn restore_signals(before: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set comes from `pthread_sigmask`, and no old set is asked for.
    let result = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    use inotify::{Inotify, WatchMask};

    use super::*;

    #[test]
    fn a_script_watches_what_it_names() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir_all(directory.path().join("a/b")).expect("directories");
        fs::write(directory.path().join("a/b/f"), "").expect("a file");
        std::os::unix::fs::symlink("gone", directory.path().join("a/link")).expect("a link");
        let root = File::open(directory.path()).expect("it is there");
        let working_directory = fs::canonicalize(".").expect("there is one");

        let mut inotify = Inotify::init().expect("an instance");
        let reserve = Inotify::init().expect("an instance");
        let mut script = WatchScript::default();
        script.watch_directory(b".");
        script.watch_directory(b"a");
        script.enter(b"a");
        script.watch_directory(b"b");
        script.enter(b"b");
        script.watch_other(b"f");
        script.leave();
        script.watch_other(b"link");
        script.leave();
        script.watch_directory(b"a");
        let target = WatchTarget {
            root: root.as_fd(),
            inotify: inotify.as_fd(),
            reserve: Some(reserve.as_fd()),
            directory_mask: (WatchMask::CREATE | WatchMask::DONT_FOLLOW).bits(),
            other_mask: (WatchMask::MODIFY | WatchMask::DONT_FOLLOW).bits(),
        };
        let added = add_watches(&target, &script).expect("a child");
        assert!(added.error.is_none(), "{:?}", added.error);
        // The directory that is named twice has one watch.
        assert_eq!(added.descriptors, [1, 2, 3, 4, 5, 2]);
        assert_eq!(fs::canonicalize(".").expect("there is one"), working_directory);

        fs::write(directory.path().join("a/b/f"), "x").expect("it is written");
        fs::write(directory.path().join("a/new"), "").expect("a file");
        let mut buffer = [0; 4096];
        let events = inotify.read_events(&mut buffer).expect("events");
        let seen: Vec<_> = events
            .map(|event| (event.wd.get_watch_descriptor_id(), event.name.map(ToOwned::to_owned)))
            .collect();
        assert_eq!(seen, [(4, None), (2, Some("new".into()))]);
    }

    #[test]
    fn a_script_stops_at_the_first_error() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("f"), "").expect("a file");
        fs::create_dir(directory.path().join("d")).expect("a directory");
        std::os::unix::fs::symlink("d", directory.path().join("link")).expect("a link");
        let root = File::open(directory.path()).expect("it is there");
        let inotify = Inotify::init().expect("an instance");
        let target = WatchTarget {
            root: root.as_fd(),
            inotify: inotify.as_fd(),
            reserve: None,
            directory_mask: WatchMask::CREATE.bits(),
            other_mask: WatchMask::MODIFY.bits(),
        };
        type Bad = fn(&mut WatchScript);
        let bad: [(Bad, i32); 3] = [
            (|script| script.watch_other(b"gone"), libc::ENOENT),
            (|script| script.enter(b"link"), libc::ENOTDIR),
            (|script| script.enter(b"f"), libc::ENOTDIR),
        ];
        for (add, errno) in bad {
            let mut script = WatchScript::default();
            script.watch_other(b"f");
            add(&mut script);
            script.watch_other(b"f");
            let added = add_watches(&target, &script).expect("a child");
            assert_eq!(added.descriptors, [1]);
            assert_eq!(added.error.and_then(|error| error.raw_os_error()), Some(errno));
        }
    }
}
