//! Where RUN runs: the forms of a sandbox, and the supervisor that starts a command in one.
//!
//! Owns the processes and mounts of a step. Must not know images, Dockerfiles or plans: it gets a
//! [`snapshot::Rootfs`] and a [`RunSpec`], and says how the command ended.
//!
//! The one idea to hold in mind: this process has threads, so it never runs code between fork and
//! exec. It spawns its own binary again with [`SUBCOMMAND`], a small single-threaded
//! [`supervisor`], and talks to it over a socket; whatever needs forks, namespaces or mounts
//! happens there. A step is over when every process of it is dead.

mod error;
mod host;
mod oom;
mod output;
mod probe;
mod run;
mod stubs;
pub mod supervisor;
mod wire;

use std::fmt;
use std::path::{Path, PathBuf};

pub use error::{SandboxError, StartFailure};
pub use host::{HOSTNAME, HostFiles};
pub use output::OutputLine;
pub use run::{Exit, RunOutcome, RunSpec, Straggler};
pub use wire::PipeFile;

/// The hidden sub-command that makes this binary a [`supervisor`].
pub const SUBCOMMAND: &str = "__supervise";

/// The running binary, as the kernel knows it: right even when the file was replaced meanwhile.
pub const THIS_BINARY: &str = "/proc/self/exe";

/// The ways to run a command against a root file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Own mount, PID, IPC and UTS namespaces; the stage's directory is the root.
    Namespaces,
}

impl fmt::Display for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Namespaces => "namespaces",
        })
    }
}

/// What [`Sandbox::choose`] starts from.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// The binary to start as supervisor, which must understand [`SUBCOMMAND`]; usually
    /// [`THIS_BINARY`].
    pub supervisor: PathBuf,
    /// What RUN sees as resolver configuration and host table.
    pub host_files: HostFiles,
}

/// The chosen way to run commands; one for a whole build, used by all its stages.
#[derive(Clone, Debug)]
pub struct Sandbox {
    form: Form,
    supervisor: PathBuf,
    host_files: HostFiles,
}

impl Sandbox {
    /// Tries what works here and returns the best form of sandbox.
    ///
    /// The trial happens in a child process and leaves nothing behind.
    ///
    /// # Errors
    /// [`SandboxError::NoNamespaces`] where this process may not make namespaces, and the errors
    /// of starting the supervisor.
    pub fn choose(options: SandboxOptions) -> Result<Self, SandboxError> {
        probe::namespaces(&options)?;
        let SandboxOptions { supervisor, host_files } = options;
        Ok(Self { form: Form::Namespaces, supervisor, host_files })
    }

    /// Returns the form that was chosen.
    pub fn form(&self) -> Form {
        self.form
    }

    fn supervisor(&self) -> &Path {
        &self.supervisor
    }
}

/// Keeps other processes of the same user, RUN among them, from reading this one through `/proc`
/// or attaching to it.
///
/// Called once, early in `main`: credentials are in this process' memory. A child that is executed
/// starts dumpable again.
///
/// # Errors
/// [`SandboxError::Hide`] when the kernel refuses.
pub fn hide_process() -> Result<(), SandboxError> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|error| SandboxError::Hide { source: error.into() })
}
