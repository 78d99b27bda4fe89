//! Where RUN runs: the forms of a sandbox, and the supervisor that starts a command in one.
//!
//! Owns the processes and mounts of a step. Must not know images, Dockerfiles or plans: it gets a
//! [`snapshot::Rootfs`] and a [`RunSpec`], and says how the command ended.
//!
//! The one idea to hold in mind: this process has threads, so it never runs code between fork and
//! exec. It spawns its own binary again with [`SUBCOMMAND`], a small single-threaded
//! [`supervisor`], and talks to it over a socket; whatever needs forks, namespaces or mounts
//! happens there. A step is over when every process of it is dead.

mod choose;
mod container;
mod control_group;
mod error;
mod host;
mod in_place;
mod listen;
mod mount_table;
mod output;
mod passing;
mod probe;
mod rights;
mod run;
mod start_failure;
mod step_mount;
mod stubs;
pub mod supervisor;
mod user_namespace;
mod wire;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use container::{Sign, Surroundings, is_container, signs};
pub use control_group::{GroupLimits, memory_limit_bytes};
pub use error::{SandboxError, SetupAction};
pub use host::{HOSTNAME, HostFiles};
pub use in_place::{Aside, Eviction, InPlace, Residents, Tenancy};
pub use mount_table::{Mount, mount_over, mounts};
pub use output::OutputLine;
pub use probe::{Refusal, try_form};
pub use rights::Right;
pub use run::{Exit, RunOutcome, RunSpec, Straggler};
pub use start_failure::StartFailure;
pub use step_mount::{MountContent, MountedFile, MountedTree, StepMount, StepNetwork, TreeAccess};
pub use user_namespace::{Obstacle, missing_ids_hint};
pub use wire::PipeFile;

use crate::interrupt::Interrupt;

/// The hidden sub-command that makes this binary a [`supervisor`].
pub const SUBCOMMAND: &str = "__supervise";

/// The running binary, as the kernel knows it: right even when the file was replaced meanwhile.
pub const THIS_BINARY: &str = "/proc/self/exe";

/// How long the killed processes of a step may take to go; longer means that the kernel holds one of
/// them (a dead NFS server, a hung device, a frozen control group), or that we may not kill it.
pub const GRACE: Duration = Duration::from_secs(60);

/// The ways to run a command against a root file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Own mount, PID, IPC and UTS namespaces; the stage's directory is the root.
    Namespaces,
    /// The same, with this whole process inside a user namespace.
    UserNamespace,
    /// The root of the container that this is.
    InPlace,
}

impl Form {
    /// All of them, best first.
    pub const ALL: [Self; 3] = [Self::Namespaces, Self::UserNamespace, Self::InPlace];
}

impl fmt::Display for Form {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::UserNamespace => "user namespace",
            Self::InPlace => "in place",
        })
    }
}

/// Whether a root that is not a container's may be built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Refused.
    Refused,
    /// Allowed.
    Forced,
}

/// What [`Sandbox::choose`] starts from.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// The binary to start as supervisor, which must understand [`SUBCOMMAND`]; usually
    /// [`THIS_BINARY`].
    pub supervisor: PathBuf,
    /// What RUN sees as resolver configuration and host table, where it has a root of its own.
    pub host_files: HostFiles,
    /// The form to use; `None`: the best that works here.
    pub form: Option<Form>,
    /// Whether to build in `/` where this is no container.
    pub overwrite: Overwrite,
    /// What the environment says of where we are.
    pub surroundings: Surroundings,
    /// How long the killed processes of a step may take to go, usually [`GRACE`]; a step whose
    /// processes are still there then ends in [`SandboxError::Unkillable`].
    pub grace: Duration,
}

/// The chosen way to run commands; one for a whole build, used by all its stages.
#[derive(Clone, Debug)]
pub struct Sandbox {
    form: Form,
    supervisor: PathBuf,
    host_files: HostFiles,
    grace: Duration,
    reason: String,
    warning: Option<String>,
    interrupt: Option<Interrupt>,
}

impl Sandbox {
    /// Tries what works here and returns the best form of sandbox, or the one that is asked for.
    ///
    /// Trials happen in child processes and leave nothing behind, with one exception: where this
    /// process is not root's, it enters a user namespace and stays there. So this is called before
    /// the first thread, before anything is opened that only makes sense outside, and before
    /// [`hide_process`].
    ///
    /// # Errors
    /// What keeps commands from running here, with a hint that says how to get it.
    pub fn choose(options: SandboxOptions) -> Result<Self, SandboxError> {
        choose::choose(options)
    }

    /// Chooses for a build that was not expected to run commands, now that it has threads.
    ///
    /// # Errors
    /// [`SandboxError::TooLate`] where the process would have to enter a user namespace, and as
    /// [`Sandbox::choose`].
    pub fn choose_late(options: SandboxOptions) -> Result<Self, SandboxError> {
        match options.form {
            None if !is_root() => Err(SandboxError::TooLate),
            Some(Form::UserNamespace) => Err(SandboxError::TooLate),
            None | Some(Form::Namespaces | Form::InPlace) => choose::choose(options),
        }
    }

    /// Ends the commands that run when `interrupt` is raised.
    pub fn heeding(self, interrupt: &Interrupt) -> Self {
        Self { interrupt: Some(interrupt.clone()), ..self }
    }

    /// Returns the form that was chosen.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Opens the root of all stages, one after the other, where they are built in place; `None`
    /// where each has a directory of its own.
    ///
    /// A build neither writes to nor removes the directories in `protected`, nor anything in them.
    /// They must exist; the context, the work directory and that of the program belong there.
    ///
    /// # Errors
    /// [`SandboxError::Protect`] when one of the directories cannot be looked at, or is the root.
    pub fn open_place(&self, protected: &[PathBuf]) -> Result<Option<InPlace>, SandboxError> {
        match self.form {
            Form::Namespaces | Form::UserNamespace => Ok(None),
            Form::InPlace => InPlace::open(Path::new("/"), protected).map(Some),
        }
    }

    /// Returns why this form was chosen, for the log.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns what the user should know of the choice.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    fn interrupt(&self) -> Option<&Interrupt> {
        self.interrupt.as_ref()
    }

    fn supervisor(&self) -> &Path {
        &self.supervisor
    }
}

/// Tells whether this process may give files to any owner, as far as its user goes.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
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
