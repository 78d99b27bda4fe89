//! What a token must allow; pure.

use std::collections::{BTreeMap, BTreeSet};

/// Resources and the actions wanted on them, as in `repository:name:pull,push`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Scopes {
    /// `type:name` and its actions. A scope that does not parse is kept whole, without actions.
    wanted: BTreeMap<String, BTreeSet<String>>,
}

impl Scopes {
    /// Wants `actions` (comma-separated) on a repository.
    pub(super) fn repository(name: &str, actions: &str) -> Self {
        let mut scopes = Self::default();
        scopes.add(&format!("repository:{name}:{actions}"));
        scopes
    }

    /// Returns these scopes and `other`'s.
    pub(super) fn and(mut self, other: &Self) -> Self {
        for (resource, actions) in &other.wanted {
            self.wanted.entry(resource.clone()).or_default().extend(actions.iter().cloned());
        }
        self
    }

    /// Returns these scopes and those of a challenge, which are separated by spaces.
    pub(super) fn and_challenge(mut self, text: Option<&str>) -> Self {
        for scope in text.unwrap_or_default().split_ascii_whitespace() {
            self.add(scope);
        }
        self
    }

    /// Returns each scope as it is written in a token request, sorted.
    pub(super) fn texts(&self) -> Vec<String> {
        self.wanted
            .iter()
            .map(|(resource, actions)| {
                if actions.is_empty() {
                    return resource.clone();
                }
                let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
                format!("{resource}:{}", actions.join(","))
            })
            .collect()
    }

    fn add(&mut self, scope: &str) {
        // The name may hold colons (a registry's port), so the actions follow the last one.
        match scope.rsplit_once(':') {
            Some((resource, actions)) if resource.contains(':') => {
                let wanted = self.wanted.entry(resource.to_owned()).or_default();
                wanted.extend(
                    actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned),
                );
            }
            _ => {
                self.wanted.entry(scope.to_owned()).or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_of_one_resource_are_merged() {
        let scopes = Scopes::repository("a/b", "push,pull")
            .and(&Scopes::repository("c", "pull"))
            .and_challenge(Some("repository:a/b:pull,delete registry:catalog:* odd"));
        assert_eq!(
            scopes.texts(),
            ["odd", "registry:catalog:*", "repository:a/b:delete,pull,push", "repository:c:pull"]
        );
        let same = Scopes::repository("a", "pull").and_challenge(Some("repository:a:pull"));
        assert_eq!(same, Scopes::repository("a", "pull").and_challenge(None));
    }
}
