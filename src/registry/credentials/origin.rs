//! Where credentials came from, in words.

use std::fmt;
use std::path::PathBuf;

/// Where a credential came from, or was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialOrigin {
    /// An entry of `auths`.
    Entry {
        /// The configuration file.
        file: PathBuf,
        /// The entry's key as written.
        key: String,
    },
    /// A helper program.
    Helper {
        /// The configuration file that names it.
        file: PathBuf,
        /// The program.
        program: String,
        /// The server name it was asked for.
        server: String,
    },
    /// An entry of the document in a variable.
    Variable {
        /// The variable.
        variable: &'static str,
        /// The entry's key as written.
        key: String,
    },
    /// A user name and a password that variables hold.
    Variables {
        /// The password's.
        variable: &'static str,
        /// The registry.
        host: String,
    },
    /// A cloud.
    Cloud {
        /// Whose.
        owner: &'static str,
        /// As whom.
        identity: &'static str,
        /// The registry.
        host: String,
    },
    /// The file has nothing for this registry.
    NoEntry {
        /// The configuration file.
        file: PathBuf,
        /// The registry.
        host: String,
        /// What others said that were asked in vain.
        said: Vec<String>,
    },
    /// There is no configuration file.
    NoFile {
        /// Where one was looked for.
        directories: Vec<PathBuf>,
        /// What others said that were asked in vain.
        said: Vec<String>,
    },
}

impl CredentialOrigin {
    /// Returns whether asking again can give another credential.
    pub(in crate::registry) fn is_renewed(&self) -> bool {
        matches!(self, Self::Helper { .. } | Self::Cloud { .. })
    }
}

impl fmt::Display for CredentialOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_vain = |f: &mut fmt::Formatter<'_>, said: &[String]| match said {
            [] => Ok(()),
            said => write!(f, " ({})", said.join("; ")),
        };
        match self {
            Self::Entry { file, key } => {
                write!(f, "used entry `{key}` of `{}`", file.display())
            }
            Self::Helper { file, program, server } => {
                write!(f, "used `{program}` for `{server}`, named in `{}`", file.display())
            }
            Self::Variable { variable, key } => write!(f, "used entry `{key}` of `{variable}`"),
            Self::Variables { variable, host } => write!(f, "used `{variable}` for `{host}`"),
            Self::Cloud { owner, identity, host } => {
                write!(f, "used an identity of {owner}'s ({identity}) for `{host}`")
            }
            Self::NoEntry { file, host, said } => {
                write!(f, "no credentials: `{}` has no entry for `{host}`", file.display())?;
                in_vain(f, said)
            }
            Self::NoFile { directories, .. } if directories.is_empty() => {
                f.write_str("no credentials: this build looks for none")
            }
            Self::NoFile { directories, said } => {
                write!(f, "no credentials: no `config.json` in {}", list(directories))?;
                in_vain(f, said)
            }
        }
    }
}

/// A place where a credential was looked for, and what was found there; never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The place.
    pub place: String,
    /// What was found.
    pub found: String,
}

impl Look {
    pub(super) fn new(place: impl Into<String>, found: impl Into<String>) -> Self {
        Self { place: place.into(), found: found.into() }
    }
}

/// Names directories.
pub(super) fn list(directories: &[PathBuf]) -> String {
    let names: Vec<String> =
        directories.iter().map(|path| format!("`{}`", path.display())).collect();
    names.join(", ")
}
