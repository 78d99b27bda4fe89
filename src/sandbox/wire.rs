//! What the two ends of the supervisor's socket say to each other: one request, one reply.
//!
//! Both ends are the same binary, so the form is free to change. JSON, because it is at hand;
//! paths and file contents travel as bytes.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::probe::Refusal;
use super::rights::Right;
use super::start_failure::StartFailure;
use super::step_mount::{MountedFile, MountedTree, StepNetwork};

/// Largest request or reply that is read; a RUN's text and environment are far below.
const LIMIT_BYTES: u64 = 256 << 20;

/// What the supervisor is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Try to enter namespaces, run nothing.
    ProbeNamespaces(NamespaceRoot),
    /// Run a command in namespaces.
    RunInNamespaces(NamespaceRoot, Command),
    /// Run a command in the root that is there.
    RunInPlace(Command),
    /// Write the id maps of a user namespace.
    MapIds(IdMaps),
    /// Try a change tracker out.
    TryTracker(TrackerTrial),
    /// Try to become root of a user namespace, and to enter namespaces in it.
    ProbeUserNamespace,
    /// Try, in this empty directory, what giving files their owners and kinds takes.
    TryRights(PathBuf),
}

/// Where a change tracker is tried.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TrackerTrial {
    /// The tracker's name.
    pub tracker: String,
    /// An empty directory on the file system that it is for.
    pub directory: PathBuf,
    /// Watches that it may take, where that was said.
    pub watch_count: Option<u64>,
}

/// The id maps of a process in a user namespace.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdMaps {
    pub pid: u32,
    pub way: MapWay,
    pub uids: Vec<IdRange>,
    pub gids: Vec<IdRange>,
}

/// How maps get to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum MapWay {
    /// Written by us, as root.
    Direct,
    /// Through `newuidmap` and `newgidmap`.
    Programs,
}

/// Ids `inside` the namespace and those `outside` that they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// The root of a step in namespaces and what is mounted into it.
///
/// Mount points exist already and have no symbolic link in their paths.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NamespaceRoot {
    /// Where the root is; `None`: an empty one is made in memory (for the probe).
    pub directory: Option<RootDirectory>,
    /// Host name of the step.
    pub hostname: String,
    /// Files that the step sees and the image does not get, each over an existing file.
    pub covers: Vec<Cover>,
    /// Read-only files of the step in `/dev/pipes`.
    pub pipes: Vec<PipeFile>,
    /// What the Dockerfile mounts, outer ones first.
    pub mounts: Vec<Mount>,
    /// What the step can reach.
    pub network: StepNetwork,
}

/// One thing that the Dockerfile mounts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mount {
    /// Bytes of the path from the root, without a leading slash.
    pub target: Vec<u8>,
    /// It is inside of something that is mounted before it, so that what is missing of the path
    /// can only be made then.
    pub is_nested: bool,
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum MountKind {
    Tree(MountedTree),
    /// A tmpfs; `mode` is that of the image's directory that it covers.
    Memory {
        size_bytes: Option<u64>,
        mode: Option<u32>,
    },
    File(MountedFile),
}

/// A directory by path, and by what must be found there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RootDirectory {
    pub path: PathBuf,
    pub dev: u64,
    pub ino: u64,
    pub source: RootSource,
}

/// How a root comes to its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RootSource {
    /// It is there.
    There,
    /// It is a mount whose descriptor follows the request.
    Passed,
}

/// A file that is mounted over another.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cover {
    /// Bytes of the path from the root, without a leading slash.
    pub target: Vec<u8>,
    pub content: Vec<u8>,
}

/// A file that a step can read as `/dev/pipes/NAME`, with mode 0755: the body of a heredoc that
/// starts with `#!`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipeFile {
    /// One path component.
    pub name: String,
    /// The file's bytes.
    pub content: Vec<u8>,
}

/// The process to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Command {
    pub argv: Vec<String>,
    pub env: Vec<String>,
    /// Bytes of the path from the root, without a leading slash.
    pub working_dir: Vec<u8>,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// How long its processes may take to go when they are killed.
    pub grace: Duration,
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The probe found nothing in the way.
    Works,
    /// The command ran and every process of the step is dead.
    Ended { ending: Ending, stragglers: Vec<(i32, String)> },
    /// The command could not be started.
    NotStarted(StartFailure),
    /// The place to run it could not be made.
    SetupFailed(SetupFailure),
    /// A process of the step outlived SIGKILL.
    Unkillable { stragglers: Vec<(i32, String)> },
    /// The change tracker cannot be used, and why.
    NoTracker { reason: String },
    /// The form of sandbox cannot be used.
    Refused(Refusal),
    /// Each right that was tried, and the kernel's answer where it was refused.
    Rights(Vec<(Right, Option<i32>)>),
    /// The process at the head of the step vanished, ended by this signal if there was one.
    Lost { signal: Option<i32> },
}

/// How the command's own process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    Exited(i32),
    Signaled(i32),
}

/// A step of the set-up that failed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SetupFailure {
    pub action: SetupAction,
    pub errno: i32,
}

/// The steps of the set-up, for messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetupAction {
    /// Making the namespaces.
    Unshare,
    /// Starting the process at the head of them.
    Fork,
    /// Cutting mount propagation.
    MakePrivate,
    /// Finding the root's directory again.
    OpenRoot(PathBuf),
    /// The root's path leads to something else now.
    RootReplaced(PathBuf),
    /// Making the directory the root.
    PivotRoot,
    /// Letting go of the old root.
    DetachOldRoot,
    /// Naming the host.
    SetHostname,
    /// Finding what is to be mounted.
    OpenMount(PathBuf),
    /// Letting a step without network talk to itself.
    RaiseLoopback,
    /// Mounting something on a path.
    Mount {
        /// What, such as `proc`.
        what: String,
        /// Where, seen from the new root.
        target: String,
    },
    /// Making a device node, file, directory or link.
    Create(String),
    /// Passing descriptors and pipes on.
    Plumbing,
    /// Becoming the one whom orphans are handed to.
    Subreaper,
    /// Opening the table of processes.
    ProcessTable,
    /// Making a user namespace.
    UnshareUser,
    /// Finding the program that maps subordinate ids.
    FindMapper(String),
    /// Mapping subordinate ids with this program.
    MapIds(String),
}

impl fmt::Display for SetupAction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unshare => formatter.write_str("make namespaces"),
            Self::Fork => formatter.write_str("start a process"),
            Self::MakePrivate => formatter.write_str("cut mount propagation"),
            Self::OpenRoot(path) => write!(formatter, "open the root `{}`", path.display()),
            Self::RootReplaced(path) => {
                write!(formatter, "find the stage's root again at `{}`", path.display())
            }
            Self::PivotRoot => formatter.write_str("change the root"),
            Self::DetachOldRoot => formatter.write_str("let go of the old root"),
            Self::SetHostname => formatter.write_str("set the host name"),
            Self::OpenMount(path) => {
                write!(formatter, "open `{}`, which is to be mounted,", path.display())
            }
            Self::RaiseLoopback => formatter.write_str("raise the loopback interface"),
            Self::Mount { what, target } => write!(formatter, "mount {what} on `{target}`"),
            Self::Create(path) => write!(formatter, "create `{path}`"),
            Self::Plumbing => formatter.write_str("set up pipes"),
            Self::Subreaper => formatter.write_str("become the reaper of orphans"),
            Self::ProcessTable => formatter.write_str("list processes in `/proc`"),
            Self::UnshareUser => formatter.write_str("make a user namespace"),
            Self::FindMapper(program) => write!(formatter, "find `{program}`"),
            Self::MapIds(program) => write!(formatter, "map subordinate ids with `{program}`"),
        }
    }
}

/// Writes one message; the reader needs no end of file to know its end.
pub(super) fn write_message(mut sink: impl Write, message: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
    sink.write_all(&length.to_le_bytes())?;
    sink.write_all(&bytes)
}

/// Reads one message; `None` when the stream ends before its first byte.
pub(super) fn read_message<M: for<'de> Deserialize<'de>>(
    mut source: impl Read,
) -> io::Result<Option<M>> {
    let mut length = [0; 8];
    let first = loop {
        match source.read(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    let rest = length.get_mut(first..).unwrap_or_default();
    source.read_exact(rest)?;
    let length = u64::from_le_bytes(length);
    if length > LIMIT_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message too long"));
    }
    let mut bytes = Vec::new();
    source.take(length).read_to_end(&mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}
