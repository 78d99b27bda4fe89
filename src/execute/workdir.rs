//! WORKDIR: the directory and whatever is missing above it.

use snapshot::{NewDirectory, RootfsPath};

use super::ExecuteError;
use super::copy::Target;
use super::identity::{read_database, working_dir_ownership};
use crate::plan::WorkdirStep;

/// Makes what is missing of a working directory and returns what was made: all of it mode 0755 and
/// owned by the step's user; what exists stays as it is. Links are followed inside the root.
///
/// # Errors
/// [`ExecuteError::NotADirectory`] when something else is in the way.
pub fn make_working_dir<'a>(
    target: impl Into<Target<'a>>,
    step: &WorkdirStep,
) -> Result<Vec<RootfsPath>, ExecuteError> {
    let target = target.into();
    let owner = working_dir_ownership(&step.user, &read_database(target.root())?);
    let new = NewDirectory { mode: 0o755, uid: owner.uid, gid: owner.gid };
    target.make_directories(&step.path, &new)
}
