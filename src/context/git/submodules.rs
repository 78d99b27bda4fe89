//! What `.gitmodules` says, and where a submodule is. Pure.

use std::collections::BTreeMap;

use snapshot::RootfsPath;
use url::Url;

use super::error::GitError;

/// Why a submodule is not fetched.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Its URL cannot be read.
    Url,
    /// It is reached by something else than http(s).
    Scheme(String),
}

impl Problem {
    pub(super) fn at(self, path: &RootfsPath) -> GitError {
        let path = path.to_string();
        match self {
            Self::Url => GitError::SubmoduleUrl { path },
            Self::Scheme(scheme) => GitError::SubmoduleScheme { path, scheme },
        }
    }
}

/// Returns the URLs of submodules by path, as they are written.
pub(super) fn read(text: Option<&[u8]>) -> Result<BTreeMap<Vec<u8>, String>, GitError> {
    let mut urls = BTreeMap::new();
    let Some(text) = text else { return Ok(urls) };
    let text = std::str::from_utf8(text).map_err(|_| GitError::Modules)?;
    let file = gix_config::File::try_from(text).map_err(|_| GitError::Modules)?;
    for section in file.sections_by_name("submodule").into_iter().flatten() {
        if let (Some(path), Some(url)) = (section.value("path"), section.value("url")) {
            let path = path.to_vec();
            let path = path.strip_suffix(b"/").unwrap_or(&path).to_vec();
            urls.insert(path, url.to_string());
        }
    }
    Ok(urls)
}

/// Returns where a submodule is: relative to the repository it is part of where it says so. What
/// was fetched by https leads to nothing else.
pub(super) fn resolve(parent: &Url, text: &str) -> Result<Url, Problem> {
    let url = if text.starts_with("./") || text.starts_with("../") {
        // What it is relative to is the repository, not the directory that holds it.
        let mut base = parent.clone();
        base.set_query(None);
        base.set_path(&format!("{}/", parent.path().trim_end_matches('/')));
        base.join(text).map_err(|_| Problem::Url)?
    } else if text.contains("://") {
        Url::parse(text).map_err(|_| Problem::Url)?
    } else if text.contains(':') {
        return Err(Problem::Scheme("ssh".to_owned()));
    } else {
        return Err(Problem::Scheme("file".to_owned()));
    };
    let is_allowed = match url.scheme() {
        "https" => true,
        "http" => parent.scheme() == "http",
        _ => false,
    };
    match is_allowed && url.host().is_some() {
        true => Ok(url),
        false => Err(Problem::Scheme(url.scheme().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_relative_to_the_repository_and_never_leave_https() {
        let check = |parent: &str, text: &str, expected: Result<&str, Problem>| {
            let found = resolve(&Url::parse(parent).unwrap(), text).map(String::from);
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        };
        let scheme = |name: &str| Err(Problem::Scheme(name.to_owned()));
        let parent = "https://git.example/org/app.git";
        check(parent, "../lib.git", Ok("https://git.example/org/lib.git"));
        check(parent, "../../other/lib", Ok("https://git.example/other/lib"));
        check(parent, "./inner", Ok("https://git.example/org/app.git/inner"));
        check(parent, "https://other.example/x.git", Ok("https://other.example/x.git"));
        check("http://h/a", "http://h/b", Ok("http://h/b"));
        check(parent, "http://git.example/x", scheme("http"));
        check(parent, "git@git.example:org/x.git", scheme("ssh"));
        check(parent, "ssh://git.example/x", scheme("ssh"));
        check(parent, "file:///etc", scheme("file"));
        check(parent, "/srv/x", scheme("file"));
        check(parent, "git://git.example/x", scheme("git"));
        check(parent, "https://[bad/", Err(Problem::Url));
    }

    #[test]
    fn the_file_is_read_as_git_reads_it() {
        let text =
            b"# comment\n[submodule \"lib\"]\n\tpath = vendor/lib/\n\turl = \"../lib.git\" ; x\n\
                     [submodule \"no-url\"]\n path = a\n[other]\n path = b\n url = c\n";
        let expected = BTreeMap::from([(b"vendor/lib".to_vec(), "../lib.git".to_owned())]);
        assert_eq!(read(Some(text)).unwrap(), expected);
        assert_eq!(read(None).unwrap(), BTreeMap::new());
        assert!(matches!(read(Some(b"[submodule")), Err(GitError::Modules)));
    }
}
