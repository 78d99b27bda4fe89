//! What a build leaves in the root when it ends, told to the next build in the same container.

use serde::{Deserialize, Serialize};
use snapshot::{RootfsError, RootfsPath};

use super::InPlace;
use super::residents::Resident;
use crate::sandbox::SandboxError;

/// What to remove before the next build, and what to put back.
///
/// Only for the container it was made in: each entry is found again by path, inode and birth time,
/// and the whole of it counts only where the root and process 1 are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftovers {
    container: Container,
    removed: Vec<(Vec<u8>, Resident)>,
    restored: Vec<(Vec<u8>, Resident)>,
}

/// Tells one run of a container from every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Container {
    boot: String,
    /// When process 1 was started, in the kernel's ticks.
    start: Option<u64>,
    root: (u64, u64),
}

impl Container {
    fn here(place: &InPlace) -> Result<Self, SandboxError> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let root = place.root.metadata(&RootfsPath::root())?.ok_or(SandboxError::RootGone)?;
        Ok(Self {
            boot: read("/proc/sys/kernel/random/boot_id").trim().to_owned(),
            start: start_time(&read("/proc/1/stat")),
            root: (root.dev, root.ino),
        })
    }
}

/// Reads the 22nd field, counted after the name, which may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

impl Leftovers {
    pub(super) fn new(place: &InPlace) -> Result<Self, SandboxError> {
        let container = Container::here(place)?;
        Ok(Self { container, removed: Vec::new(), restored: Vec::new() })
    }

    pub(super) fn remove(&mut self, path: &RootfsPath, entry: Resident) {
        self.removed.push((path.as_bytes().to_vec(), entry));
    }

    pub(super) fn restore(&mut self, path: &RootfsPath, entry: Resident) {
        self.restored.push((path.as_bytes().to_vec(), entry));
    }
}

impl InPlace {
    /// Removes what an earlier build left, where it is still what that build left; tells whether
    /// it was left in this container at all.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_leftovers(&self, leftovers: &Leftovers) -> Result<bool, SandboxError> {
        if leftovers.container != Container::here(self)? {
            return Ok(false);
        }
        for (path, entry) in &leftovers.removed {
            let path = RootfsPath::new(path)?;
            if self.is_still(&path, entry)? {
                match self.root.remove_all(&path) {
                    // What is protected or mounted now stays, with what is above it.
                    Ok(()) | Err(RootfsError::Protected { .. } | RootfsError::OnMount { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        // Inner ones first: what happens in a directory moves its time.
        for (path, entry) in leftovers.restored.iter().rev() {
            let path = RootfsPath::new(path)?;
            if self.is_still(&path, entry)? {
                entry.restore(&self.root, &path)?;
            }
        }
        Ok(true)
    }

    fn is_still(&self, path: &RootfsPath, entry: &Resident) -> Result<bool, SandboxError> {
        let Some(found) = self.root.metadata(path)? else { return Ok(false) };
        let parent = path.parent().unwrap_or_else(RootfsPath::root);
        let directory = self.root.open_dir(&parent)?;
        Ok(entry.is(&directory, path.file_name().unwrap_or(b"."), &found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let rest = "S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99";
        assert_eq!(start_time(&format!("1 (init) {rest}")), Some(4711));
        assert_eq!(start_time(&format!("1 (a) b) {rest}")), Some(4711));
        assert_eq!(start_time("1 (init) S 0"), None);
        assert_eq!(start_time(""), None);
    }
}
