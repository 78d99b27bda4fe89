//! Where a source lands: the one decision of a COPY, pure. Links in the destination have been
//! followed already.

use snapshot::{FileKind, RootfsPath};

use crate::execute::ExecuteError;

/// Says into which directory the contents of a source directory go, when the destination leads to
/// `place`, where `found` is. It may have to be made.
///
/// # Errors
/// [`ExecuteError::DirectoryOver`] when something else is there.
pub(super) fn of_directory(
    place: &RootfsPath,
    found: Option<FileKind>,
) -> Result<RootfsPath, ExecuteError> {
    match found {
        None | Some(FileKind::Directory) => Ok(place.clone()),
        Some(found) => Err(ExecuteError::DirectoryOver { path: place.clone(), found }),
    }
}

/// Says what a source called `name` that is no directory becomes.
pub(super) fn of_file(place: &RootfsPath, found: Option<FileKind>, name: &[u8]) -> RootfsPath {
    match found {
        Some(FileKind::Directory) => place.join_name(name),
        None | Some(_) => place.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_into_directories_and_over_everything_else() {
        let place = RootfsPath::new("x").expect("a path");
        for (found, expected) in [
            (None, "x"),
            (Some(FileKind::Directory), "x/f"),
            (Some(FileKind::Regular), "x"),
            (Some(FileKind::Symlink), "x"),
            (Some(FileKind::Fifo), "x"),
        ] {
            assert_eq!(of_file(&place, found, b"f").as_bytes(), expected.as_bytes(), "{found:?}");
        }
    }

    #[test]
    fn directories_merge_with_directories_alone() {
        let place = RootfsPath::new("x").expect("a path");
        for found in [None, Some(FileKind::Directory)] {
            assert_eq!(of_directory(&place, found).expect("lands"), place, "{found:?}");
        }
        for found in [FileKind::Regular, FileKind::Symlink, FileKind::CharDevice] {
            let error = of_directory(&place, Some(found)).expect_err("refused").to_string();
            assert_eq!(
                error,
                format!("cannot copy a directory to `/x`, which is a {found} in the image")
            );
        }
    }
}
