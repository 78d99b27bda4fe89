//! kaniko's algorithms to find changes, emulated for comparison; no build uses them.
//!
//! Written anew from the behaviour of kaniko v1.24.0, over one plain walk by one thread as it does.
//! What only costs is left out in their favour: the call of `syncfs`, the copy of all paths for
//! each snapshot, Go's formatting of times, MD5 over the tuples, and resolving each changed path.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use highway::{HighwayHash, HighwayHasher, Key};

use super::tree::{DIRECTORY, Ignored, REGULAR, SYMLINK, join};

const KIND_BITS: u32 = 0o170_000;
/// kaniko's buffer for hashing.
const BUFFER_BYTES: usize = 320 * 1024;

/// Which of kaniko's algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The default.
    Full,
    /// `--snapshot-mode=redo`.
    Redo,
    /// `--snapshot-mode=time`.
    Time,
    /// `--use-new-run`.
    NewRun,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Full => "full",
            Self::Redo => "redo",
            Self::Time => "time",
            Self::NewRun => "new-run",
        })
    }
}

/// What an algorithm keeps of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print([u64; 4]);

/// The work that was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) entries_stated: u64,
    pub(super) files_opened: u64,
    pub(super) bytes_hashed: u64,
}

/// One stage as an algorithm sees it.
pub(super) struct Emulation {
    algorithm: Algorithm,
    root: PathBuf,
    ignored: Ignored,
    /// What was there at the last snapshot, base image included; `new-run` fills it before each
    /// command.
    known: BTreeMap<Vec<u8>, Print>,
    /// `new-run` only: what earlier layers of this build added, whose removal it notices.
    in_layers: BTreeSet<Vec<u8>>,
    is_ready: bool,
    buffer: Vec<u8>,
}

impl Emulation {
    pub(super) fn new(algorithm: Algorithm, root: &Path, ignored: Ignored) -> Self {
        Self {
            algorithm,
            root: root.to_owned(),
            ignored,
            known: BTreeMap::new(),
            in_layers: BTreeSet::new(),
            is_ready: false,
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    /// Does what the algorithm does before a command: the first snapshot of the base image, or, for
    /// `new-run`, a walk before each command.
    pub(super) fn before_run(&mut self) -> io::Result<Work> {
        let mut work = Work::default();
        if self.algorithm == Algorithm::NewRun || !self.is_ready {
            self.known = self.walk(&mut work)?;
            self.is_ready = true;
        }
        Ok(work)
    }

    /// Does what the algorithm does after a command, and returns the paths that it puts into the
    /// layer, removals and parent directories among them.
    pub(super) fn after_run(&mut self) -> io::Result<(BTreeSet<Vec<u8>>, Work)> {
        let mut work = Work::default();
        let now = self.walk(&mut work)?;
        let is_changed = |(path, print): &(&Vec<u8>, &Print)| self.known.get(*path) != Some(print);
        let mut reported: BTreeSet<Vec<u8>> =
            now.iter().filter(is_changed).map(|(path, _)| path.clone()).collect();
        let is_gone = |path: &&Vec<u8>| !now.contains_key(*path);
        let removed: Vec<Vec<u8>> = match self.algorithm {
            Algorithm::NewRun => {
                // A walk of its own, only for what is there.
                self.walk(&mut work)?;
                self.in_layers.iter().filter(is_gone).cloned().collect()
            }
            Algorithm::Full | Algorithm::Redo | Algorithm::Time => {
                self.known.keys().filter(is_gone).cloned().collect()
            }
        };
        self.in_layers.extend(reported.iter().cloned());
        self.in_layers.retain(|path| now.contains_key(path));
        reported.extend(removed);
        let parents: Vec<Vec<u8>> = reported.iter().flat_map(|path| parents(path)).collect();
        reported.extend(parents);
        self.known = now;
        Ok((reported, work))
    }

    /// Takes what another instruction wrote as known, which costs kaniko about nothing.
    pub(super) fn after_other_step(&mut self) -> io::Result<()> {
        if self.is_ready {
            let now = self.walk(&mut Work::default())?;
            let is_new = |path: &&Vec<u8>| !self.known.contains_key(*path);
            self.in_layers.extend(now.keys().filter(is_new).cloned());
            self.known = now;
        }
        Ok(())
    }

    fn walk(&mut self, work: &mut Work) -> io::Result<BTreeMap<Vec<u8>, Print>> {
        let device = fs::symlink_metadata(&self.root)?.dev();
        let mut prints = BTreeMap::new();
        let mut pending: Vec<(PathBuf, Vec<u8>)> = vec![(self.root.clone(), Vec::new())];
        while let Some((directory, name)) = pending.pop() {
            for item in fs::read_dir(&directory)? {
                let item = item?;
                let path = join(&name, item.file_name().as_bytes());
                if self.ignored.contains(&path) {
                    continue;
                }
                let on_disk = item.path();
                let metadata = fs::symlink_metadata(&on_disk)?;
                work.entries_stated += 1;
                if metadata.dev() != device {
                    continue;
                }
                let print = self.print(&on_disk, &metadata, work)?;
                prints.insert(path.clone(), print);
                if metadata.mode() & KIND_BITS == DIRECTORY {
                    pending.push((on_disk, path));
                }
            }
        }
        Ok(prints)
    }

    fn print(&mut self, path: &Path, metadata: &Metadata, work: &mut Work) -> io::Result<Print> {
        let bits = |number: i64| u64::from_ne_bytes(number.to_ne_bytes());
        let (seconds, nanoseconds) = (bits(metadata.mtime()), bits(metadata.mtime_nsec()));
        let owner = u64::from(metadata.uid()) << 32 | u64::from(metadata.gid());
        let mode = u64::from(metadata.mode());
        match self.algorithm {
            Algorithm::Time => Ok(Print([seconds, nanoseconds, 0, 0])),
            Algorithm::Redo | Algorithm::NewRun => {
                let time = seconds.rotate_left(32) ^ nanoseconds;
                Ok(Print([time, metadata.size(), mode, owner]))
            }
            Algorithm::Full => {
                let mut hasher = HighwayHasher::new(Key([0; 4]));
                for number in [mode, seconds, nanoseconds, owner] {
                    hasher.append(&number.to_le_bytes());
                }
                match metadata.mode() & KIND_BITS {
                    REGULAR => {
                        let mut value = [0; 64];
                        if let Ok(length) =
                            rustix::fs::lgetxattr(path, c"security.capability", &mut value[..])
                        {
                            hasher.append(value.get(..length).unwrap_or_default());
                        }
                        self.append_content(path, &mut hasher, work)?;
                    }
                    SYMLINK => hasher.append(fs::read_link(path)?.as_os_str().as_bytes()),
                    _ => {}
                }
                Ok(Print(hasher.finalize256()))
            }
        }
    }

    fn append_content(
        &mut self,
        path: &Path,
        hasher: &mut HighwayHasher,
        work: &mut Work,
    ) -> io::Result<()> {
        let mut file = File::open(path)?;
        work.files_opened += 1;
        loop {
            let count = file.read(&mut self.buffer)?;
            match self.buffer.get(..count) {
                None | Some([]) => return Ok(()),
                Some(bytes) => {
                    work.bytes_hashed += bytes.len() as u64;
                    hasher.append(bytes);
                }
            }
        }
    }
}

/// Returns the directories above a path.
fn parents(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.filter_map(|(slash, _)| Some(path.get(..slash)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn reported(algorithm: Algorithm, step: fn(&Path)) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        fs::create_dir(root.join("d")).expect("mkdir");
        for name in ["d/a", "d/b", "ignored"] {
            fs::write(root.join(name), "one").expect("write");
        }
        symlink("d/a", root.join("link")).expect("link");
        let ignored = Ignored { paths: vec![b"ignored".to_vec()] };
        let mut emulation = Emulation::new(algorithm, root, ignored);
        emulation.before_run().expect("walks");
        step(root);
        let (reported, _) = emulation.after_run().expect("walks");
        reported.into_iter().map(|path| String::from_utf8(path).expect("text")).collect()
    }

    /// Writes other bytes of the same length and puts the old mtime back.
    fn rewrite(root: &Path) {
        let path = root.join("d/a");
        let before = fs::metadata(&path).expect("stat").modified().expect("a time");
        fs::write(&path, "two").expect("write");
        fs::write(root.join("ignored"), "two").expect("write");
        File::options()
            .write(true)
            .open(&path)
            .expect("open")
            .set_modified(before)
            .expect("utimes");
    }

    #[test]
    fn only_content_shows_a_rewrite_with_the_old_mtime() {
        assert_eq!(reported(Algorithm::Full, rewrite), ["d", "d/a"]);
        for algorithm in [Algorithm::Redo, Algorithm::Time, Algorithm::NewRun] {
            assert_eq!(reported(algorithm, rewrite), Vec::<String>::new(), "{algorithm}");
        }
    }

    #[test]
    fn new_run_does_not_know_what_the_base_image_had() {
        let remove = |root: &Path| fs::remove_file(root.join("d/b")).expect("removed");
        for algorithm in [Algorithm::Full, Algorithm::Redo, Algorithm::Time] {
            assert_eq!(reported(algorithm, remove), ["d", "d/b"], "{algorithm}");
        }
        assert_eq!(reported(Algorithm::NewRun, remove), ["d"]);
    }
}
