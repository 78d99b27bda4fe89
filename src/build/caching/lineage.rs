//! What the commands of a stage have made, as far as it is known.
//!
//! Steps that make the same of the same (a COPY of the context, a WORKDIR) are not in it: what is
//! before and after them goes together, be they cached or made anew.

use super::keys::Keys;
use crate::cache::{Key, KeyWriter};
use crate::image::Layer;
use crate::plan::{Step, StepKind};

/// For each stage, what its commands have made, as one value.
#[derive(Clone)]
pub(super) struct Lineage {
    stages: Vec<Option<Key>>,
}

impl Lineage {
    pub(super) fn new(keys: &Keys<'_>) -> Self {
        Self { stages: vec![None; keys.stage_count()] }
    }

    /// Starts a stage: from its base's files, or from another stage with all that its commands have
    /// made.
    pub(super) fn begin(&mut self, keys: &Keys<'_>, position: usize) {
        let start = match keys.base_stage(position) {
            Some(base) => self.of(base).copied(),
            None => keys.base(position).copied(),
        };
        self.set(position, start);
    }

    /// Returns what the commands of a stage have made so far.
    pub(super) fn of(&self, position: usize) -> Option<&Key> {
        self.stages.get(position)?.as_ref()
    }

    /// Begins a step: what it takes from other stages is theirs.
    pub(super) fn enter(&mut self, position: usize, step: &Step) {
        for source in step.source_stages() {
            let next = self.of(position).zip(self.of(source)).map(|(before, source)| {
                let mut writer = KeyWriter::new("lineage of a copy");
                writer.key("before", before);
                writer.key("source", source);
                writer.finish()
            });
            self.set(position, next);
        }
    }

    /// Ends a step.
    pub(super) fn made(&mut self, position: usize, step: &Step, key: &Key, layer: Option<&Layer>) {
        if !matches!(step.kind, StepKind::Run(_)) {
            return;
        }
        let next = self.of(position).map(|before| {
            let mut writer = KeyWriter::new("lineage of a command");
            writer.key("before", before);
            writer.key("key", key);
            writer.list("layers", usize::from(layer.is_some()));
            if let Some(layer) = layer {
                writer.digest("diff id", &layer.diff_id);
            }
            writer.finish()
        });
        self.set(position, next);
    }

    /// Notes what the commands of a stage have made, which was found out before.
    pub(super) fn set(&mut self, position: usize, key: Option<Key>) {
        if let Some(stage) = self.stages.get_mut(position) {
            *stage = key;
        }
    }
}
