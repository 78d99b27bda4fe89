//! Secrets that a build is given for its commands: read once, at the start, and kept in memory.
//!
//! At the start, because a build in `/` unpacks its base over the files that they are in.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::options::{BuildOptions, SecretPlace};
use crate::secret::SecretBytes;

/// The largest secret; BuildKit's.
const LIMIT_BYTES: u64 = 500 << 10;

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A file that `--secret` names cannot be read.
    #[error("cannot read the secret `{id}` from `{}`", path.display())]
    File {
        /// The secret's id.
        id: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A secret is larger than any can be.
    #[error("the secret `{id}` has more than {limit_bytes} bytes")]
    Size {
        /// The secret's id.
        id: String,
        /// The largest size.
        limit_bytes: u64,
    },
}

/// Reads every secret, by id; a later one of the same id wins.
pub(super) fn read(options: &BuildOptions) -> Result<BTreeMap<String, SecretBytes>, SecretError> {
    let mut secrets = BTreeMap::new();
    for secret in &options.secrets {
        let content = match &secret.place {
            SecretPlace::Value(value) => value.clone(),
            SecretPlace::File(path) => read_file(&secret.id, path)?,
        };
        if content.expose().len() as u64 > LIMIT_BYTES {
            return Err(SecretError::Size { id: secret.id.clone(), limit_bytes: LIMIT_BYTES });
        }
        secrets.insert(secret.id.clone(), content);
    }
    Ok(secrets)
}

fn read_file(id: &str, path: &Path) -> Result<SecretBytes, SecretError> {
    let mut content = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(LIMIT_BYTES + 1).read_to_end(&mut content));
    match read {
        Ok(_) => Ok(SecretBytes::new(content)),
        Err(source) => Err(SecretError::File { id: id.to_owned(), path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, b"\xffbinary\n").unwrap();
        assert_eq!(read_file("a", &path).unwrap().expose(), b"\xffbinary\n");
        let error = read_file("a", &folder.path().join("none")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the secret `a` from `"), "{error}");
    }
}
