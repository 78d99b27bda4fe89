//! What `ADD` fetches: files behind URLs; and which sources are none of that.
//!
//! Pure: a source's words to what it means. Nothing is asked of any server here.

use percent_encoding::percent_decode_str;
use snapshot::{Digest, RootfsPath};
use url::Url;

use super::error::PlanErrorKind;
use super::step::Archives;

/// What a file is called whose URL names none; BuildKit's word.
const UNNAMED: &str = "__unnamed__";

/// A file behind a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Where it is: http or https; may hold secrets, so show it only redacted.
    pub url: Url,
    /// What it is called in a directory: the last part of the URL's path, one component.
    pub name: RootfsPath,
    /// What it has to be (`--checksum`).
    pub checksum: Option<Digest>,
    /// What becomes of it if it is a tar archive.
    pub archives: Archives,
}

impl RemoteFile {
    /// Reads a source that [`RemoteKind::of`] says is one; `written` is what errors name.
    pub(super) fn parse(
        source: &str,
        written: &str,
        checksum: Option<Digest>,
        archives: Archives,
    ) -> Result<Self, PlanErrorKind> {
        let url = read_url(source, written)?;
        let name = file_name(&url)?;
        Ok(Self { url, name, checksum, archives })
    }

    /// Returns the URL without what may be secret.
    pub fn shown(&self) -> String {
        shown(&self.url)
    }
}

/// Which kind of thing on a server a source names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RemoteKind {
    /// A file.
    File,
    /// A Git repository.
    Repository,
}

impl RemoteKind {
    /// Says what is meant by a source; `None`: a path.
    pub(super) fn of(source: &str) -> Option<Self> {
        let is_http = source.starts_with("http://") || source.starts_with("https://");
        let end_of_path = source.find(['#', '?']).unwrap_or(source.len());
        let is_repository = match is_http {
            true => source.get(..end_of_path).is_some_and(|path| path.ends_with(".git")),
            false => {
                source.starts_with("git://") || source.starts_with("ssh://") || is_scp_like(source)
            }
        };
        match (is_repository, is_http) {
            (true, _) => Some(Self::Repository),
            (false, true) => Some(Self::File),
            (false, false) => None,
        }
    }
}

/// Tells whether a source has ssh's form for a repository, `user@host:path`.
fn is_scp_like(source: &str) -> bool {
    let Some((user, rest)) = source.split_once('@') else { return false };
    let Some((host, _)) = rest.split_once(':') else { return false };
    let is_word = |text: &str, more: &[char]| {
        !text.is_empty()
            && text.chars().all(|rune| rune.is_ascii_alphanumeric() || more.contains(&rune))
    };
    is_word(user, &['-', '_']) && is_word(host, &['-', '.'])
}

/// Returns a source as history shows it: without the password that may be in a URL.
pub(super) fn without_password(source: &str) -> String {
    let Ok(mut url) = Url::parse(source) else { return source.to_owned() };
    if url.password().is_none() || url.set_password(None).is_err() {
        return source.to_owned();
    }
    url.to_string()
}

fn read_url(source: &str, written: &str) -> Result<Url, PlanErrorKind> {
    Url::parse(source)
        .map_err(|source| PlanErrorKind::SourceUrl { word: written.to_owned(), source })
}

/// Returns the name of the file that a URL leads to, as Go's `path.Base` of its decoded path.
fn file_name(url: &Url) -> Result<RootfsPath, PlanErrorKind> {
    let decoded: Vec<u8> = percent_decode_str(url.path()).collect();
    let last = decoded.split(|byte| *byte == b'/').rfind(|part| !part.is_empty());
    let name = match last {
        None | Some(b"." | b"..") => UNNAMED.as_bytes(),
        Some(name) => name,
    };
    RootfsPath::new(name).map_err(|source| {
        let word = String::from_utf8_lossy(name).into_owned();
        PlanErrorKind::Path { word, source }
    })
}

/// Returns a URL without names, passwords and the values of its query.
pub(super) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // Both fail only for URLs without a host, which cannot carry either.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    shown.set_query(None);
    let query = if url.query().is_some() { "?…" } else { "" };
    format!("{shown}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_called_as_their_urls_end() {
        let check = |url: &str, expected: &str| {
            let file = RemoteFile::parse(url, url, None, Archives::Copied).unwrap();
            assert_eq!(file.name.as_bytes(), expected.as_bytes(), "{url}");
        };
        check("https://h.example/a/b.tar", "b.tar");
        check("https://h.example/a/b.tar?x=/y#z", "b.tar");
        check("https://h.example/a/b/", "b");
        check("https://h.example/a%20b", "a b");
        check("https://h.example/a%2Fb", "b");
        check("https://h.example/a*", "a*");
        for url in ["https://h.example", "https://h.example/", "https://h.example//", "http://h/.."]
        {
            check(url, UNNAMED);
        }
        check("http://h/a%2F%2e%2e", UNNAMED);
        let error = RemoteFile::parse("http://h/a%00", "x", None, Archives::Copied).unwrap_err();
        assert!(matches!(error, PlanErrorKind::Path { .. }), "{error}");
        let error = RemoteFile::parse("http://", "$X", None, Archives::Copied).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the URL `$X`");
    }

    #[test]
    fn what_may_be_secret_in_a_url_is_not_shown() {
        let check = |url: &str, in_plan: &str, in_history: &str| {
            let file = RemoteFile::parse(url, url, None, Archives::Copied).unwrap();
            assert_eq!(file.shown(), in_plan);
            assert_eq!(without_password(url), in_history);
        };
        check("https://h.example/a", "https://h.example/a", "https://h.example/a");
        check("https://u:p@h.example/a", "https://h.example/a", "https://u@h.example/a");
        check("https://h/a?sig=x#y", "https://h/a?…", "https://h/a?sig=x#y");
        assert_eq!(without_password("a:b@c"), "a:b@c");
    }

    #[test]
    fn repositories_are_told_from_files_and_paths() {
        use RemoteKind::{File, Repository};
        for (source, expected) in [
            ("https://example.com/", Some(File)),
            ("https://example.com/foo.git", Some(Repository)),
            ("https://example.com/foo.git#a:b", Some(Repository)),
            ("https://example.com/foo.git?ref=a", Some(Repository)),
            ("https://example.com/foo.git/", Some(File)),
            ("https://example.com/foo.git.bar", Some(File)),
            ("http://github.com/docker/docker.git:#branch", Some(File)),
            ("git://example.com/foo", Some(Repository)),
            ("git@github.com:moby/buildkit", Some(Repository)),
            ("ssh://git@example.com/a", Some(Repository)),
            ("github.com/moby/buildkit", None),
            ("custom.xyz/moby/buildkit.git", None),
            ("./.git", None),
            (".git", None),
            ("HTTP://example.com/a", None),
        ] {
            assert_eq!(RemoteKind::of(source), expected, "{source}");
        }
    }
}
