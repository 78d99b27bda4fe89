//! Git repositories that `ADD` fetches: what their URLs say.
//!
//! Pure, as [`super::remote`]. The words are BuildKit's: `#REFERENCE:DIRECTORY`, or the same in a
//! query.

use percent_encoding::percent_decode_str;
use snapshot::RootfsPath;
use url::Url;

use super::remote::shown;

/// Digits of a commit's id.
const ID_DIGITS: usize = 40;

/// A Git repository, and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRepository {
    /// Where it is: http or https; may hold secrets, so show it only redacted.
    pub url: Url,
    /// A branch, a tag, another reference or a commit; `None`: what the server names as its own.
    pub reference: Option<String>,
    /// The directory of it that is added.
    pub directory: RootfsPath,
    /// How the id of the commit, or of the annotated tag, begins (`--checksum`); in lower case.
    pub checksum: Option<String>,
    /// What becomes of `.git`.
    pub git_directory: GitDirectory,
    /// What becomes of submodules.
    pub submodules: AddedSubmodules,
}

/// What becomes of the `.git` of a repository that is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitDirectory {
    /// It is left out.
    LeftOut,
    /// It is added too, where all of the repository is.
    Kept,
}

/// What becomes of the submodules of a repository that is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddedSubmodules {
    /// They are fetched, and theirs too.
    Fetched,
    /// Each is an empty directory.
    Empty,
}

/// Why the URL of a repository cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// It is no URL.
    #[error(transparent)]
    Url(#[from] url::ParseError),
    /// It is reached in a way that is not supported.
    #[error("only https and http are supported")]
    Way,
    /// A setting has two values.
    #[error("there are two values for `{0}`")]
    Conflict(&'static str),
    /// A setting that does not exist.
    #[error("there is no setting `{0}`")]
    Unknown(String),
    /// A setting has a value that it cannot have.
    #[error("`{name}` cannot be `{value}`")]
    Value {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
    },
    /// The name of a branch, tag or reference that none can have.
    #[error("no branch, tag or commit can be called `{0}`")]
    Reference(String),
    /// The checksum is no commit.
    #[error("the checksum `{0}` is not the hexadecimal id of a commit")]
    Checksum(String),
    /// The directory cannot be a path.
    #[error("the directory cannot be a path")]
    Directory(#[source] snapshot::PathError),
}

/// What flags say of a repository.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RepositoryFlags<'a> {
    pub(super) checksum: Option<&'a str>,
    pub(super) keep_git_directory: Option<bool>,
}

/// What the query of a URL says.
#[derive(Default)]
struct Settings {
    reference: Option<String>,
    tag: Option<String>,
    branch: Option<String>,
    directory: Option<String>,
    checksum: Option<String>,
    keep_git_directory: Option<bool>,
    submodules: Option<bool>,
    fetch_by_commit: Option<bool>,
}

impl RemoteRepository {
    /// Reads a source that is one.
    pub(super) fn parse(source: &str, flags: RepositoryFlags<'_>) -> Result<Self, RepositoryError> {
        if !source.starts_with("http://") && !source.starts_with("https://") {
            return Err(RepositoryError::Way);
        }
        let mut url = Url::parse(source)?;
        let mut settings = Settings::read(&url)?;
        let fragment = percent_decode_str(url.fragment().unwrap_or_default());
        let fragment = fragment.decode_utf8_lossy().into_owned();
        let (reference, directory) = fragment.split_once(':').unwrap_or((&fragment, ""));
        merge("ref", &mut settings.reference, reference)?;
        merge("subdir", &mut settings.directory, directory)?;
        merge("checksum", &mut settings.checksum, flags.checksum.unwrap_or_default())?;
        if let (Some(flag), Some(query)) = (flags.keep_git_directory, settings.keep_git_directory)
            && flag != query
        {
            return Err(RepositoryError::Conflict("keep-git-dir"));
        }
        let keeps = flags.keep_git_directory.or(settings.keep_git_directory) == Some(true);
        let checksum = settings.checksum.map(checked_checksum).transpose()?;
        let mut reference = match (settings.reference, settings.tag, settings.branch) {
            (None, None, None) => None,
            (Some(name), None, None) => Some(name),
            (None, Some(tag), None) => Some(format!("refs/tags/{tag}")),
            (None, None, Some(branch)) => Some(format!("refs/heads/{branch}")),
            (Some(_), _, _) => return Err(RepositoryError::Conflict("ref")),
            (None, Some(_), Some(_)) => return Err(RepositoryError::Conflict("tag")),
        };
        if let Some(name) = &reference {
            check_reference(name)?;
        }
        if settings.fetch_by_commit == Some(true)
            && let Some(commit) = checksum.as_ref().filter(|id| is_id(id))
        {
            reference = Some(commit.clone());
        }
        let directory = settings.directory.unwrap_or_default();
        let directory = RootfsPath::new(&directory).map_err(RepositoryError::Directory)?;
        url.set_fragment(None);
        url.set_query(None);
        Ok(Self {
            url,
            reference,
            directory,
            checksum,
            git_directory: if keeps { GitDirectory::Kept } else { GitDirectory::LeftOut },
            submodules: match settings.submodules {
                Some(false) => AddedSubmodules::Empty,
                Some(true) | None => AddedSubmodules::Fetched,
            },
        })
    }

    /// Returns the commit, or annotated tag, that is wanted, where that is said in full: what is
    /// fetched has to be it.
    pub fn commit(&self) -> Option<&str> {
        let said = [self.reference.as_deref(), self.checksum.as_deref()];
        said.into_iter().flatten().find(|text| is_id(text))
    }

    /// Returns the URL without what may be secret.
    pub fn shown(&self) -> String {
        shown(&self.url)
    }
}

impl Settings {
    fn read(url: &Url) -> Result<Self, RepositoryError> {
        let mut settings = Self::default();
        for (name, value) in url.query_pairs() {
            let text = || Some(value.clone().into_owned()).filter(|value| !value.is_empty());
            match name.as_ref() {
                "ref" => settings.reference = text(),
                "tag" => settings.tag = text(),
                "branch" => settings.branch = text(),
                "subdir" => settings.directory = text(),
                "checksum" | "commit" => settings.checksum = text(),
                "keep-git-dir" => settings.keep_git_directory = Some(boolean(&name, &value)?),
                "submodules" => settings.submodules = Some(boolean(&name, &value)?),
                "fetch-by-commit" => settings.fetch_by_commit = Some(boolean(&name, &value)?),
                // Files are always as old as their commit.
                "mtime" if value == "commit" => {}
                "mtime" => {
                    let (name, value) = (name.into_owned(), value.into_owned());
                    return Err(RepositoryError::Value { name, value });
                }
                _ => return Err(RepositoryError::Unknown(name.into_owned())),
            }
        }
        Ok(settings)
    }
}

/// Takes a value that is said elsewhere too, if it is.
fn merge(
    name: &'static str,
    setting: &mut Option<String>,
    other: &str,
) -> Result<(), RepositoryError> {
    match setting {
        _ if other.is_empty() => Ok(()),
        Some(value) if value != other => Err(RepositoryError::Conflict(name)),
        _ => {
            *setting = Some(other.to_owned());
            Ok(())
        }
    }
}

/// Reads a truth value as Go does; a setting without one is on.
fn boolean(name: &str, value: &str) -> Result<bool, RepositoryError> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => {
            let (name, value) = (name.to_owned(), value.to_owned());
            Err(RepositoryError::Value { name, value })
        }
    }
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Tells whether a reference is a commit's, or an annotated tag's, id in full.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && is_hexadecimal(text)
}

fn checked_checksum(text: String) -> Result<String, RepositoryError> {
    match is_hexadecimal(&text) && text.len() <= ID_DIGITS {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(RepositoryError::Checksum(text)),
    }
}

/// Refuses what no reference's name can hold, and what would end a line of the protocol.
fn check_reference(name: &str) -> Result<(), RepositoryError> {
    let is_bad = |c: char| c.is_control() || c.is_whitespace() || "~^?*[\\".contains(c);
    match name.contains(is_bad) || name.starts_with('-') || name.contains("..") {
        true => Err(RepositoryError::Reference(name.to_owned())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn parse(source: &str) -> Result<RemoteRepository, String> {
        RemoteRepository::parse(source, RepositoryFlags::default())
            .map_err(|error| error.to_string())
    }

    fn said(source: &str) -> (String, Option<String>, String) {
        let repository = parse(source).unwrap();
        let directory = repository.directory.to_string();
        (repository.url.to_string(), repository.reference, directory)
    }

    #[test]
    fn references_and_directories_are_in_the_fragment_or_in_the_query() {
        let check = |rest: &str, reference: Option<&str>, directory: &str| {
            let url = "https://example.com/foo.git";
            let expected = (url.to_owned(), reference.map(str::to_owned), directory.to_owned());
            assert_eq!(said(&format!("{url}{rest}")), expected, "{rest}");
        };
        check("", None, "/");
        check("#", None, "/");
        check("#deadbeef", Some("deadbeef"), "/");
        check("#release/1.2", Some("release/1.2"), "/");
        check("#baz/qux:quux/quuz", Some("baz/qux"), "/quux/quuz");
        check("#:myfolder", None, "/myfolder");
        check("?ref=v1.0.0&subdir=/subdir", Some("v1.0.0"), "/subdir");
        check("?subdir=/subdir#v1.0.0", Some("v1.0.0"), "/subdir");
        check("?ref=v1#v1", Some("v1"), "/");
        check("?tag=v1.0.0", Some("refs/tags/v1.0.0"), "/");
        check("?branch=v1.0", Some("refs/heads/v1.0"), "/");
        check("?mtime=commit", None, "/");
        check(&format!("?fetch-by-commit=true&checksum={ID}#refs/heads/a"), Some(ID), "/");
        check("?fetch-by-commit=false&checksum=dead#refs/heads/a", Some("refs/heads/a"), "/");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (rest, expected) in [
            ("?ref=v1.0.0#v1.2.3", "there are two values for `ref`"),
            ("?ref=v1.0.0&tag=v1.2.3", "there are two values for `ref`"),
            ("?tag=v1.0.0&branch=v1.0", "there are two values for `tag`"),
            ("?subdir=a#:b", "there are two values for `subdir`"),
            ("?mtime=checkout", "`mtime` cannot be `checkout`"),
            ("?fetch-by-commit=invalid", "`fetch-by-commit` cannot be `invalid`"),
            ("?invalid=123", "there is no setting `invalid`"),
            ("?checksum=xyz", "the checksum `xyz` is not the hexadecimal id of a commit"),
            ("#a b", "no branch, tag or commit can be called `a b`"),
            ("#a..b", "no branch, tag or commit can be called `a..b`"),
        ] {
            let error = parse(&format!("https://example.com/foo.git{rest}")).unwrap_err();
            assert_eq!(error, expected, "{rest}");
        }
        for source in ["git://example.com/foo", "git@github.com:moby/buildkit", "ssh://a@b/c"] {
            assert_eq!(parse(source).unwrap_err(), "only https and http are supported");
        }
    }

    #[test]
    fn flags_and_query_have_to_agree() {
        let url = "https://example.com/foo.git";
        let with = |rest: &str, checksum, keep_git_directory| {
            let flags = RepositoryFlags { checksum, keep_git_directory };
            RemoteRepository::parse(&format!("{url}{rest}"), flags).map(|repository| {
                (repository.checksum, repository.git_directory, repository.submodules)
            })
        };
        use AddedSubmodules::{Empty, Fetched};
        use GitDirectory::{Kept, LeftOut};
        assert_eq!(with("", None, None), Ok((None, LeftOut, Fetched)));
        assert_eq!(with("?keep-git-dir", None, None), Ok((None, Kept, Fetched)));
        assert_eq!(with("?keep-git-dir=0", None, None), Ok((None, LeftOut, Fetched)));
        assert_eq!(with("?submodules=false", None, Some(true)), Ok((None, Kept, Empty)));
        let conflict = Err(RepositoryError::Conflict("keep-git-dir"));
        assert_eq!(with("?keep-git-dir=false", None, Some(true)), conflict);
        assert_eq!(with("?commit=Dead", None, None), Ok((Some("dead".into()), LeftOut, Fetched)));
        assert_eq!(with("", Some("DEAD"), None), Ok((Some("dead".into()), LeftOut, Fetched)));
        let conflict = Err(RepositoryError::Conflict("checksum"));
        assert_eq!(with("?checksum=dead", Some("beef"), None), conflict);
    }

    #[test]
    fn a_commit_is_known_where_it_is_said_in_full() {
        let commit = |rest: &str| {
            let repository = parse(&format!("https://h/a.git{rest}")).unwrap();
            repository.commit().map(str::to_owned)
        };
        assert_eq!(commit("#main"), None);
        assert_eq!(commit("?checksum=0123456#main"), None);
        assert_eq!(commit(&format!("#{ID}")).as_deref(), Some(ID));
        assert_eq!(commit(&format!("?checksum={ID}#main")).as_deref(), Some(ID));
    }
}
