//! What a snapshot does not look at.
//!
//! Owns the list; what is on it is neither added nor removed, whatever the index says.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::metadata::InodeId;
use crate::path::RootfsPath;

/// Paths and directories that a snapshot leaves out, each with everything below it.
#[derive(Debug, Clone, Default)]
pub struct IgnoreList {
    paths: BTreeSet<RootfsPath>,
    patterns: Vec<Vec<NameRule>>,
    inodes: HashSet<InodeId>,
}

/// Says whether a name is meant.
pub type NamePredicate = dyn Fn(&[u8]) -> bool + Send + Sync;

/// Which names one component of an ignored path stands for.
#[derive(Clone)]
pub enum NameRule {
    /// This name alone.
    Exactly(Vec<u8>),
    /// Every name that the function says yes to; the caller knows the pattern's language.
    Matching(Arc<NamePredicate>),
}

impl NameRule {
    /// Tells whether it stands for `name`.
    pub fn takes(&self, name: &[u8]) -> bool {
        match self {
            Self::Exactly(exactly) => exactly == name,
            Self::Matching(takes) => takes(name),
        }
    }
}

impl fmt::Debug for NameRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(name) => write!(formatter, "Exactly({})", name.escape_ascii()),
            Self::Matching(_) => formatter.write_str("Matching(_)"),
        }
    }
}

impl IgnoreList {
    /// Returns an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out `path` and everything below it.
    pub fn insert(&mut self, path: RootfsPath) {
        self.paths.insert(path);
    }

    /// Leaves out every path whose components the rules take one by one, and everything below it.
    /// No rules at all leave out nothing.
    pub fn insert_pattern(&mut self, components: Vec<NameRule>) {
        if !components.is_empty() {
            self.patterns.push(components);
        }
    }

    /// Leaves out a directory and everything below it, wherever it is.
    pub fn insert_inode(&mut self, inode: InodeId) {
        self.inodes.insert(inode);
    }

    /// Tells whether `path`, or a directory above it, was left out by its path.
    pub fn contains(&self, path: &RootfsPath) -> bool {
        self.paths.contains(path)
            || path.ancestors().any(|above| self.paths.contains(&above))
            || self
                .patterns
                .iter()
                .any(|pattern| rest_of(pattern, path).is_some_and(<[_]>::is_empty))
    }

    /// Tells whether the inode was left out.
    pub(crate) fn contains_inode(&self, inode: InodeId) -> bool {
        self.inodes.contains(&inode)
    }

    /// Returns which names in `directory` are left out by their path.
    pub(crate) fn rules_in(&self, directory: &RootfsPath) -> Vec<NameRule> {
        let literal = self
            .paths
            .range(directory..)
            .take_while(|path| path.starts_with(directory))
            .filter(|path| {
                path.split_last().is_some_and(|(parent, _)| parent == directory.as_bytes())
            })
            .filter_map(|path| path.file_name().map(|name| NameRule::Exactly(name.to_vec())));
        let depth = directory.components().count();
        let patterns =
            self.patterns.iter().filter_map(|pattern| match pattern.split_at_checked(depth) {
                Some((above, [last])) if rest_of(above, directory).is_some() => Some(last.clone()),
                _ => None,
            });
        literal.chain(patterns).collect()
    }
}

/// Matches the rules one by one with the first components of `path`; returns the rules behind the
/// path's last component (none where the path goes on), or `None` where one does not match.
fn rest_of<'r>(rules: &'r [NameRule], path: &RootfsPath) -> Option<&'r [NameRule]> {
    let mut rest = rules;
    for name in path.components() {
        let Some((rule, behind)) = rest.split_first() else { break };
        if !rule.takes(name) {
            return None;
        }
        rest = behind;
    }
    Some(rest)
}

impl FromIterator<RootfsPath> for IgnoreList {
    fn from_iter<I: IntoIterator<Item = RootfsPath>>(paths: I) -> Self {
        Self { paths: paths.into_iter().collect(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RootfsPath {
        RootfsPath::new(text).expect("valid")
    }

    fn left_out(list: &IgnoreList, directory: &str, names: &[&str]) -> Vec<bool> {
        let rules = list.rules_in(&path(directory));
        names.iter().map(|name| rules.iter().any(|rule| rule.takes(name.as_bytes()))).collect()
    }

    #[test]
    fn a_path_is_left_out_with_what_is_below() {
        let list: IgnoreList = ["proc", "var/run", "var/lib/x"].map(path).into_iter().collect();
        for (text, expected) in
            [("proc", true), ("proc/1/fd", true), ("process", false), ("var", false), ("", false)]
        {
            assert_eq!(list.contains(&path(text)), expected, "{text}");
        }
        assert_eq!(left_out(&list, "var", &["run", "lib", "x"]), [true, false, false]);
        assert_eq!(left_out(&list, "", &["proc", "var"]), [true, false]);
        assert_eq!(left_out(&list, "usr", &["run"]), [false]);
        assert!(IgnoreList::from_iter([path("")]).contains(&path("anything")));
    }

    #[test]
    fn a_pattern_takes_component_by_component() {
        let mut list = IgnoreList::new();
        list.insert_pattern(Vec::new());
        list.insert_pattern(vec![
            NameRule::Exactly(b"home".to_vec()),
            NameRule::Matching(Arc::new(|name| name.starts_with(b"u"))),
            NameRule::Exactly(b"cache".to_vec()),
        ]);
        for (text, expected) in [
            ("home/u1/cache", true),
            ("home/u1/cache/deep/er", true),
            ("home/u1", false),
            ("home/v1/cache", false),
            ("home/u1/caches", false),
            ("u1/cache", false),
            ("", false),
        ] {
            assert_eq!(list.contains(&path(text)), expected, "{text}");
        }
        assert_eq!(left_out(&list, "home/u2", &["cache", "other"]), [true, false]);
        assert_eq!(left_out(&list, "home/v2", &["cache"]), [false]);
        assert_eq!(left_out(&list, "home", &["u1"]), [false]);
        assert_eq!(left_out(&list, "home/u2/cache", &["cache"]), [false]);
    }
}
