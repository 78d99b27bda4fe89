//! User names, passwords and tokens for registries, from Docker's configuration.
//!
//! One file or descriptor is read, once, at the start. What a lookup returns says where it looked, so that a
//! refused login can name the file and entry that was used, or the file that had none.

mod config_file;
mod document;
mod helper;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::host::RegistryHost;
use super::options::CredentialOptions;
use crate::secret::Secret;

use config_file::{ConfigFile, EntryError};
pub use helper::HelperError;
use helper::{Helper, Helpers};

/// What a registry or its token server is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// User name and password.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, exchanged for access tokens (OAuth2).
    Identity(Secret),
    /// A finished bearer token for the registry itself.
    Registry(Secret),
}

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
    /// The file has nothing for this registry.
    NoEntry {
        /// The configuration file.
        file: PathBuf,
        /// The registry.
        host: String,
        /// What a helper said, if one was asked in vain.
        helper: Option<String>,
    },
    /// There is no configuration file.
    NoFile {
        /// Where one was looked for.
        directories: Vec<PathBuf>,
    },
}

impl CredentialOrigin {
    /// Returns whether a helper program gave the credential.
    pub(super) fn is_helper(&self) -> bool {
        matches!(self, Self::Helper { .. })
    }
}

impl fmt::Display for CredentialOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { file, key } => {
                write!(f, "used entry `{key}` of `{}`", file.display())
            }
            Self::Helper { file, program, server } => {
                write!(f, "used `{program}` for `{server}`, named in `{}`", file.display())
            }
            Self::NoEntry { file, host, helper } => {
                write!(f, "no credentials: `{}` has no entry for `{host}`", file.display())?;
                match helper {
                    Some(said) => write!(f, " ({said})"),
                    None => Ok(()),
                }
            }
            Self::NoFile { directories } => {
                let names: Vec<String> =
                    directories.iter().map(|path| format!("`{}`", path.display())).collect();
                write!(f, "no credentials: no `config.json` in {}", names.join(", "))
            }
        }
    }
}

/// Why credentials that should be there cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A configuration file exists but cannot be read.
    #[error("cannot read registry credentials from `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A configuration file is not what it should be.
    #[error("cannot parse registry credentials in `{path}`")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why; never quotes the file.
        #[source]
        source: config_file::ParseError,
    },
    /// A descriptor is at its end before it gave anything.
    #[error("`{path}` gave no registry credentials")]
    Empty {
        /// The descriptor.
        path: PathBuf,
    },
    /// The entry for this registry is damaged.
    #[error("entry `{key}` of `{path}` is not usable")]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry's key.
        key: String,
        /// Why.
        #[source]
        source: EntryError,
    },
    /// The helper program for this registry failed.
    #[error("credential helper `{program}` for `{server}` failed")]
    Helper {
        /// The program.
        program: String,
        /// The server name it was asked for.
        server: String,
        /// Why.
        #[source]
        source: HelperError,
    },
}

/// A credential, if there is one, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) credential: Option<Credential>,
    pub(super) origin: CredentialOrigin,
}

/// Returns the file that holds credentials in `directories`, if one does; it is not read.
pub fn credential_file(directories: &[PathBuf]) -> Option<PathBuf> {
    config_file::locate(directories)
}

/// All credentials of one build.
pub(super) struct Credentials {
    config: Option<(PathBuf, ConfigFile)>,
    helpers: Helpers,
    directories: Vec<PathBuf>,
    /// What helpers gave, by program and server. Helpers may be slow and may prompt remote services.
    given: Mutex<HashMap<(String, String), Option<Credential>>>,
}

/// Whether an earlier answer of a helper will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Yes.
    Remembered,
    /// No: the registry refused it.
    New,
}

impl Credentials {
    /// Reads the configuration and finds the helper programs that it names.
    ///
    /// # Errors
    /// When a file is there but cannot be read or parsed.
    pub(super) fn load(options: &CredentialOptions) -> Result<Self, CredentialError> {
        let config = match options.descriptor {
            Some(descriptor) => Some(document::read(descriptor)?),
            None => config_file::find(&options.directories)?,
        };
        let names = config.as_ref().map(|(_, config)| config.helper_names()).unwrap_or_default();
        Ok(Self {
            config,
            helpers: Helpers::find(names, options),
            directories: options.directories.clone(),
            given: Mutex::new(HashMap::new()),
        })
    }

    /// Returns the credential for a repository of `host`: that of the entry with the longest path
    /// that leads to it, else what the helper for the host says, else that of the host's entry.
    ///
    /// # Errors
    /// When the entry is damaged, or the helper that the file names for this very host fails. A
    /// failing `credsStore` is only noted in the result: it is often a left-over of a desktop.
    pub(super) async fn lookup(
        self: &Arc<Self>,
        host: &RegistryHost,
        repository: &str,
        freshness: Freshness,
    ) -> Result<Found, CredentialError> {
        let Some((file, config)) = &self.config else {
            let origin = CredentialOrigin::NoFile { directories: self.directories.clone() };
            return Ok(Found { credential: None, origin });
        };
        let entry = config.entry(host, repository);
        let from_entry = |key: &str, credential: Credential| Found {
            credential: Some(credential),
            origin: CredentialOrigin::Entry { file: file.clone(), key: key.to_owned() },
        };
        let damaged = |key: &str, source| CredentialError::Entry {
            path: file.clone(),
            key: key.to_owned(),
            source,
        };
        if let Some(entry) = &entry
            && entry.has_path
            && let Some(credential) =
                entry.credential().map_err(|source| damaged(entry.key, source))?
        {
            return Ok(from_entry(entry.key, credential));
        }
        let mut said = None;
        if let Some(named) = config.helper(host) {
            let server = host.helper_server().to_owned();
            let program = helper::program(named.name);
            match self.ask(named.name, &server, freshness).await {
                Ok(Some(credential)) => {
                    let origin = CredentialOrigin::Helper { file: file.clone(), program, server };
                    return Ok(Found { credential: Some(credential), origin });
                }
                Ok(None) => said = Some(format!("`{program}` has none for `{server}`")),
                Err(source) if named.for_this_host => {
                    return Err(CredentialError::Helper { program, server, source });
                }
                Err(error) => {
                    tracing::debug!(program, %error, "credential store does not work");
                    said = Some(format!("`{program}` failed: {error}"));
                }
            }
        }
        if let Some(entry) = entry
            && let Some(credential) =
                entry.credential().map_err(|source| damaged(entry.key, source))?
        {
            return Ok(from_entry(entry.key, credential));
        }
        let origin =
            CredentialOrigin::NoEntry { file: file.clone(), host: host.to_string(), helper: said };
        Ok(Found { credential: None, origin })
    }

    async fn ask(
        self: &Arc<Self>,
        name: &str,
        server: &str,
        freshness: Freshness,
    ) -> Result<Option<Credential>, HelperError> {
        let key = (name.to_owned(), server.to_owned());
        if freshness == Freshness::Remembered
            && let Some(known) = self.lock().get(&key)
        {
            return Ok(known.clone());
        }
        let helper: Helper = self.helpers.get(name)?;
        let answer = helper.get(server.to_owned()).await?;
        self.lock().insert(key, answer.clone());
        Ok(answer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Option<Credential>>> {
        // An insert is never half-done, so a poisoned map is as good as any.
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
