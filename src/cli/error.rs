//! What can be wrong with a command line or its environment.

use std::io;

use thiserror::Error;

use super::go_values::ValueError;
use super::spelling::SpellingError;
use crate::report::fault::{Class, Fault};

/// An error of the command line.
#[derive(Debug, Error)]
pub enum Error {
    /// An argument is not UTF-8.
    #[error("argument {position} is not valid UTF-8")]
    ArgumentNotText {
        /// Its position, from 1.
        position: usize,
    },
    /// A variable is not UTF-8.
    #[error("the environment variable `{variable}` is not valid UTF-8")]
    EnvironmentNotText {
        /// Its name.
        variable: String,
    },
    /// The current directory has no name, perhaps because it was removed.
    #[error("cannot find the current directory")]
    CurrentDirectory {
        /// The kernel's answer.
        source: io::Error,
    },
    /// Flags could not be read.
    #[error(transparent)]
    Spelling(#[from] SpellingError),
    /// A flag's value is not of its type.
    #[error("invalid value `{value}` for `{flag}`")]
    InvalidValue {
        /// The flag with its dashes.
        flag: String,
        /// The value as typed.
        value: String,
        /// What its type wants.
        source: ValueError,
    },
    /// A flag's value is of the right type and still wrong.
    #[error("invalid value `{value}` for `{flag}`: {reason}")]
    WrongValue {
        /// The flag with its dashes.
        flag: &'static str,
        /// The value as typed, secrets masked.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A reference to an image cannot be parsed.
    #[error("invalid reference `{value}` for `{flag}`")]
    Reference {
        /// The flag with its dashes.
        flag: &'static str,
        /// The value as typed.
        value: String,
        /// What is wrong with it.
        source: oci_client::ParseError,
    },
    /// A variable's value is not of its type.
    #[error("invalid value `{value}` of the environment variable `{variable}`")]
    InvalidVariable {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What its type wants.
        source: ValueError,
    },
    /// A word that belongs to no flag.
    #[error("unknown command `{word}` for `{program}`")]
    UnknownCommand {
        /// The program and sub-command as called.
        program: String,
        /// The word.
        word: String,
        /// The switch before it, when the word reads like its value.
        after_switch: Option<String>,
    },
    /// No sub-command.
    #[error("a command is needed")]
    NoCommand,
    /// Nothing to do with the image.
    #[error("you must provide --destination, or use --no-push")]
    NoDestination,
    /// `zuwai cache` without what to do.
    #[error("`zuwai cache` is `zuwai cache ls` or `zuwai cache prune`")]
    NoCacheCommand,
    /// The place of the layer cache cannot be inferred.
    #[error("if using cache with --no-push, specify cache repo with --cache-repo")]
    NoCacheRepository,
    /// A file of image names without an image name.
    #[error("you must provide --destination if setting {flag}")]
    NoDestinationForFile {
        /// The flag with its dashes.
        flag: &'static str,
    },
    /// Nothing says where the build's own files may be.
    #[error("no directory for the build's own files: neither `XDG_CACHE_HOME` nor `HOME` is set")]
    NoWorkDirectory,
    /// Neither context nor bucket.
    #[error("`--context` is empty")]
    NoContext,
    /// The warmer has nothing to fetch.
    #[error("you must select at least one image to cache or a dockerfilepath to parse")]
    NothingToWarm,
    /// Two flags want standard input.
    #[error("`{first}` and `{second}` both read standard input")]
    StdinTwice {
        /// One, as typed.
        first: String,
        /// The other, as typed.
        second: String,
    },
    /// A broker that nobody can reach.
    #[error("`--listen` is empty")]
    NoSocket,
    /// A broker that does nothing.
    #[error("nothing is allowed: neither `--allow-pull` nor `--allow-push`")]
    NothingAllowed,
    /// Two flags say where credentials come from.
    #[error("`{first}` and `{second}` both say where credentials come from")]
    CredentialsTwice {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Neither a scenario nor a context to compare on.
    #[error("nothing to compare on: neither `--scenario` nor `--context`")]
    NothingToCompare,
    /// A scenario and a build of the user's.
    #[error("`--scenario` has a build of its own; `{flag}` cannot go with it")]
    TwoSubjects {
        /// The flag with its dashes.
        flag: String,
    },
    /// A flag of a build that the comparison decides.
    #[error("`{flag}` cannot be given: the comparison decides it for each build")]
    NotCompared {
        /// The flag with its dashes.
        flag: String,
    },
    /// No run, or too many to count.
    #[error("`--runs` must be 1 or more")]
    NoRuns,
    /// A feature that is known and not built.
    #[error("`{flag}` is not supported yet")]
    NotSupported {
        /// The flag, with as much of its value as matters.
        flag: String,
    },
}

impl Fault for Error {
    fn class(&self) -> Class {
        match self {
            Self::CurrentDirectory { .. } => Class::Infrastructure,
            _ => Class::User,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Spelling(SpellingError::UnknownFlag { name, similar }) => similar
                .as_ref()
                .map(|similar| match name.split_once(' ') {
                    Some((flag, value)) if flag == similar => format!(
                        "flag and value are one argument; write `--{flag}={value}`, or two arguments"
                    ),
                    _ => format!("did you mean `--{similar}`?"),
                })
                .or_else(|| Some("`--help` lists the flags".to_owned())),
            Self::Spelling(SpellingError::UnknownShorthand { similar: Some(name), .. }) => {
                Some(format!("write `--{name}` with two dashes"))
            }
            Self::UnknownCommand { after_switch: Some(switch), word, .. } => {
                Some(format!("a boolean's value needs `=`: `--{switch}={word}`"))
            }
            Self::NoCommand => Some("`zuwai build --help` lists the flags of a build".to_owned()),
            Self::NoDestination => {
                Some("add `--destination=HOST/REPOSITORY:TAG` to push, or `--no-push`".to_owned())
            }
            Self::NothingToCompare => Some("`zuwai compare-modes --help` lists scenarios".to_owned()),
            Self::NoWorkDirectory => Some("name one with `--kaniko-dir=DIRECTORY`".to_owned()),
            _ => None,
        }
    }
}
