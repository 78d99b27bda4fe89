//! Why credentials that should be there cannot be had.

use std::path::PathBuf;
use std::sync::Arc;

use super::config_file::{EntryError, ParseError};
use super::helper::HelperError;
use crate::identity::IdentityError;

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
        source: ParseError,
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
    /// The cloud that the file names for this registry gave no credential.
    #[error("no credential of {owner}'s for `{host}`, for which `{path}` names `{name}`")]
    Cloud {
        /// Whose.
        owner: &'static str,
        /// The registry.
        host: String,
        /// The file.
        path: PathBuf,
        /// The helper's name.
        name: String,
        /// Why.
        #[source]
        source: Arc<IdentityError>,
    },
    /// The file names a cloud for a registry that is not the cloud's.
    #[error("`{path}` names `{name}` for `{host}`, which is no registry of {owner}'s")]
    NotOfCloud {
        /// Whose.
        owner: &'static str,
        /// The registry.
        host: String,
        /// The file.
        path: PathBuf,
        /// The helper's name.
        name: String,
    },
    /// The document in a variable is not what it should be.
    #[error("cannot parse registry credentials in the variable `{variable}`")]
    Variable {
        /// The variable.
        variable: &'static str,
        /// Where and why; never quotes it.
        #[source]
        source: ParseError,
    },
    /// The entry for this registry in a variable is damaged.
    #[error("entry `{key}` of the variable `{variable}` is not usable")]
    VariableEntry {
        /// The variable.
        variable: &'static str,
        /// The entry's key.
        key: String,
        /// Why.
        #[source]
        source: EntryError,
    },
}
