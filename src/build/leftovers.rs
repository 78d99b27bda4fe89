//! What a build in `/` writes down for the next one in the same container, in case it is killed.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::BuildError;

/// Writes a record whole or not at all.
pub(super) fn write<T: Serialize + ?Sized>(path: &Path, record: &T) -> io::Result<()> {
    let text = serde_json::to_vec(record).map_err(io::Error::other)?;
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

/// Undoes what an earlier build has written down, where it has, and takes the record away.
///
/// # Errors
/// When the record cannot be read or removed, or with what `undo` ends with; the record then stays.
pub(super) fn settle<T: DeserializeOwned>(
    path: &Path,
    undo: impl FnOnce(T) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let failed = |source| BuildError::Record { path: path.to_owned(), source };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(source)),
    };
    match serde_json::from_slice(&text) {
        Ok(record) => undo(record)?,
        // Written by another version: nothing can be learned from it.
        Err(error) => tracing::debug!(%error, "what an earlier build left is not known"),
    }
    fs::remove_file(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_settled_once_and_stays_when_that_fails() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("record.json");
        let mut undone = Vec::new();
        let mut settle_now = |fails: bool| {
            let outcome = settle(&path, |record: Vec<u32>| {
                undone.push(record);
                let refused = || io::Error::other("refused");
                let error = BuildError::Record { path: "elsewhere".into(), source: refused() };
                if fails { Err(error) } else { Ok(()) }
            });
            outcome.map_err(|error| error.to_string())
        };
        assert_eq!(settle_now(false), Ok(()), "none was written");
        write(&path, &[1, 2][..]).expect("written");
        let error = settle_now(true).expect_err("it cannot be undone");
        assert!(error.contains("elsewhere"), "{error}");
        assert_eq!(settle_now(false), Ok(()));
        assert_eq!(settle_now(false), Ok(()), "it is gone");
        assert_eq!(undone, [vec![1, 2], vec![1, 2]]);
        let names: Vec<_> = fs::read_dir(directory.path()).expect("a listing").collect();
        assert_eq!(names.len(), 0, "{names:?}");
    }

    #[test]
    fn a_record_of_another_version_is_taken_away() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("record.json");
        fs::write(&path, "{\"version\": 9}").expect("written");
        settle(&path, |_: Vec<u32>| panic!("there is nothing to undo")).expect("settled");
        assert!(!path.exists());
    }
}
