//! `RUN --mount`: options as written, and what they mean once expanded.

use super::super::character::to_lower;
use super::super::error::{Located, ParseErrorKind};
use super::super::source::{Span, Word};
use super::csv::split_fields;

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
    /// The environment variable that a secret is put in; empty for its name. `None`: a file.
    pub env: Option<String>,
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

/// Splits a flag's value into options.
///
/// Only `from` is checked now: it says on which stage this one depends, so it must not hold
/// variables.
pub(super) fn parse(text: Word) -> Result<MountFlag, Located> {
    let Some(fields) = split_fields(&text.value) else {
        return Err((ParseErrorKind::FlagFields { flag: "mount" }, text.span));
    };
    let mut options = Vec::new();
    for field in fields {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (to_lower(key), Some(value.to_owned())),
            None => (to_lower(&field), None),
        };
        let has_variable = value.as_ref().and_then(|value| value.split_once('$'));
        if key == "from" && has_variable.is_some_and(|(_, after)| !after.is_empty()) {
            return Err((ParseErrorKind::MountFromVariable, text.span));
        }
        options.push(MountOption { key, value });
    }
    Ok(MountFlag { options, text })
}

impl MountFlag {
    /// Expands the values and checks what they say.
    ///
    /// # Errors
    /// [`MountError`], or what `expand` returns.
    pub fn resolve<E: From<MountError>>(
        &self,
        mut expand: impl FnMut(&str) -> Result<String, E>,
    ) -> Result<Mount, E> {
        let mut mount = Mount {
            kind: MountType::Bind,
            from: String::new(),
            source: String::new(),
            target: String::new(),
            read_only: false,
            id: String::new(),
            sharing: None,
            required: false,
            size_bytes: 0,
            mode: None,
            env: None,
            uid: None,
            gid: None,
            span: self.text.span,
        };
        let mut read_only = None;
        for MountOption { key, value } in &self.options {
            match value {
                None => mount.set_bare(key, &mut read_only)?,
                Some(value) => mount.set(key, expand(value)?, &mut read_only)?,
            }
        }
        mount.read_only = read_only.unwrap_or(match mount.kind {
            MountType::Cache | MountType::Tmpfs => false,
            MountType::Bind | MountType::Secret | MountType::Ssh => true,
        });
        mount.check()?;
        Ok(mount)
    }
}

impl Mount {
    /// Takes an option without a value.
    fn set_bare(&mut self, key: &str, read_only: &mut Option<bool>) -> Result<(), MountError> {
        match key {
            "readonly" | "ro" => *read_only = Some(true),
            "readwrite" | "rw" => *read_only = Some(false),
            "required" => self.set_required(true)?,
            _ => return Err(MountError::MissingValue { key: key.to_owned() }),
        }
        Ok(())
    }

    fn set(
        &mut self,
        key: &str,
        value: String,
        read_only: &mut Option<bool>,
    ) -> Result<(), MountError> {
        let boolean = || parse_boolean(&value).ok_or_else(|| invalid(key, &value));
        let number = |radix| parse_number(&value, radix).ok_or_else(|| invalid(key, &value));
        match key {
            "type" => self.kind = MountType::parse(&value).ok_or_else(|| invalid(key, &value))?,
            "from" => self.from = value,
            "source" | "src" => self.source = value,
            "target" | "dst" | "destination" => self.target = value,
            "readonly" | "ro" => *read_only = Some(boolean()?),
            "readwrite" | "rw" => *read_only = Some(!boolean()?),
            // That it does not go with the type comes first.
            "required" => {
                self.set_required(false)?;
                self.required = boolean()?;
            }
            "size" if self.kind != MountType::Tmpfs => return Err(self.not_allowed("size")),
            "size" => {
                self.size_bytes = parse_size(&value).ok_or_else(|| invalid(key, &value))?;
            }
            "id" => self.id = value,
            "sharing" => {
                self.sharing = Some(match to_lower(&value).as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => return Err(invalid(key, &value)),
                });
            }
            "mode" => self.mode = Some(number(8)?),
            "uid" => self.uid = Some(number(10)?),
            "gid" => self.gid = Some(number(10)?),
            "env" => self.env = Some(value),
            _ => return Err(MountError::UnknownOption { key: key.to_owned() }),
        }
        Ok(())
    }

    fn set_required(&mut self, required: bool) -> Result<(), MountError> {
        match self.kind {
            MountType::Secret | MountType::Ssh => self.required = required,
            MountType::Bind | MountType::Cache | MountType::Tmpfs => {
                return Err(self.not_allowed("required"));
            }
        }
        Ok(())
    }

    fn not_allowed(&self, key: &'static str) -> MountError {
        MountError::NotAllowed { key, kind: self.kind }
    }

    /// Checks what can only be said of all options together.
    fn check(&self) -> Result<(), MountError> {
        let has_owner = match self.kind {
            MountType::Cache | MountType::Secret | MountType::Ssh => true,
            MountType::Bind | MountType::Tmpfs => false,
        };
        let given = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
        let refused = given.into_iter().find(|(_, value)| !has_owner && value.is_some());
        if let Some((key, _)) = refused {
            return Err(self.not_allowed(key));
        }
        if self.kind == MountType::Secret {
            if !self.from.is_empty() {
                return Err(self.not_allowed("from"));
            }
            if self.source.is_empty() && self.target.is_empty() && self.id.is_empty() {
                return Err(MountError::SecretWithoutName);
            }
            if !self.source.is_empty() && !self.id.is_empty() {
                return Err(MountError::SecretWithTwoNames);
            }
        }
        if self.sharing.is_some() && self.kind != MountType::Cache {
            return Err(self.not_allowed("sharing"));
        }
        Ok(())
    }
}

impl MountType {
    fn parse(text: &str) -> Option<MountType> {
        Some(match to_lower(text).as_str() {
            "bind" => MountType::Bind,
            "cache" => MountType::Cache,
            "tmpfs" => MountType::Tmpfs,
            "secret" => MountType::Secret,
            "ssh" => MountType::Ssh,
            _ => return None,
        })
    }
}

fn invalid(key: &str, value: &str) -> MountError {
    MountError::InvalidValue { key: key.to_owned(), value: value.to_owned() }
}

/// Reads the words for yes and no of Go's `strconv.ParseBool`.
pub(super) fn parse_boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Reads digits and nothing else (Rust's own parser takes a plus sign).
fn parse_number(text: &str, radix: u32) -> Option<u32> {
    let is_number = text.chars().all(|next| next.is_digit(radix));
    is_number.then(|| u32::from_str_radix(text, radix).ok())?
}

/// Reads a size in bytes: a number, also with a fraction, a blank if need be, and a unit of 1024s.
fn parse_size(text: &str) -> Option<i64> {
    let end = text.rfind(|next: char| next.is_ascii_digit() || matches!(next, '.' | ' '))? + 1;
    let (number, unit) = text.split_at(end);
    let number = number.strip_suffix(' ').unwrap_or(number);
    // Rust's parser takes words such as `inf` as well.
    if number.contains(|next: char| !next.is_ascii_digit() && !"+-.eE".contains(next)) {
        return None;
    }
    let number = number.parse::<f64>().ok().filter(|number| *number >= 0.0)?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1_u64,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        "p" | "pb" | "pib" => 1 << 50,
        _ => return None,
    };
    let size = number * unit as f64;
    // Cut to whole bytes; what does not fit is no size (in the original it is an arbitrary one).
    (size < i64::MAX as f64).then_some(size as i64)
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
