//! Why a command does not start, as a shell would say it.

use std::io;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What stands in the way of starting a command.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum StartFailure {
    /// No such file, in `PATH` or as named.
    #[error("command not found{}", match path { Some(path) => format!(" in PATH `{path}`"), None => String::new() })]
    NotFound {
        /// The `PATH` that was searched; `None` when the command was named by a path.
        path: Option<String>,
    },
    /// The file is there but may not be executed.
    #[error("permission denied for `{path}`")]
    Denied {
        /// The file.
        path: String,
    },
    /// The file is there; the program it asks for is not.
    #[error("`{path}` needs `{interpreter}`, which the image does not have")]
    MissingInterpreter {
        /// The file.
        path: String,
        /// The interpreter of a script, or the loader of a dynamic program.
        interpreter: String,
    },
    /// The program is for another machine.
    #[error("`{path}` is a program for {machine}, which this machine cannot execute")]
    ForeignArchitecture {
        /// The file.
        path: String,
        /// The architecture it is for.
        machine: String,
    },
    /// The kernel does not know how to execute the file.
    #[error("`{path}` is neither a program nor a script that starts with `#!`")]
    NotExecutable {
        /// The file.
        path: String,
    },
    /// Arguments and environment are larger than the kernel allows.
    #[error("the arguments and the environment together are too long")]
    TooLong,
    /// The user and groups could not be taken on.
    #[error("cannot become the step's user: {}", io::Error::from_raw_os_error(*errno))]
    Identity {
        /// The kernel's answer.
        errno: i32,
    },
    /// The working directory could not be entered.
    #[error("cannot enter the working directory `{path}`: {}", io::Error::from_raw_os_error(*errno))]
    WorkingDir {
        /// The directory.
        path: String,
        /// The kernel's answer.
        errno: i32,
    },
    /// Anything else that `execve` may say.
    #[error("`{path}` cannot be executed: {}", io::Error::from_raw_os_error(*errno))]
    Other {
        /// The file.
        path: String,
        /// The kernel's answer.
        errno: i32,
    },
}

impl StartFailure {
    /// Returns 127 when there is no such command, else 126.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } | Self::MissingInterpreter { .. } => 127,
            Self::Denied { .. }
            | Self::ForeignArchitecture { .. }
            | Self::NotExecutable { .. }
            | Self::TooLong
            | Self::Identity { .. }
            | Self::WorkingDir { .. }
            | Self::Other { .. } => 126,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::MissingInterpreter { .. } => Some(
                "an image without this file cannot run the program: add it, or use a static one"
                    .to_owned(),
            ),
            Self::ForeignArchitecture { .. } => Some(
                "register an emulator on the node (binfmt_misc with qemu-user-static), or build on \
                 a machine of that architecture"
                    .to_owned(),
            ),
            Self::Denied { path } => Some(format!(
                "make it executable, for example with `COPY --chmod=755` or `RUN chmod +x {path}`"
            )),
            Self::NotFound { .. } => Some(
                "the shell form of RUN needs a shell in the image; see also `SHELL`".to_owned(),
            ),
            Self::NotExecutable { .. }
            | Self::TooLong
            | Self::Identity { .. }
            | Self::WorkingDir { .. }
            | Self::Other { .. } => None,
        }
    }
}
