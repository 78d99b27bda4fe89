//! Whether what steps read of contexts is what their keys were made of.
//!
//! Keys are found out before the first step, or after the step, where nobody has asked before. A file
//! that changes between that and the copy of it would put other files into the cache under the key of
//! these, for everybody who has these. So each reading is compared with the one for the key; where they
//! differ, the image is what was copied, and nothing that is made from then on is stored. What is
//! compared is what `statx` says, as a tracker does: on tmpfs, a store to a mapped file is seen by nobody.

use jiff::Timestamp;
use snapshot::RootfsPath;

use super::Caching;
use super::keys::Place;
use super::reading::{Reading, Reads, context_of, reads_context};
use crate::execute::{Watch, look};
use crate::plan::{Step, StepKind};
use crate::report::event::Event;

impl Caching<'_> {
    /// Returns what is to watch the next reading of a context; `None` where that makes no difference.
    pub(in crate::build) fn watch(&self) -> Option<Watch> {
        let matters = self.pushes.is_some() || self.writes_deltas();
        let matters = matters && self.changed.first().is_none();
        matters.then(|| self.keys.watch(&self.changed))
    }

    /// Tells whether the key of a step is found out after it.
    pub(in crate::build) fn asks_later(&self, place: Place) -> bool {
        self.keys.is_open(place)
    }

    /// Compares what a step has read of a context, from `began` on, with what its key was made of, or
    /// will be.
    pub(in crate::build) fn has_read(&self, place: Place, began: Timestamp, watch: &Watch) {
        self.keys.has_read(place, Reading { seen: watch.take(), began });
    }

    /// Finds out the key of a step before it, if it shows files of a context to a command: what that
    /// has read is not known after it.
    pub(in crate::build) fn begin_step(&self, position: usize, number: usize, step: &Step) {
        let is_shown = || matches!(step.kind, StepKind::Run(_)) && reads_context(step);
        if self.is_lazy && is_shown() && self.stores_more() {
            self.keys.step(position, number);
        }
    }

    /// Tells whether anything that is made from now on may be stored.
    pub(super) fn stores_more(&self) -> bool {
        self.pushes.is_some() && !self.has_seen_changes()
    }

    /// Tells whether some file is known to have changed since it was read for a key: then what is known
    /// of its content is of no use.
    pub(super) fn has_seen_changes(&self) -> bool {
        self.keys.misread().is_some() || self.changed.first().is_some()
    }

    /// Tells whether all that steps have read so far, this one among them, is what their keys were
    /// made of; says so where it is not, once.
    pub(super) fn is_as_keyed(&self, place: Place, step: &Step) -> bool {
        if self.is_other(place, step) && self.changed.first().is_none() {
            let file = self.keys.first_change(self.session, place, step).ok().flatten();
            let path = file.and_then(|file| RootfsPath::new(file.trim_end_matches('/')).ok());
            self.changed.note(&path.unwrap_or_default());
        }
        let Some(path) = self.changed.first() else { return true };
        if !self.is_change_told.replace(true) {
            let what = match path.is_root() {
                true => "a file of the context".to_owned(),
                false => format!("`{}`", path.to_string().trim_start_matches('/')),
            };
            let text = format!(
                "{what} changed after it was read for the layer cache: the image has what was \
                 copied, and nothing more of this build is stored in the cache"
            );
            self.session.events.send(Event::Warning { text });
        }
        false
    }

    /// Tells whether a step has read something else than its key was made of. What a command was shown
    /// is looked at again for that; what had only just changed when it was read for the key is read
    /// again, because another change may have the same time.
    fn is_other(&self, place: Place, step: &Step) -> bool {
        if self.keys.misread().is_some() {
            return true;
        }
        let (Some(reading), Some(watch)) = (self.keys.reading(place), self.watch()) else {
            return false;
        };
        if matches!(step.kind, StepKind::Run(_)) {
            let mut looks = Reads::of_step(step).into_iter().map(|reads| {
                let Some(context) = context_of(self.session, &reads.copy.from) else { return true };
                let keeps = |path: &RootfsPath| context.contains(path);
                look(&reads.copy, &reads.source(context, &keeps).watched_by(&watch)).is_ok()
            });
            if !looks.all(|is_there| is_there) || watch.take().sum != reading.seen.sum {
                return true;
            }
        }
        let first_change = || self.keys.first_change(self.session, place, step);
        reading.is_fresh() && !matches!(first_change(), Ok(None))
    }
}
