//! Directories on each kind of file system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Where the root of a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileSystem {
    /// Wherever temporary files are.
    Here,
    Tmpfs,
    Ext4,
    /// With timestamps of whole seconds.
    CoarseExt4,
    Xfs,
    Btrfs,
    /// An overlay whose upper directory is on ext4, the first files in its lower one.
    OverlayOnExt4,
    OverlayOnTmpfs,
}

/// A directory `root` and one beside it, `outside`, on one file system.
pub struct Ground {
    directory: TempDir,
    /// What is mounted, in that order.
    mounts: Vec<PathBuf>,
    pub root: PathBuf,
}

impl Ground {
    /// A directory beside the root.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.root.parent().expect("it is not the top").join(name)
    }

    /// Makes the directories; `plant` fills the root. The error says what this machine lacks.
    pub fn new(file_system: FileSystem, plant: &dyn Fn(&Path)) -> Result<Self, String> {
        // Images are kept in memory where that is possible: nobody wants them on a disk.
        let directory = match file_system {
            FileSystem::Here => tempfile::tempdir(),
            _ => tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()),
        };
        let directory = directory.expect("a temporary directory");
        let base = directory.path().join("ground");
        fs::create_dir(&base).expect("a directory");
        let mut ground = Self { directory, mounts: Vec::new(), root: PathBuf::new() };
        let at = ground.mount(file_system, &base, plant)?;
        ground.root = at.join("root");
        if !ground.root.exists() {
            fs::create_dir(&ground.root).expect("a directory");
            plant(&ground.root);
        }
        fs::create_dir(at.join("outside")).expect("a directory");
        Ok(ground)
    }

    fn mount(
        &mut self,
        file_system: FileSystem,
        base: &Path,
        plant: &dyn Fn(&Path),
    ) -> Result<PathBuf, String> {
        match file_system {
            FileSystem::Here => {}
            FileSystem::Tmpfs => self.mount_at(base, &["-t", "tmpfs", "tmpfs"])?,
            FileSystem::Ext4 => self.image(base, &["mkfs.ext4", "-q", "-F"], 64)?,
            // Inodes of this size have no room for more.
            FileSystem::CoarseExt4 => {
                self.image(base, &["mkfs.ext4", "-q", "-F", "-I", "128"], 64)?
            }
            FileSystem::Xfs => self.image(base, &["mkfs.xfs", "-q", "-m", "reflink=1"], 320)?,
            FileSystem::Btrfs => self.image(base, &["mkfs.btrfs", "-q"], 160)?,
            FileSystem::OverlayOnExt4 | FileSystem::OverlayOnTmpfs => {
                let below = match file_system {
                    FileSystem::OverlayOnTmpfs => FileSystem::Tmpfs,
                    _ => FileSystem::Ext4,
                };
                let storage = self.mount(below, base, plant)?;
                let [lower, upper, work, merged] =
                    ["lower", "upper", "work", "merged"].map(|name| storage.join(name));
                for directory in [&lower, &upper, &work, &merged] {
                    fs::create_dir(directory).expect("a directory");
                }
                fs::create_dir(lower.join("root")).expect("a directory");
                plant(&lower.join("root"));
                let options = format!(
                    "lowerdir={},upperdir={},workdir={}",
                    lower.display(),
                    upper.display(),
                    work.display()
                );
                self.mount_at(&merged, &["-t", "overlay", "-o", &options, "overlay"])?;
                return Ok(merged);
            }
        }
        Ok(base.to_owned())
    }

    fn image(&mut self, at: &Path, make: &[&str], mebibytes: u64) -> Result<(), String> {
        let image = self.directory.path().join("image");
        let file = fs::File::create(&image).expect("a file");
        file.set_len(mebibytes << 20).expect("room");
        let image = image.to_str().expect("UTF-8").to_owned();
        run(make.iter().copied().chain([image.as_str()]))?;
        self.mount_at(at, &["-o", "loop", &image])
    }

    fn mount_at(&mut self, at: &Path, arguments: &[&str]) -> Result<(), String> {
        let at_text = at.to_str().expect("UTF-8");
        run(["mount"].into_iter().chain(arguments.iter().copied()).chain([at_text]))?;
        self.mounts.push(at.to_owned());
        Ok(())
    }
}

fn run<'a>(words: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let words: Vec<&str> = words.collect();
    let output = Command::new(words[0])
        .args(&words[1..])
        .output()
        .map_err(|error| format!("{}: {error}", words[0]))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

impl Drop for Ground {
    fn drop(&mut self) {
        for mount in self.mounts.iter().rev() {
            let at = mount.to_str().expect("UTF-8");
            // Lazily: a writer that was just killed may still be in it.
            if let Err(error) = run(["umount", "-l", at].into_iter()) {
                eprintln!("{error}");
            }
        }
    }
}
