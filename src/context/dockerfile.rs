//! Where the Dockerfile is, and which ignore file goes with it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use snapshot::{FileKind, Rootfs, RootfsPath};
use url::Url;

use super::dockerignore::IgnoreRules;
use super::error::ContextError;

/// The largest Dockerfile or ignore file that is read.
pub const MAX_TEXT_BYTES: u64 = 16 << 20;

/// The ignore file of a context whose Dockerfile has none of its own.
const IGNORE_FILE: &str = ".dockerignore";

/// Where the Dockerfile is (`--dockerfile`).
#[derive(Clone, Debug, PartialEq)]
pub enum DockerfileSource {
    /// A file, looked for at `in_current_directory` first, then at `typed` inside the context.
    File {
        /// The path as typed, perhaps relative.
        typed: PathBuf,
        /// The same path made absolute from the current directory.
        in_current_directory: PathBuf,
    },
    /// Standard input.
    Stdin,
    /// Downloaded by http(s).
    Url(Url),
}

/// A Dockerfile that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDockerfile {
    /// What to call it in messages: as the user named it.
    pub name: String,
    /// What is in it.
    pub text: Vec<u8>,
    /// Its own ignore file, which counts in place of the context's.
    pub ignore_file: Option<IgnoreFile>,
}

/// An ignore file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreFile {
    /// What to call it in messages.
    pub name: String,
    /// What is in it.
    pub text: Vec<u8>,
}

impl FoundDockerfile {
    /// Takes a text that came from elsewhere: standard input, or a download.
    pub fn from_text(name: &str, text: Vec<u8>) -> Self {
        Self { name: name.to_owned(), text, ignore_file: None }
    }
}

/// Finds a Dockerfile by path: on the host first, then in the context. With it comes the file beside
/// it of the same name and `.dockerignore` at the end. `dockerfile` does for `Dockerfile`.
///
/// # Errors
/// [`ContextError::NoDockerfile`] when it is at neither place, and when one there cannot be read.
pub fn find(typed: &Path, host: &Path, context: &Rootfs) -> Result<FoundDockerfile, ContextError> {
    let name = typed.display().to_string();
    for (typed, host) in spellings(typed, host) {
        if let Some(text) = read_host(&host)? {
            let own = read_host(&with_suffix(&host))?;
            let ignore_file = own.map(|text| ignore_file(&with_suffix(&typed), text));
            return Ok(FoundDockerfile { name, text, ignore_file });
        }
        if let Some(text) = read_context(context, &typed)? {
            let own = read_context(context, &with_suffix(&typed))?;
            let ignore_file = own.map(|text| ignore_file(&with_suffix(&typed), text));
            return Ok(FoundDockerfile { name, text, ignore_file });
        }
    }
    Err(ContextError::NoDockerfile { typed: typed.to_owned(), host: host.to_owned() })
}

/// Reads a Dockerfile by path, where there is no context.
///
/// # Errors
/// [`ContextError::NoDockerfile`] when it is not there, and when it cannot be read.
pub fn read_file(typed: &Path, host: &Path) -> Result<FoundDockerfile, ContextError> {
    match read_host(host)? {
        Some(text) => Ok(FoundDockerfile::from_text(&typed.display().to_string(), text)),
        None => Err(ContextError::NoDockerfile { typed: typed.to_owned(), host: host.to_owned() }),
    }
}

/// Reads a Dockerfile from standard input, or from whatever stands in for it.
///
/// # Errors
/// [`ContextError::ReadHost`], [`ContextError::TooLarge`].
pub fn read_stdin(stdin: impl Read) -> Result<FoundDockerfile, ContextError> {
    let text = read_limited(stdin, Path::new("-"))?;
    Ok(FoundDockerfile::from_text("-", text))
}

/// Returns the rules for a context: those of the Dockerfile's own ignore file, else of the context's
/// `.dockerignore`, else none.
///
/// # Errors
/// [`ContextError::Ignore`] with the file's name, and when it cannot be read.
pub fn ignore_rules(
    context: &Rootfs,
    own: Option<&IgnoreFile>,
) -> Result<IgnoreRules, ContextError> {
    let (name, text) = match own {
        Some(own) => (own.name.clone(), own.text.clone()),
        None => {
            let text = read_context(context, Path::new(IGNORE_FILE))?.unwrap_or_default();
            (IGNORE_FILE.to_owned(), text)
        }
    };
    IgnoreRules::read(&text).map_err(|source| ContextError::Ignore { file: name, source })
}

/// Returns the pairs of paths to try, in the context and on the host.
fn spellings(typed: &Path, host: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut spellings = vec![(typed.to_owned(), host.to_owned())];
    if typed.file_name() == Some(OsStr::new("Dockerfile")) {
        let lower = "dockerfile";
        spellings.push((typed.with_file_name(lower), host.with_file_name(lower)));
    }
    spellings
}

fn with_suffix(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(IGNORE_FILE);
    path.into()
}

fn ignore_file(path: &Path, text: Vec<u8>) -> IgnoreFile {
    IgnoreFile { name: path.display().to_string(), text }
}

/// Reads a file of the host; `None` when there is none, or a directory.
fn read_host(path: &Path) -> Result<Option<Vec<u8>>, ContextError> {
    let error = |source| ContextError::ReadHost { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) => {
            return match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
                _ => Err(error(source)),
            };
        }
    };
    if file.metadata().map_err(error)?.is_dir() {
        return Ok(None);
    }
    read_limited(file, path).map(Some)
}

fn read_limited(source: impl Read, path: &Path) -> Result<Vec<u8>, ContextError> {
    let mut text = Vec::new();
    source
        .take(MAX_TEXT_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|source| ContextError::ReadHost { path: path.to_owned(), source })?;
    if text.len() as u64 > MAX_TEXT_BYTES {
        let path = path.to_owned();
        return Err(ContextError::TooLarge { path, limit_bytes: MAX_TEXT_BYTES });
    }
    Ok(text)
}

/// Reads a file of the context, links followed inside it; `None` when there is none, or a
/// directory.
fn read_context(context: &Rootfs, path: &Path) -> Result<Option<Vec<u8>>, ContextError> {
    let path = RootfsPath::new(path.as_os_str().as_bytes())
        .map_err(|source| ContextError::Path { path: path.to_owned(), source })?;
    let resolved = context.resolve(&path).map_err(ContextError::ReadContext)?;
    let metadata = context.metadata(&resolved).map_err(ContextError::ReadContext)?;
    match metadata.map(|metadata| metadata.kind) {
        None | Some(FileKind::Directory) => Ok(None),
        Some(_) => context
            .read_file(&resolved, MAX_TEXT_BYTES)
            .map(Some)
            .map_err(ContextError::ReadContext),
    }
}

#[cfg(test)]
#[path = "dockerfile_tests.rs"]
mod tests;
