//! What `--ignore-path` and `--ignore-var-run` keep out of snapshots.

use std::sync::Arc;

use snapshot::{IgnoreList, NameRule, RootfsPath};

use super::error::BuildError;
use super::options::{SnapshotChoices, VarRun};
use crate::context::pattern::go_match;

/// Returns the list of what no snapshot looks at.
pub(super) fn ignore_list(choices: &SnapshotChoices) -> Result<IgnoreList, BuildError> {
    let mut list = IgnoreList::new();
    for path in &choices.ignored_paths {
        let path = RootfsPath::new(path)
            .map_err(|source| BuildError::IgnoredPath { path: path.clone(), source })?;
        if path.components().any(is_pattern) {
            list.insert_pattern(path.components().map(name_rule).collect());
        } else {
            list.insert(path);
        }
    }
    if choices.var_run == VarRun::Ignored {
        list.insert(RootfsPath::root().join_name(b"var").join_name(b"run"));
    }
    Ok(list)
}

/// Tells whether a component stands for more names than its own.
fn is_pattern(component: &[u8]) -> bool {
    component.iter().any(|byte| b"*?[\\".contains(byte))
}

/// Reads a component, each by itself as kaniko does.
fn name_rule(component: &[u8]) -> NameRule {
    if !is_pattern(component) {
        return NameRule::Exactly(component.to_vec());
    }
    let pattern = component.to_vec();
    // Patterns were checked when the options were read: none fails here.
    NameRule::Matching(Arc::new(move |name| go_match(&pattern, name).unwrap_or(false)))
}
