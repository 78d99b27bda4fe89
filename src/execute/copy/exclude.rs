//! `--exclude`: what of a source is not copied.
//!
//! Patterns are those of an ignore file, and count from each source: from inside of a directory, and
//! from where a file is.

use snapshot::{Rootfs, RootfsPath};

use crate::context::BuildContext;
use crate::context::dockerignore::{IgnoreRules, Verdict};
use crate::execute::ExecuteError;
use crate::plan::CopyStep;

/// What a step excludes.
pub(super) struct Excludes {
    /// `None`: nothing.
    rules: Option<IgnoreRules>,
}

/// What is left of one directory.
pub(super) struct Left {
    top: RootfsPath,
    /// `None`: all of it.
    files: Option<BuildContext>,
}

impl Excludes {
    pub(super) fn of(step: &CopyStep) -> Result<Self, ExecuteError> {
        let rules = match step.exclude.is_empty() {
            true => None,
            false => Some(IgnoreRules::new(&step.exclude).map_err(ExecuteError::Exclude)?),
        };
        Ok(Self { rules })
    }

    /// Looks what is left of a directory of a source.
    pub(super) fn below(&self, root: &Rootfs, top: &RootfsPath) -> Result<Left, ExecuteError> {
        let files = match &self.rules {
            None => None,
            Some(rules) => {
                let files = BuildContext::new(root.subtree(top)?, rules);
                Some(files.map_err(|source| ExecuteError::Excluding {
                    path: top.clone(),
                    source: Box::new(source),
                })?)
            }
        };
        Ok(Left { top: top.clone(), files })
    }

    /// Tells whether a source that is no directory is left.
    pub(super) fn keeps(&self, path: &RootfsPath) -> Result<bool, ExecuteError> {
        let Some(rules) = &self.rules else { return Ok(true) };
        let name = path.file_name().unwrap_or_default();
        let verdict = rules.walk().visit(name, false).map_err(ExecuteError::Exclude)?;
        Ok(matches!(verdict, Verdict::Kept { .. }))
    }
}

impl Left {
    /// Tells whether `path`, which is in the directory, is left.
    pub(super) fn keeps(&self, path: &RootfsPath) -> bool {
        let Some(files) = &self.files else { return true };
        let depth = self.top.components().count();
        let below = path.components().skip(depth);
        files.contains(&below.fold(RootfsPath::root(), |path, name| path.join_name(name)))
    }
}
