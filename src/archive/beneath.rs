//! A tree beside a root file system, for what the root cannot show.

use snapshot::{NewDirectory, Rootfs, RootfsError, RootfsPath};

/// What an image has at places of which the disk shows something else: below mounts, and in
/// directories that the build must not touch.
///
/// A tree of its own with the same paths. Directories above such a place may be in it, as a way
/// there, and mean nothing.
#[derive(Clone, Debug)]
pub struct Beneath {
    files: Rootfs,
    covers: Vec<RootfsPath>,
}

impl Beneath {
    /// What a directory is like that is only a way.
    pub const WAY: NewDirectory = NewDirectory { mode: 0o755, uid: 0, gid: 0 };

    /// Takes `files` for what is at or below one of `covers`, none of which leads through a link.
    pub fn new(files: Rootfs, mut covers: Vec<RootfsPath>) -> Self {
        // Parents come first; what is in one that is kept is covered already.
        covers.sort();
        let mut outer: Vec<RootfsPath> = Vec::new();
        for cover in covers {
            if !outer.last().is_some_and(|last| cover.starts_with(last)) {
                outer.push(cover);
            }
        }
        Self { files, covers: outer }
    }

    /// Returns the tree.
    pub fn files(&self) -> &Rootfs {
        &self.files
    }

    /// Returns what covers `path` on disk, if something does.
    pub fn cover(&self, path: &RootfsPath) -> Option<&RootfsPath> {
        self.covers.iter().find(|cover| path.starts_with(cover))
    }

    /// Moves what is there to the same paths of `root`, where nothing covers them: on the same file
    /// system.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn move_into(&self, root: &Rootfs) -> Result<(), RootfsError> {
        for cover in &self.covers {
            let Some((parent, name)) = cover.parent().zip(cover.file_name()) else { continue };
            if self.files.metadata(cover)?.is_none() {
                continue;
            }
            root.create_dir_all(&parent, &Self::WAY)?;
            self.files.open_dir(&parent)?.rename(name, &root.open_dir(&parent)?, name)?;
        }
        Ok(())
    }
}
