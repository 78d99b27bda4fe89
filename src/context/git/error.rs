//! Why a repository is no context.

use reqwest::StatusCode;
use snapshot::RootfsError;

use crate::http::{HttpError, RedirectError, is_temporary_status};
use crate::report::fault::Class;

/// Why a repository is no context.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// No response.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A redirect that is not followed.
    #[error(transparent)]
    Redirect(#[from] RedirectError),
    /// A redirect to what is no repository.
    #[error("it was moved to `{to}`, which is no repository")]
    Moved {
        /// The redacted URL.
        to: String,
    },
    /// The server refused.
    #[error(
        "`{host}` answered {status}{}{message}", if message.is_empty() { "" } else { ": " }
    )]
    Status {
        /// `host[:port]` of the server.
        host: String,
        /// The status.
        status: StatusCode,
        /// What it said, on one line; may be empty.
        message: String,
        /// Whether it was told who asks.
        has_credentials: bool,
    },
    /// A signal ended it.
    #[error("it was interrupted")]
    Interrupted,
    /// The URL cannot be asked.
    #[error("its URL cannot be used: {reason}")]
    Url {
        /// Why.
        reason: String,
    },
    /// The server does not speak git's protocol, or refuses in its words.
    #[error("{reason}")]
    Protocol {
        /// What is wrong.
        reason: String,
    },
    /// There is no such branch, tag or reference.
    #[error("it has no branch, tag or reference `{name}`")]
    NoReference {
        /// The name.
        name: String,
    },
    /// There is no such branch or tag.
    #[error("invalid branch: `{name}` is neither a branch nor a tag")]
    NoBranch {
        /// The name.
        name: String,
    },
    /// There is nothing in it.
    #[error("it has no default branch, perhaps because it is empty")]
    NoDefault,
    /// There is no such commit, or not any more.
    #[error("it has no commit `{commit}`")]
    NoCommit {
        /// The commit.
        commit: String,
    },
    /// What came makes no sense.
    #[error("its objects cannot be used: {reason}")]
    Objects {
        /// What is wrong.
        reason: String,
    },
    /// A name that would lead elsewhere.
    #[error("`{name}` in `{directory}` is no name for a file")]
    Name {
        /// The name.
        name: String,
        /// Where it is.
        directory: String,
    },
    /// A link that cannot be made.
    #[error("the link `{path}` leads to something that no link can")]
    Link {
        /// The link.
        path: String,
    },
    /// Directories in directories, or submodules in submodules, without end.
    #[error("it is more than {limit} levels deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The list of submodules cannot be read.
    #[error("cannot read its `.gitmodules`")]
    Modules,
    /// A submodule's URL cannot be read.
    #[error("the URL of submodule `{path}` cannot be read")]
    SubmoduleUrl {
        /// The submodule.
        path: String,
    },
    /// A submodule is reached in a way that is not supported.
    #[error("submodule `{path}` is reached by `{scheme}`; only https is supported")]
    SubmoduleScheme {
        /// The submodule.
        path: String,
        /// The way.
        scheme: String,
    },
    /// A submodule cannot be had.
    #[error("cannot fetch submodule `{path}` from `{url}`")]
    Submodule {
        /// The submodule.
        path: String,
        /// Its redacted URL.
        url: String,
        /// Why.
        #[source]
        source: Box<GitError>,
    },
    /// A file cannot be made.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A file cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Returns what the others come from.
pub(super) fn innermost(error: &gix_error::Error) -> String {
    error.iter_errors().last().map_or_else(|| error.to_string(), ToString::to_string)
}

impl GitError {
    /// Returns whose move it is.
    pub fn class(&self) -> Class {
        match self {
            Self::Status { status, .. } if matches!(status.as_u16(), 401 | 403) => Class::Auth,
            Self::Status { status, .. } if is_temporary_status(*status) => Class::Infrastructure,
            Self::Http(_) | Self::Redirect(_) | Self::Interrupted => Class::Infrastructure,
            Self::Submodule { source, .. } => source.class(),
            Self::Write { source, .. } => Class::of_io(source),
            Self::Rootfs(error) => match error.raw_os_error() {
                Some(number) => Class::of_io(&std::io::Error::from_raw_os_error(number)),
                None => Class::User,
            },
            _ => Class::User,
        }
    }

    /// Tells whether the server may want to know who asks.
    pub(in crate::context) fn is_for_want_of_credentials(&self) -> bool {
        match self {
            // Servers hide what is private behind a 404.
            Self::Status { status, has_credentials, .. } => {
                !has_credentials && matches!(status.as_u16(), 401 | 403 | 404)
            }
            _ => false,
        }
    }

    /// Returns what to do next, where that is clear.
    pub fn hint(&self) -> Option<String> {
        match self {
            _ if self.is_for_want_of_credentials() => Some(
                "a private repository needs `GIT_TOKEN`, or `GIT_USERNAME` and `GIT_PASSWORD`"
                    .to_owned(),
            ),
            Self::NoCommit { .. } => {
                Some("after a force-push, a commit may be gone; name the branch instead".to_owned())
            }
            Self::Submodule { source, .. } => source.hint(),
            _ => None,
        }
    }

    /// Returns whether trying again can help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Http(error) => error.is_temporary(),
            Self::Status { status, .. } => is_temporary_status(*status),
            Self::Submodule { source, .. } => source.is_temporary(),
            _ => false,
        }
    }
}
