//! What the last build of the same had, asked for while bases are resolved: the name of that does not
//! depend on them.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{build_key, cache_at};
use crate::build::options::CachePlace;
use crate::build::session::Session;
use crate::cache::{CacheError, Key, LookedBuild, Trust};
use crate::image::Platform;

/// The question, and its answer.
pub(in crate::build) struct Early {
    key: Key,
    asked: JoinHandle<Result<LookedBuild, CacheError>>,
}

impl Early {
    /// Asks the cache that new layers go to, if that is a registry.
    pub(in crate::build) fn ask(session: &Session<'_>) -> Option<Self> {
        let options = session.options.cache.as_ref()?;
        if session.is_single_snapshot() || matches!(options.place, CachePlace::Directory(_)) {
            return None;
        }
        let trust = match &options.signing_key {
            // What is wrong with it is said when the cache is opened.
            Some(path) => Trust::from_file(path).ok()?,
            None => Trust::Writers,
        };
        // What `FROM --platform` says may be another one; then the question was for nothing.
        let platform = match &session.options.platform {
            Some(text) => text.as_str().parse::<Platform>().ok()?,
            None => Platform::of_this_machine(),
        };
        let key = build_key(session, Some(&platform));
        let cache = cache_at(session, options, &options.place, &Arc::new(trust));
        let asked = session.runtime.spawn(async move { cache.look_build(&key).await });
        Some(Self { key, asked })
    }

    /// Returns the answer for the build `key`, if that was the question.
    pub(super) async fn answer(self, key: &Key) -> Option<Result<LookedBuild, CacheError>> {
        // One that has panicked is asked again.
        if self.key == *key { self.asked.await.ok() } else { None }
    }
}
