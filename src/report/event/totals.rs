//! What all snapshots of a build took together. Pure.

use std::collections::BTreeMap;

use super::SnapshotWork;

/// Sums over the snapshots that had to find out what a command changed; where a step says itself
/// what it wrote, there is nothing to find out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotTotals {
    /// How many there were.
    pub snapshot_count: u64,
    /// How many of them a tracker narrowed down.
    pub tracked_count: u64,
    /// Paths that differed.
    pub changed_count: u64,
    /// Paths that the roots held, each time.
    pub known_count: u64,
    /// Entries that were looked at.
    pub examined_count: u64,
    /// Files that were opened to read them.
    pub opened_count: u64,
    /// Bytes read for hashing.
    pub hashed_bytes: u64,
    /// How often a record was not relied upon, by the reason.
    pub fallbacks: BTreeMap<String, u64>,
}

impl SnapshotTotals {
    /// Adds one snapshot's work.
    pub fn add(&mut self, work: &SnapshotWork) {
        if work.tracker.is_none() {
            return;
        }
        self.snapshot_count += 1;
        self.tracked_count += u64::from(work.is_tracked);
        for (total, count) in [
            (&mut self.changed_count, work.changed_count),
            (&mut self.known_count, work.known_count),
            (&mut self.examined_count, work.examined_count),
            (&mut self.opened_count, work.opened_count),
            (&mut self.hashed_bytes, work.hashed_bytes),
        ] {
            *total = total.saturating_add(count);
        }
        if let Some(reason) = &work.fallback {
            *self.fallbacks.entry(reason.clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_that_had_something_to_find_out_are_added_up() {
        let work = |tracker: Option<&str>, is_tracked, fallback: Option<&str>| SnapshotWork {
            changed_count: 1,
            tracker: tracker.map(str::to_owned),
            is_tracked,
            fallback: fallback.map(str::to_owned),
            known_count: 100,
            examined_count: 7,
            opened_count: 3,
            hashed_bytes: u64::MAX,
            ..SnapshotWork::default()
        };
        let mut totals = SnapshotTotals::default();
        for work in [
            work(None, false, None),
            work(Some("inotify"), true, None),
            work(Some("walk"), false, Some("the event queue overflowed")),
            work(Some("walk"), false, Some("the event queue overflowed")),
            work(Some("walk"), false, None),
        ] {
            totals.add(&work);
        }
        let expected = SnapshotTotals {
            snapshot_count: 4,
            tracked_count: 1,
            changed_count: 4,
            known_count: 400,
            examined_count: 28,
            opened_count: 12,
            hashed_bytes: u64::MAX,
            fallbacks: [("the event queue overflowed".to_owned(), 2)].into(),
        };
        assert_eq!(totals, expected);
    }
}
