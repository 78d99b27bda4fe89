//! Why the cache has not what a step makes.

use super::Caching;
use crate::cache::BuildParts;
use crate::plan::PlannedStage;

impl Caching<'_> {
    /// Says what is different since the last build of the same, where that is known:
    /// `` `src/main.rs` changed (line 4) ``.
    pub(super) fn why_missed(
        &self,
        stage: &PlannedStage,
        position: usize,
        number: usize,
    ) -> Option<String> {
        let before = self.last_parts()?;
        if self.keys.is_in(before, position, number) {
            return Some("nothing changed, and its entry is gone or cannot be used".to_owned());
        }
        let (began, changes) = self.keys.changes(before, position, number)?;
        let step = began.filter(|began| *began != number).and_then(|began| stage.steps.get(began));
        let line = step.and_then(|step| self.session.dockerfile.line_of(step));
        Some(match line {
            Some(line) => format!("{changes} (line {line})"),
            None => changes,
        })
    }

    /// Returns what the steps of the last build were made of.
    pub(super) fn last_parts(&self) -> Option<&BuildParts> {
        let fetch = || {
            let last = self.last.borrow();
            let (number, record) = last.as_ref()?;
            let cache = self.caches.get(*number)?;
            match self.waited(cache.parts(record))? {
                Ok(parts) => Some(parts),
                Err(error) => {
                    tracing::debug!(%error, "what the last build was made of is not known");
                    None
                }
            }
        };
        self.last_parts.get_or_init(fetch).as_ref()
    }
}
