//! User names, passwords and tokens for registries, from Docker's configuration, variables and clouds.
//!
//! One file or descriptor is read, once, at the start, and so are the files of clouds' identities. What
//! a lookup returns says where it looked, so that a refused login can name the file and entry that was
//! used, or the file that had none. The order is kaniko's: what a file says of this very registry,
//! then what is only there.

mod cloud;
mod cloud_host;
mod config_file;
mod document;
mod error;
mod helper;
mod origin;
mod way;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::host::RegistryHost;
use super::options::{AmbientSource, CredentialOptions, HostPassword};
use crate::http::HttpClient;
use crate::secret::Secret;

use cloud::Clouds;
use cloud_host::CloudRegistry;
use config_file::{ConfigFile, NamedHelper};
pub use error::CredentialError;
pub use helper::HelperError;
use helper::Helpers;
use origin::list;
pub use origin::{CredentialOrigin, Look};
pub(super) use way::Found;
use way::{Step, Way};

/// The variable that holds a document of the form of `config.json`.
const DOCUMENT: &str = "DOCKER_AUTH_CONFIG";

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

/// Returns the file that holds credentials in `directories`, if one does; it is not read.
pub fn credential_file(directories: &[PathBuf]) -> Option<PathBuf> {
    config_file::locate(directories)
}

/// All credentials of one build.
pub(super) struct Credentials {
    config: Option<(PathBuf, ConfigFile)>,
    /// The document in [`DOCUMENT`].
    document: Option<ConfigFile>,
    helpers: Helpers,
    directories: Vec<PathBuf>,
    clouds: Clouds,
    ambient: Vec<AmbientSource>,
    passwords: Vec<HostPassword>,
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
    pub(super) fn load(
        http: &HttpClient,
        options: &CredentialOptions,
    ) -> Result<Self, CredentialError> {
        let config = match options.descriptor {
            Some(descriptor) => Some(document::read(descriptor)?),
            None => config_file::find(&options.directories)?,
        };
        let ambient = &options.ambient;
        let document = match &ambient.document {
            None => None,
            Some(text) => Some(
                ConfigFile::parse(text.expose().as_bytes())
                    .map_err(|source| CredentialError::Variable { variable: DOCUMENT, source })?,
            ),
        };
        let names = config.as_ref().map(|(_, config)| config.helper_names()).unwrap_or_default();
        Ok(Self {
            config,
            document,
            helpers: Helpers::find(names, options),
            directories: options.directories.clone(),
            clouds: Clouds::new(http, ambient),
            ambient: ambient.sources.clone(),
            passwords: ambient.passwords.clone(),
            given: Mutex::new(HashMap::new()),
        })
    }

    /// Returns the credential for a repository of `host`: that of the entry with the longest path
    /// that leads to it, else what the helper for the host says, else that of the host's entry; then
    /// of the document in a variable, of the cloud whose registry it is, and of GitLab's variables.
    ///
    /// # Errors
    /// When the entry is damaged, or the helper that the file names for this very host fails. What
    /// nobody named for this host and fails is only noted in the result: a `credsStore` is often a
    /// left-over of a desktop, and many images of clouds are public.
    pub(super) async fn lookup(
        &self,
        host: &RegistryHost,
        repository: &str,
        freshness: Freshness,
    ) -> Result<Found, CredentialError> {
        let mut way = Way::default();
        if let Some((file, config)) = &self.config {
            let asked = Asked { host, repository, freshness };
            way = match self.in_file(file, config, &asked, way).await? {
                Step::Found(found) => return Ok(found),
                Step::Further(way) => way,
            };
        } else if !self.directories.is_empty() {
            way.in_vain(format!("`config.json` in {}", list(&self.directories)), "there is none");
        }
        if let Some(config) = &self.document
            && let Some(entry) = config.entry(host, repository)
        {
            let damaged = |source| CredentialError::VariableEntry {
                variable: DOCUMENT,
                key: entry.key.to_owned(),
                source,
            };
            if let Some(credential) = entry.credential().map_err(damaged)? {
                let key = entry.key.to_owned();
                let origin = CredentialOrigin::Variable { variable: DOCUMENT, key };
                return Ok(way.found(format!("`{DOCUMENT}`"), credential, origin));
            }
        }
        if self.document.is_some() {
            way.in_vain(format!("`{DOCUMENT}`"), format!("no entry for `{host}`"));
        }
        if let Some(registry) = CloudRegistry::of(host)
            && self.ambient.contains(&registry.source())
        {
            way = match self.in_cloud(&registry, host, freshness, way).await {
                Step::Found(found) => return Ok(found),
                Step::Further(way) => way,
            };
        }
        if self.ambient.contains(&AmbientSource::GitLab) {
            way = match self.in_variables(host, way) {
                Step::Found(found) => return Ok(found),
                Step::Further(way) => way,
            };
        }
        let Way { looks, said } = way;
        let origin = match &self.config {
            Some((file, _)) => {
                CredentialOrigin::NoEntry { file: file.clone(), host: host.to_string(), said }
            }
            None => CredentialOrigin::NoFile { directories: self.directories.clone(), said },
        };
        Ok(Found { credential: None, origin, looks })
    }

    /// Looks into Docker's configuration.
    async fn in_file(
        &self,
        file: &Path,
        config: &ConfigFile,
        asked: &Asked<'_>,
        mut way: Way,
    ) -> Result<Step, CredentialError> {
        let place = format!("`{}`", file.display());
        let entry = config.entry(asked.host, asked.repository);
        let held = |entry: &config_file::Entry<'_>| {
            let damaged = |source| CredentialError::Entry {
                path: file.to_owned(),
                key: entry.key.to_owned(),
                source,
            };
            let credential = entry.credential().map_err(damaged)?;
            let origin =
                CredentialOrigin::Entry { file: file.to_owned(), key: entry.key.to_owned() };
            Ok::<_, CredentialError>(credential.map(|credential| (credential, origin)))
        };
        let of_entry = |key: &str| format!("entry `{key}` of {place}");
        if let Some(entry) = entry.as_ref().filter(|entry| entry.has_path)
            && let Some((credential, origin)) = held(entry)?
        {
            return Ok(Step::Found(way.found(of_entry(entry.key), credential, origin)));
        }
        if let Some(named) = config.helper(asked.host) {
            way = match self.in_helper(file, &named, asked, way).await? {
                Step::Found(found) => return Ok(Step::Found(found)),
                Step::Further(way) => way,
            };
        }
        if let Some(entry) = &entry
            && let Some((credential, origin)) = held(entry)?
        {
            return Ok(Step::Found(way.found(of_entry(entry.key), credential, origin)));
        }
        way.in_vain(place, format!("no entry for `{}`", asked.host));
        Ok(Step::Further(way))
    }

    /// Asks the helper that a file names: its program where there is one, or else what the program
    /// would do.
    async fn in_helper(
        &self,
        file: &Path,
        named: &NamedHelper<'_>,
        asked: &Asked<'_>,
        mut way: Way,
    ) -> Result<Step, CredentialError> {
        let host = asked.host;
        let server = host.helper_server().to_owned();
        let program = helper::program(named.name);
        let place = format!("`{program}`, named in `{}`", file.display());
        if let Some(source) = AmbientSource::of_helper(named.name)
            && !self.helpers.has(named.name)
        {
            return self.in_builtin(file, named, source, asked, way).await;
        }
        match self.ask(named.name, &server, asked.freshness).await {
            Ok(Some(credential)) => {
                let file = file.to_owned();
                let origin = CredentialOrigin::Helper { file, program, server };
                return Ok(Step::Found(way.found(place, credential, origin)));
            }
            Ok(None) => {
                way.said.push(format!("`{program}` has none for `{server}`"));
                way.in_vain(place, format!("none for `{server}`"));
            }
            Err(source) if named.for_this_host => {
                return Err(CredentialError::Helper { program, server, source });
            }
            Err(error) => {
                tracing::debug!(program, %error, "credential store does not work");
                way.said.push(format!("`{program}` failed: {error}"));
                way.in_vain(place, format!("failed: {error}"));
            }
        }
        Ok(Step::Further(way))
    }

    /// Does what a helper's program would do that is not there.
    async fn in_builtin(
        &self,
        file: &Path,
        named: &NamedHelper<'_>,
        source: AmbientSource,
        asked: &Asked<'_>,
        mut way: Way,
    ) -> Result<Step, CredentialError> {
        let host = asked.host;
        if source == AmbientSource::GitLab {
            return Ok(self.in_variables(host, way));
        }
        let (path, name, owner) = (file.to_owned(), named.name.to_owned(), source.owner());
        let registry = CloudRegistry::of(host).filter(|registry| registry.source() == source);
        let Some(registry) = registry else {
            if named.for_this_host {
                let host = host.to_string();
                return Err(CredentialError::NotOfCloud { owner, host, path, name });
            }
            way.in_vain(
                format!("`{name}`, named in `{}`", file.display()),
                format!("`{host}` is no registry of {owner}'s"),
            );
            return Ok(Step::Further(way));
        };
        if named.for_this_host
            && let Err(source) = self.clouds.ask(&registry, host, asked.freshness).await
        {
            let host = host.to_string();
            return Err(CredentialError::Cloud { owner, host, path, name, source });
        }
        let freshness = Freshness::Remembered;
        let freshness = if named.for_this_host { freshness } else { asked.freshness };
        Ok(self.in_cloud(&registry, host, freshness, way).await)
    }

    /// Asks the cloud whose registry it is.
    async fn in_cloud(
        &self,
        registry: &CloudRegistry,
        host: &RegistryHost,
        freshness: Freshness,
        mut way: Way,
    ) -> Step {
        let source = registry.source();
        let owner = source.owner();
        let place = format!("{owner}'s identities");
        if way.looks.iter().any(|look| look.place == place) {
            return Step::Further(way);
        }
        match self.clouds.ask(registry, host, freshness).await {
            Ok(Some(given)) => {
                let origin = given.origin(source, host);
                let place = format!("{place} ({})", given.identity);
                return Step::Found(way.found(place, given.credential, origin));
            }
            Ok(None) => {
                way.said.push(format!("{owner} knows nobody here"));
                way.in_vain(place, "nobody is named, and no metadata server knows anybody");
            }
            Err(error) => {
                let error = crate::report::fault::one_line(&*error);
                tracing::debug!(owner, error, "no credential of the cloud's");
                way.said.push(format!("{owner}'s identity cannot be used: {error}"));
                way.in_vain(place, format!("cannot be used: {error}"));
            }
        }
        Step::Further(way)
    }

    /// Looks at the passwords that variables hold.
    fn in_variables(&self, host: &RegistryHost, mut way: Way) -> Step {
        let is_same = |text: &str| {
            let name = |host: &RegistryHost| {
                host.as_str().strip_suffix(":443").unwrap_or(host.as_str()).to_owned()
            };
            name(&RegistryHost::new(text)) == name(host)
        };
        for held in &self.passwords {
            let place = format!("`{}`", held.variable);
            if way.looks.iter().any(|look| look.place == place) {
                continue;
            }
            if is_same(&held.host) {
                let (username, password) = (held.username.clone(), held.password.clone());
                let (variable, host) = (held.variable, host.to_string());
                let origin = CredentialOrigin::Variables { variable, host };
                let credential = Credential::Password { username, password };
                return Step::Found(way.found(place, credential, origin));
            }
            way.in_vain(place, format!("for `{}`", held.host));
        }
        Step::Further(way)
    }

    async fn ask(
        &self,
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
        let answer = self.helpers.ask(name, server).await?;
        self.lock().insert(key, answer.clone());
        Ok(answer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Option<Credential>>> {
        // An insert is never half-done, so a poisoned map is as good as any.
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a lookup is for.
struct Asked<'a> {
    host: &'a RegistryHost,
    repository: &'a str,
    freshness: Freshness,
}

#[cfg(test)]
mod tests;
