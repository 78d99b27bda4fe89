//! One build's stay in the root: who was there before, and from when to when; told to the next
//! build in the same container, which removes what that stay left.
//!
//! It is written down before the first file of a stage is, so that a build that is killed is known
//! to the next one as well. What a stay put there is found by what it cannot hide: it was not there
//! before, and the kernel last changed it (`ctime`, which nobody sets) while the build was there.
//! What somebody made or changed after it stays, and so do the directories above that.

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use snapshot::{FileKind, Metadata, RootfsError, RootfsPath, Timestamp};

use super::eviction::is_immovable;
use super::residents::Residents;
use super::{Aside, InPlace};
use crate::sandbox::SandboxError;

/// One build's stay in the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenancy {
    container: Container,
    residents: Residents,
    /// Where its stages were moved to, if that was in the root.
    aside: Option<Aside>,
    from: Time,
    /// `None` while it lasts.
    until: Option<Time>,
}

/// Seconds and nanoseconds of the kernel's real-time clock.
type Time = (i64, u32);

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

/// Returns the time of a clock: the coarse one is never ahead of a file that is written now, the
/// other never behind one that was written before.
fn now(clock: ClockId) -> Time {
    let time = clock_gettime(clock);
    (time.tv_sec, u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Tenancy {
    /// Returns who was there before.
    pub fn residents(&self) -> &Residents {
        &self.residents
    }

    /// Returns it as one that is over now.
    #[must_use]
    pub fn ended(self) -> Self {
        Self { until: Some(now(ClockId::Realtime)), ..self }
    }
}

impl InPlace {
    /// Looks who is in the root, before a stage is.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn move_in(&self) -> Result<Tenancy, SandboxError> {
        Ok(Tenancy {
            container: Container::here(self)?,
            from: now(ClockId::RealtimeCoarse),
            residents: self.survey()?,
            aside: self.aside.clone(),
            until: None,
        })
    }

    /// Removes what an earlier stay left; tells whether it was in this container at all.
    ///
    /// `last_seen` is when a build that did not come to its end was last alive, at the latest.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn clear_after(
        &self,
        tenancy: &Tenancy,
        last_seen: Timestamp,
    ) -> Result<bool, SandboxError> {
        if tenancy.container != Container::here(self)? {
            return Ok(false);
        }
        let aside = match &tenancy.aside {
            Some(aside) if aside.resident.is_inode_at(&self.root, &aside.path)? => {
                Some(&aside.path)
            }
            Some(_) | None => None,
        };
        let until = tenancy.until.unwrap_or((last_seen.seconds, last_seen.nanoseconds));
        let was_ours = |found: &Metadata| {
            let changed = (found.ctime.seconds, found.ctime.nanoseconds);
            tenancy.from <= changed && changed <= until
        };
        let mounts = self.root.mount_points()?;
        // First all are looked at: to remove one name of a file changes the time of the others, and
        // of the directory that it is in.
        let mut entered = Vec::new();
        let mut files = Vec::new();
        let mut pending = vec![RootfsPath::root()];
        while let Some(path) = pending.pop() {
            let Some(metadata) = self.root.metadata(&path)? else { continue };
            let directory = self.root.open_dir(&path)?;
            for entry in directory.entries()? {
                let inner = path.join_name(&entry.name);
                let Some(found) = directory.metadata(&entry.name)? else { continue };
                if mounts.contains(&inner)
                    || self.protected.contains(&found.inode())
                    || aside == Some(&inner)
                {
                    continue;
                }
                let known = tenancy.residents.get(&inner);
                let is_resident =
                    known.is_some_and(|known| known.is(&directory, &entry.name, &found));
                if found.kind == FileKind::Directory {
                    pending.push(inner);
                } else if !is_resident && was_ours(&found) {
                    files.push(inner);
                }
            }
            entered.push((path, metadata));
        }
        for path in aside.into_iter().chain(&files) {
            self.remove_what_may_go(path)?;
        }
        // Inner ones first: what happens in a directory moves its time.
        for (path, metadata) in entered.iter().rev().filter(|(_, found)| was_ours(found)) {
            match tenancy.residents.get(path) {
                Some(resident) if resident.is_at(&self.root, path)? => {
                    resident.restore(&self.root, path)?;
                }
                _ => self.remove_if_empty(path, metadata)?,
            }
        }
        Ok(true)
    }

    /// Removes an entry with all that is in it, but for what is protected or mounted.
    pub(super) fn remove_what_may_go(&self, path: &RootfsPath) -> Result<(), SandboxError> {
        match self.root.remove_all(path) {
            Ok(()) | Err(RootfsError::Protected { .. } | RootfsError::OnMount { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn remove_if_empty(&self, path: &RootfsPath, known: &Metadata) -> Result<(), SandboxError> {
        if self.root.metadata(path)?.map(|found| found.inode()) != Some(known.inode()) {
            return Ok(());
        }
        match self.root.remove(path) {
            Ok(()) | Err(RootfsError::Protected { .. } | RootfsError::OnMount { .. }) => Ok(()),
            Err(error) if is_immovable(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
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
