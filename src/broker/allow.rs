//! What may be asked for; pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::image::Reference;
use crate::registry::{RegistryHost, Repository};

use super::ask::{Ask, Right};
use super::refusal::Refused;

/// The repositories that may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    pull: BTreeSet<Repository>,
    /// With the tags that may be written; all of them where none is named.
    push: BTreeMap<Repository, BTreeSet<String>>,
}

impl Allowed {
    /// Allows reading and writing the repositories in `push`, and reading those in `pull`. Where a
    /// reference in `push` was written with a tag, only that tag and those of its other references
    /// are written.
    pub fn new(pull: &[Reference], push: &[(Reference, Option<String>)]) -> Self {
        let pull = pull.iter().map(Repository::of).collect();
        let mut allowed = Self { pull, push: BTreeMap::new() };
        let mut open = BTreeSet::new();
        for (reference, tag) in push {
            let repository = Repository::of(reference);
            let tags = allowed.push.entry(repository.clone()).or_default();
            match tag {
                Some(tag) => drop(tags.insert(tag.clone())),
                None => drop(open.insert(repository)),
            }
        }
        for repository in open {
            allowed.push.insert(repository, BTreeSet::new());
        }
        allowed
    }

    /// Returns whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.pull.is_empty() && self.push.is_empty()
    }

    /// Returns the repository that `ask` is about.
    ///
    /// # Errors
    /// When it, or another one that the request names, may not be used so.
    pub(super) fn check(&self, host: &str, ask: &Ask) -> Result<Repository, Refused> {
        let host = RegistryHost::new(host);
        let repository = Repository { host: host.clone(), name: ask.repository.clone() };
        let tags = self.push.get(&repository);
        let is_readable = |one: &Repository| self.pull.contains(one) || self.push.contains_key(one);
        match ask.right() {
            Right::Read if is_readable(&repository) => Ok(repository),
            Right::Read => Err(Refused::denied("reads of", &repository)),
            Right::Write => {
                let Some(tags) = tags else {
                    return Err(Refused::denied("writes to", &repository));
                };
                if let Some(tag) = ask.written_tag()
                    && !tags.is_empty()
                    && !tags.contains(tag)
                {
                    return Err(Refused::denied("writes of this tag to", &repository));
                }
                if let Some(from) = ask.mounted_from() {
                    let from = Repository { host, name: from.to_owned() };
                    if !is_readable(&from) {
                        return Err(Refused::denied("reads of", &from));
                    }
                }
                Ok(repository)
            }
        }
    }
}
