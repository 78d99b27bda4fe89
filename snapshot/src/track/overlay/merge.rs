//! Makes the root what the step saw.
//!
//! Files are moved over from the upper directory, directories that are new with everything in them;
//! nothing is copied. What the step moved is taken out first, deepest first, so that it does not
//! matter what took its place. Directories get their attributes and times last, from the bottom up.
//! Not atomic: after a failure the root is of no use.

use crate::metadata::FileKind;
use crate::path::RootfsPath;
use crate::rootfs::{Directory, Rootfs, RootfsError};

use super::error::OverlayError;
use super::marks;
use super::upper::{Below, UpperDirectory};

/// Where things are taken from, and to.
pub(super) struct Merge<'a> {
    pub root: &'a Rootfs,
    pub upper: &'a Rootfs,
    /// An empty directory on the same mount.
    pub aside: &'a Directory,
}

impl Merge<'_> {
    /// Takes over what is in the upper directory, which is spent afterwards.
    pub(super) fn run(&self, directories: &[UpperDirectory]) -> Result<(), OverlayError> {
        self.take_aside(directories)?;
        for directory in directories.iter().filter(|directory| directory.is_whole) {
            marks::strip(&self.upper.open_dir(&directory.path)?, b".")?;
        }
        for (place, directory) in directories.iter().enumerate() {
            if directory.is_part_of_whole(directories) {
                continue;
            }
            self.settle(place, directory)?;
            if !directory.is_whole {
                self.fill(directory)?;
            }
        }
        for directory in directories.iter().rev().filter(|directory| !directory.is_whole) {
            let from = self.upper.open_dir(&directory.path)?;
            marks::copy(&from, &self.root.open_dir(&directory.path)?, directory.mtime)?;
        }
        Ok(())
    }

    /// Takes out of the root what the step moved.
    fn take_aside(&self, directories: &[UpperDirectory]) -> Result<(), RootfsError> {
        let mut moved: Vec<(&RootfsPath, usize)> = directories
            .iter()
            .enumerate()
            .filter_map(|(place, directory)| match &directory.below {
                Below::Moved(from) => Some((from, place)),
                Below::Same | Below::Nothing => None,
            })
            .collect();
        // What is below sorts after what is above.
        moved.sort();
        for (from, place) in moved.into_iter().rev() {
            let (parent, name) = self.entry(from)?;
            parent.rename(name, self.aside, &name_aside(place))?;
        }
        Ok(())
    }

    /// Makes a directory what it has to be, without what is in it.
    fn settle(&self, place: usize, directory: &UpperDirectory) -> Result<(), RootfsError> {
        if directory.below == Below::Same {
            return Ok(());
        }
        let (parent, name) = self.entry(&directory.path)?;
        parent.remove_all(name)?;
        match directory.below {
            Below::Moved(_) => self.aside.rename(&name_aside(place), &parent, name),
            Below::Same | Below::Nothing if directory.is_whole => {
                let above = directory.path.parent().unwrap_or_default();
                self.upper.open_dir(&above)?.rename(name, &parent, name)
            }
            Below::Same | Below::Nothing => parent.create_dir(name, 0o700),
        }
    }

    /// Takes over everything in a directory but directories.
    fn fill(&self, directory: &UpperDirectory) -> Result<(), RootfsError> {
        if directory.entries.is_empty() {
            return Ok(());
        }
        let from = self.upper.open_dir(&directory.path)?;
        let to = self.root.open_dir(&directory.path)?;
        for entry in &directory.entries {
            if entry.is_gone {
                to.remove_all(&entry.name)?;
                continue;
            }
            marks::strip(&from, &entry.name)?;
            let was = to.metadata(&entry.name)?.map(|metadata| metadata.kind);
            if was == Some(FileKind::Directory) {
                to.remove_all(&entry.name)?;
            }
            // Between two names of one file this does nothing, which is right.
            from.rename(&entry.name, &to, &entry.name)?;
        }
        Ok(())
    }

    /// Opens the directory that a path of the root is in.
    fn entry<'p>(&self, path: &'p RootfsPath) -> Result<(Directory, &'p [u8]), RootfsError> {
        let parent = self.root.open_dir(&path.parent().unwrap_or_default())?;
        Ok((parent, path.file_name().unwrap_or(b".")))
    }
}

fn name_aside(place: usize) -> Vec<u8> {
    place.to_string().into_bytes()
}
