//! The environment and what else the machine says about this process: the only reader of both.
//!
//! [`Environment`] is a value, so that lowering stays pure; its `Debug` shows names, never values.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::error::Error;
use crate::sandbox;
use crate::secret::SecretVariables;

/// The environment variables of the process.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "this is the one reader")]
    pub fn read() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// Returns the value of a variable, `None` when it is unset.
    ///
    /// # Errors
    /// A value that is not UTF-8.
    pub fn get(&self, name: &str) -> Result<Option<&str>, Error> {
        match self.0.get(std::ffi::OsStr::new(name)) {
            None => Ok(None),
            Some(value) => value
                .to_str()
                .map(Some)
                .ok_or_else(|| Error::EnvironmentNotText { variable: name.to_owned() }),
        }
    }

    /// Returns the value of a variable, `None` when it is unset or empty.
    ///
    /// # Errors
    /// A value that is not UTF-8.
    pub fn filled(&self, name: &str) -> Result<Option<&str>, Error> {
        Ok(self.get(name)?.filter(|value| !value.is_empty()))
    }

    /// Returns all variables, for programs that are run on the user's behalf.
    pub fn all(&self) -> SecretVariables {
        self.0.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Returns a variable's value as a path, `None` when it is unset or empty.
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.0.get(std::ffi::OsStr::new(name)).filter(|value| !value.is_empty()).map(Path::new)
    }

    /// Returns a variable's value split at `:`, without empty parts.
    pub fn paths(&self, name: &str) -> Vec<PathBuf> {
        self.path(name)
            .map(|value| {
                std::env::split_paths(value).filter(|part| !part.as_os_str().is_empty()).collect()
            })
            .unwrap_or_default()
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What the machine says about this process, beside its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The current directory, absolute.
    pub current_directory: PathBuf,
    /// Who runs it.
    pub user: User,
    /// What it runs in.
    pub surroundings: Surroundings,
    /// Whether `KUBERNETES_SERVICE_HOST` is set.
    pub is_kubernetes: bool,
    /// What standard error is.
    pub stderr: Stderr,
}

/// Who runs the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Effective user id 0.
    Root,
    /// Anyone else.
    Other,
}

/// What the process runs in, as far as the choice of a work directory needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surroundings {
    /// A container or Pod.
    Container,
    /// A machine, or a container that shows no sign of being one.
    Machine,
}

/// What standard error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stderr {
    /// A terminal.
    Terminal,
    /// A file or pipe.
    Stream,
}

impl Facts {
    /// Asks the machine.
    ///
    /// # Errors
    /// A current directory that cannot be named, perhaps because it was removed.
    pub fn gather(environment: &Environment) -> Result<Self, Error> {
        let current_directory =
            std::env::current_dir().map_err(|source| Error::CurrentDirectory { source })?;
        Ok(Self {
            current_directory,
            user: if rustix::process::geteuid().is_root() { User::Root } else { User::Other },
            surroundings: surroundings(environment),
            is_kubernetes: environment.path("KUBERNETES_SERVICE_HOST").is_some(),
            stderr: match std::io::stderr().is_terminal() {
                true => Stderr::Terminal,
                false => Stderr::Stream,
            },
        })
    }
}

/// Asks for what the choice of a sandbox asks for, and for the layout of our own image: whoever put
/// the program into kaniko's directory means it to work there.
fn surroundings(environment: &Environment) -> Surroundings {
    let is_kubernetes = environment.path("KUBERNETES_SERVICE_HOST").is_some();
    // A program that cannot find itself is not in our image.
    let executable = std::env::current_exe().unwrap_or_default();
    let is_container = sandbox::is_container(sandbox::Surroundings { is_kubernetes })
        || executable.starts_with(super::KANIKO_DIRECTORY);
    if is_container { Surroundings::Container } else { Surroundings::Machine }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn values_are_told_apart_from_empty_and_unset_ones() {
        let environment = Environment::from_iter([("A", "1"), ("B", "")]);
        assert_eq!(environment.get("A").expect("text"), Some("1"));
        assert_eq!(environment.get("B").expect("text"), Some(""));
        assert_eq!(environment.filled("B").expect("text"), None);
        assert_eq!(environment.get("C").expect("text"), None);
    }

    #[test]
    fn a_value_that_is_not_text_is_an_error_naming_the_variable() {
        let environment =
            Environment::from_iter([("KANIKO_NO_PUSH", OsString::from_vec(vec![0xff]))]);
        let error = environment.get("KANIKO_NO_PUSH").expect_err("not UTF-8");
        assert_eq!(
            error.to_string(),
            "the environment variable `KANIKO_NO_PUSH` is not valid UTF-8"
        );
    }

    #[test]
    fn path_lists_lose_their_empty_parts() {
        let environment = Environment::from_iter([("PATH", "/usr/bin::/bin:")]);
        assert_eq!(
            environment.paths("PATH"),
            vec![PathBuf::from("/usr/bin"), PathBuf::from("/bin")]
        );
    }

    #[test]
    fn debug_shows_no_value() {
        let environment = Environment::from_iter([("TOKEN", "hunter2")]);
        assert_eq!(format!("{environment:?}"), r#"{"TOKEN"}"#);
    }
}
