//! `RUN --mount`: options as written, and what they mean once expanded.

use super::super::source::{Span, Word};

/// A `--mount` flag: its comma-separated options, with values unexpanded.
///
/// Options may hold variables, so all but `from` can be checked only when they are expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    /// The options in order; order matters (`required` and `size` need `type` before them).
    pub options: Vec<MountOption>,
    /// The flag's value as written, CSV quotes included.
    pub text: Word,
}

/// One option of a `--mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOption {
    /// The key in lower case.
    pub key: String,
    /// The value, unexpanded; `None` without `=`.
    pub value: Option<String>,
}

/// A `--mount` after expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountType,
    /// The stage, image or context that `source` is in; empty for the build context.
    pub from: String,
    /// The path in `from`, or a secret's name; may be empty.
    pub source: String,
    /// Where to, relative to the working directory; may be empty for secrets and agents.
    pub target: String,
    /// Whether it cannot be written to.
    pub read_only: bool,
    /// `id`; empty means the default of the type.
    pub id: String,
    /// `sharing`, for caches.
    pub sharing: Option<Sharing>,
    /// Whether the build fails when the secret or agent is missing.
    pub required: bool,
    /// `size` of a tmpfs in bytes; 0 is no limit.
    pub size_bytes: i64,
    /// Permission bits of the mounted file or directory.
    pub mode: Option<u32>,
    /// Owner of the mounted file or directory.
    pub uid: Option<u32>,
    /// Group of the mounted file or directory.
    pub gid: Option<u32>,
    /// Where the flag stands.
    pub span: Span,
}

/// What a `--mount` mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountType {
    /// A path of the context, a stage or an image.
    Bind,
    /// A directory that outlives the build.
    Cache,
    /// An empty file system in memory.
    Tmpfs,
    /// A secret's file.
    Secret,
    /// An SSH agent's socket.
    Ssh,
}

/// How builds that use the same cache at once share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// All write to one.
    Shared,
    /// A new one is made when it is in use.
    Private,
    /// They wait for each other.
    Locked,
}

/// Why a `--mount` means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// The key does not exist.
    #[error("unexpected mount option `{key}`")]
    UnknownOption {
        /// The key in lower case.
        key: String,
    },
    /// The key exists, but needs a value.
    #[error("mount option `{key}` needs a value")]
    MissingValue {
        /// The key in lower case.
        key: String,
    },
    /// The value does not fit the key.
    #[error("invalid value `{value}` for mount option `{key}`")]
    InvalidValue {
        /// The key in lower case.
        key: String,
        /// The value after expansion.
        value: String,
    },
    /// The key does not go with the type.
    #[error("mount option `{key}` is not allowed for type `{kind}`")]
    NotAllowed {
        /// The key.
        key: &'static str,
        /// The type.
        kind: MountType,
    },
    /// A secret with neither name nor target.
    #[error("secret mount needs one of `id`, `source` and `target`")]
    SecretWithoutName,
    /// A secret with two names.
    #[error("secret mount cannot have both `id` and `source`")]
    SecretWithTwoNames,
}

impl std::fmt::Display for MountType {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            MountType::Bind => "bind",
            MountType::Cache => "cache",
            MountType::Tmpfs => "tmpfs",
            MountType::Secret => "secret",
            MountType::Ssh => "ssh",
        })
    }
}
