//! What can go wrong around a step; a command that ran and failed is not an error here.

use std::io;
use std::path::PathBuf;

use snapshot::{FileKind, RootfsPath};
use thiserror::Error;

use super::start_failure::StartFailure;
use super::user_namespace::Obstacle;
pub use super::wire::SetupAction;
use crate::interrupt::Interrupted;
use crate::report::fault::{Class, Fault};

/// Why a command could not be run.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The build is to end, and its command was ended first.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// This process may not make the namespaces that a step runs in.
    #[error("cannot run commands here: this process may not {action}")]
    NoNamespaces {
        /// What was refused.
        action: SetupAction,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// No form of sandbox works: namespaces are refused, and this is no container.
    #[error("cannot build in `/`, which is not that of a container")]
    NotAContainer {
        /// What a build in `/` would write to.
        overwritten: Vec<String>,
        /// Why namespaces cannot be made; `None` when they were not asked for.
        #[source]
        source: Option<Box<SandboxError>>,
    },
    /// Building in `/` takes root.
    #[error("only root can build in `/`")]
    NotRoot,
    /// A user namespace would have to be entered, and the build has begun without.
    #[error("a trigger of the base image runs a command, which takes a user namespace")]
    TooLate,
    /// A directory that must be protected cannot be looked at.
    #[error("cannot protect `{}` from the build", path.display())]
    Protect {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another build is in the root.
    #[error("another build is under way in `/` of this container")]
    Occupied,
    /// The root is another image's.
    #[error(
        "`/` is that of another image, whose files a RUN would find beside those of the base: {}",
        examples.join(", ")
    )]
    Inhabited {
        /// Some of its files.
        examples: Vec<String>,
    },
    /// The files of a machine were to be removed.
    #[error("`--pre-cleanup` removes what is in `/`, and this is not a container")]
    ClearMachine,
    /// The root cannot be locked against other builds.
    #[error("cannot lock `{}` against other builds", path.display())]
    Claim {
        /// The root.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An entry of a stage cannot be taken out of the root.
    #[error("cannot take `{path}` out of the root after its stage")]
    Evict {
        /// The entry.
        path: RootfsPath,
    },
    /// The root that a step is given is not the one that is there.
    #[error("a step in place has `{}` as its root, which is not `/`", path.display())]
    NotTheRoot {
        /// What was given.
        path: PathBuf,
    },
    /// An ordinary user may not make a user namespace here.
    #[error("cannot run commands here: this user may not make a user namespace")]
    NoUserNamespace {
        /// What is known to be in the way.
        obstacle: Obstacle,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// An ordinary user has no ids for the users of an image.
    #[error("cannot run commands here: user `{user}` has no subordinate ids in `{file}`")]
    NoSubordinateIds {
        /// Where they would be.
        file: &'static str,
        /// Whose.
        user: String,
    },
    /// The program that maps subordinate ids is missing.
    #[error("cannot run commands here: `{program}` is not installed")]
    NoMapper {
        /// Its name.
        program: String,
    },
    /// The program that maps subordinate ids refused.
    #[error("cannot run commands here: cannot {action}: {said}")]
    NoMapping {
        /// What failed.
        action: SetupAction,
        /// What the program said.
        said: String,
    },
    /// The place to run the command could not be made.
    #[error("cannot {action} for this step")]
    Setup {
        /// What failed.
        action: SetupAction,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A place that RUN needs is something else in the image.
    #[error("`{path}` in the image is a {found}, where RUN needs a {expected}")]
    MountPoint {
        /// The place.
        path: RootfsPath,
        /// What the image has there.
        found: FileKind,
        /// What must be there.
        expected: FileKind,
    },
    /// A mount of the Dockerfile leads to the root.
    #[error("cannot mount on `{target}`: it leads to the root")]
    MountOnRoot {
        /// The target.
        target: RootfsPath,
    },
    /// A step shall have no network, and there is no way to keep it from the container's.
    #[error("`RUN --network=none` takes a network namespace, which cannot be made in place")]
    NoNetworkNamespace,
    /// Something is to be mounted where nothing can be.
    #[error("nothing can be mounted in place")]
    NoMounts,
    /// The image's file system could not be read or prepared.
    #[error("cannot prepare the root file system for this step")]
    Rootfs(#[from] snapshot::RootfsError),
    /// Something that was there a moment ago is gone: somebody else works in this directory.
    #[error("the root file system is being changed by somebody else")]
    RootGone,
    /// A path from the outside cannot be one.
    #[error("bad path in this step")]
    Path(#[from] snapshot::PathError),
    /// The command could not be started.
    #[error("cannot start `{program}`: {failure}")]
    Start {
        /// The first word of the command.
        program: String,
        /// What stood in the way.
        failure: StartFailure,
    },
    /// There is no command.
    #[error("there is no command to run")]
    EmptyCommand,
    /// A heredoc's name cannot be that of a file.
    #[error("`{name}` cannot be the name of a file in `/dev/pipes`")]
    PipeName {
        /// The name.
        name: String,
    },
    /// A heredoc's file could not be written.
    #[error("cannot write `/dev/pipes/{name}`")]
    PipeFile {
        /// The name.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The supervisor could not be started.
    #[error("cannot start the supervisor `{}`", path.display())]
    Spawn {
        /// The binary.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Talking to the supervisor failed.
    #[error("cannot talk to the supervisor of this step")]
    Talk {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The supervisor ended without an answer.
    #[error("the supervisor of this step ended without an answer ({status})")]
    SupervisorLost {
        /// How it ended.
        status: String,
    },
    /// Processes of the step are still there after they were killed.
    #[error("{} of this step cannot be ended: {}", counted(names), names.join(", "))]
    Unkillable {
        /// `name (pid)` of each.
        names: Vec<String>,
    },
    /// A file of the machine that RUN must see cannot be read.
    #[error("cannot read `{}`", path.display())]
    HostFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel did not hide this process.
    #[error("cannot keep other processes from reading this one")]
    Hide {
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl Fault for SandboxError {
    fn class(&self) -> Class {
        match self {
            Self::MountPoint { .. }
            | Self::MountOnRoot { .. }
            | Self::NoNetworkNamespace
            | Self::Path(_)
            | Self::Start { .. }
            | Self::EmptyCommand
            | Self::PipeName { .. } => Class::User,
            Self::Rootfs(_)
            | Self::NoNamespaces { .. }
            | Self::NotAContainer { .. }
            | Self::NotRoot
            | Self::TooLate
            | Self::Protect { .. }
            | Self::Occupied
            | Self::Inhabited { .. }
            | Self::ClearMachine
            | Self::Claim { .. }
            | Self::Evict { .. }
            | Self::NoUserNamespace { .. }
            | Self::NoSubordinateIds { .. }
            | Self::NoMapper { .. }
            | Self::NoMapping { .. }
            | Self::Setup { .. }
            | Self::RootGone
            | Self::Spawn { .. }
            | Self::Unkillable { .. }
            | Self::PipeFile { .. }
            | Self::HostFile { .. }
            | Self::Interrupted(_)
            | Self::Hide { .. } => Class::Infrastructure,
            Self::Talk { .. }
            | Self::SupervisorLost { .. }
            | Self::NoMounts
            | Self::NotTheRoot { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Start { failure, .. } => failure.hint(),
            Self::NoNamespaces { .. } => Some(format!("run zuwai {WHERE_NAMESPACES_WORK}")),
            Self::NotAContainer { overwritten, .. } => Some(format!(
                "run zuwai {WHERE_NAMESPACES_WORK}, or in a container that can be thrown away; \
                 `--force` builds here and overwrites {}",
                overwritten.join(", ")
            )),
            Self::Occupied => Some(
                "wait for it to end, or use a container for each build: in place there is room for \
                 one at a time"
                    .to_owned(),
            ),
            Self::Inhabited { .. } => Some(
                "use zuwai's own image; `--pre-cleanup` removes these files before the build, \
                 `--force` leaves them for RUN to find"
                    .to_owned(),
            ),
            Self::ClearMachine => Some("leave the flag out".to_owned()),
            Self::NotRoot => Some("run the container as root (`runAsUser: 0`)".to_owned()),
            Self::TooLate => Some("get ready for it with `--isolation=userns`".to_owned()),
            Self::NoUserNamespace { obstacle, .. } => Some(obstacle.remedy().to_owned()),
            Self::NoSubordinateIds { user, .. } => Some(format!(
                "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            )),
            Self::Unkillable { .. } => Some(
                "look for a file system that does not answer or a frozen control group, and, where \
                 a container lacks it, add the capability `KILL`"
                    .to_owned(),
            ),
            Self::NoMapper { .. } => {
                Some("install it (Debian and Ubuntu: `sudo apt-get install uidmap`)".to_owned())
            }
            Self::NoNetworkNamespace => Some(format!("run zuwai {WHERE_NAMESPACES_WORK}")),
            Self::NoMapping { .. }
            | Self::Protect { .. }
            | Self::Claim { .. }
            | Self::Evict { .. }
            | Self::NoMounts
            | Self::MountOnRoot { .. }
            | Self::NotTheRoot { .. }
            | Self::Setup { .. }
            | Self::MountPoint { .. }
            | Self::Rootfs(_)
            | Self::RootGone
            | Self::Path(_)
            | Self::EmptyCommand
            | Self::PipeName { .. }
            | Self::PipeFile { .. }
            | Self::Spawn { .. }
            | Self::Talk { .. }
            | Self::SupervisorLost { .. }
            | Self::HostFile { .. }
            | Self::Interrupted(_)
            | Self::Hide { .. } => None,
        }
    }

    /// As a shell has it: 127 for a command that is not there, 126 for one that cannot be
    /// executed.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Start { failure, .. } => failure.exit_code(),
            Self::Interrupted(interrupted) => interrupted.code(),
            _ => 1,
        }
    }
}

/// Says how many processes there are.
fn counted(names: &[String]) -> String {
    match names {
        [_] => "1 process".to_owned(),
        names => format!("{} processes", names.len()),
    }
}

/// Ends sentences that begin with "run zuwai".
const WHERE_NAMESPACES_WORK: &str = "as root on a machine, or in a container that may make mount \
                                     and PID namespaces (`securityContext.privileged: true`)";
