//! The floor of every mode that looks everywhere: names and metadata are read, and nothing is done
//! with them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, StatxFlags, makedev, open, statx};

/// As many threads as the walker uses at most.
const THREAD_LIMIT: usize = 8;

/// Directories that wait, and how many are being read.
#[derive(Default)]
struct Queue {
    pending: Vec<PathBuf>,
    busy: usize,
    error: Option<io::Error>,
}

/// Walks `root` with all processors and returns how many entries were looked at.
pub(super) fn walk(root: &Path) -> io::Result<u64> {
    let device = std::os::unix::fs::MetadataExt::dev(&std::fs::symlink_metadata(root)?);
    let queue = Mutex::new(Queue { pending: vec![root.to_owned()], ..Queue::default() });
    let more = Condvar::new();
    let count = thread::available_parallelism().map_or(1, usize::from).min(THREAD_LIMIT);
    let total = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..count).map(|_| scope.spawn(|| work(&queue, &more, device))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
    });
    match queue.into_inner().unwrap_or_else(PoisonError::into_inner).error {
        Some(error) => Err(error),
        None => Ok(total),
    }
}

fn work(queue: &Mutex<Queue>, more: &Condvar, device: u64) -> u64 {
    let mut total = 0;
    let mut locked = queue.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(directory) = locked.pending.pop() {
            locked.busy += 1;
            drop(locked);
            let read = read(&directory, device);
            locked = queue.lock().unwrap_or_else(PoisonError::into_inner);
            locked.busy -= 1;
            match read {
                Ok((count, directories)) => {
                    total += count;
                    locked.pending.extend(directories);
                }
                Err(error) => {
                    locked.pending.clear();
                    locked.error.get_or_insert(error);
                }
            }
            more.notify_all();
        } else if locked.busy == 0 {
            return total;
        } else {
            locked = more.wait(locked).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Counts the entries of a directory and returns the directories among them, mounts left out.
fn read(path: &Path, device: u64) -> io::Result<(u64, Vec<PathBuf>)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = open(path, flags, Mode::empty())?;
    let mut count = 0;
    let mut directories = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
        let found = statx(&directory, name, flags, StatxFlags::BASIC_STATS)?;
        count += 1;
        let is_here = makedev(found.stx_dev_major, found.stx_dev_minor) == device;
        if is_here && FileType::from_raw_mode(found.stx_mode.into()) == FileType::Directory {
            let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
            directories.push(path.join(name));
        }
    }
    Ok((count, directories))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_counted_once() {
        let directory = tempfile::tempdir().expect("a directory");
        for folder in ["a", "b", "b/c", "b/d"] {
            std::fs::create_dir(directory.path().join(folder)).expect("mkdir");
            for file in 0..20 {
                let path = directory.path().join(folder).join(file.to_string());
                std::fs::write(path, "").expect("write");
            }
        }
        assert_eq!(walk(directory.path()).expect("walks"), 84);
        assert!(walk(&directory.path().join("none")).is_err());
    }
}
