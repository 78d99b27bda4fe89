//! The near end of a step: starts the supervisor, passes output on, and says how it ended.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use snapshot::{Rootfs, RootfsPath};

use super::listen::listen;
use super::stubs::Stubs;
use super::wire::{self, Cover, Ending, NamespaceRoot, Reply, Request, RootDirectory, RootSource};
use super::{
    Form, HOSTNAME, MountContent, OutputLine, PipeFile, SUBCOMMAND, Sandbox, SandboxError,
    StepMount, StepNetwork, control_group, in_place, passing,
};
use crate::interrupt::Interrupt;

/// A command and everything about its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSpec {
    /// The command; its first word is searched in the `PATH` of `env`, inside the root file
    /// system, unless it has a slash.
    pub argv: Vec<String>,
    /// The whole environment, as `NAME=value`.
    pub env: Vec<String>,
    /// Where it starts; must exist.
    pub working_dir: RootfsPath,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
    /// Read-only files in `/dev/pipes`.
    pub pipes: Vec<PipeFile>,
    /// What is mounted while it runs, outer ones before those that are inside of them.
    pub mounts: Vec<StepMount>,
    /// What it can reach.
    pub network: StepNetwork,
}

/// How a command that ran has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOutcome {
    /// What its own process said.
    pub exit: Exit,
    /// The processes that were alive when it ended; all of them have been killed.
    pub stragglers: Vec<Straggler>,
    /// Whether the kernel killed a process of this container for want of memory meanwhile.
    pub out_of_memory: bool,
}

impl RunOutcome {
    /// Returns the exit code a shell would give: the command's own, or 128 and the signal.
    pub fn exit_code(&self) -> u8 {
        let code = match self.exit {
            Exit::Exited(code) => code,
            Exit::Signaled(signal) => 128 + signal,
        };
        // Wait statuses hold eight bits of exit code and seven of signal number.
        u8::try_from(code).unwrap_or(u8::MAX)
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal.
    Signaled(i32),
}

/// A process that outlived the command which started it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Straggler {
    /// Its id in the step's PID namespace.
    pub pid: i32,
    /// Its name as the kernel has it, at most 15 bytes.
    pub name: String,
}

impl Sandbox {
    /// Runs a command against `rootfs` and returns when every process of it is dead.
    ///
    /// `on_output` gets what the command and its children wrote to standard output and standard
    /// error, in the order it was written; while it runs, the command may have to wait.
    ///
    /// # Errors
    /// [`SandboxError::Start`] when there is no such command or it cannot be executed; the other
    /// errors mean that the place to run it could not be made, or that the step got out of hand.
    /// A command that ran and failed is an `Ok`.
    pub fn run(
        &self,
        rootfs: &Rootfs,
        spec: &RunSpec,
        on_output: &mut dyn FnMut(OutputLine<'_>),
    ) -> Result<RunOutcome, SandboxError> {
        let program = spec.argv.first().ok_or(SandboxError::EmptyCommand)?;
        if let Some(pipe) = spec.pipes.iter().find(|pipe| !is_file_name(&pipe.name)) {
            return Err(SandboxError::PipeName { name: pipe.name.clone() });
        }
        let oom_kills = control_group::kill_count();
        let reply = match self.form() {
            Form::Namespaces | Form::UserNamespace => {
                self.run_in_namespaces(rootfs, spec, on_output)?
            }
            Form::InPlace => self.run_in_place(rootfs, spec, on_output)?,
        };
        match reply {
            Reply::Ended { ending, stragglers } => Ok(RunOutcome {
                exit: match ending {
                    Ending::Exited(code) => Exit::Exited(code),
                    Ending::Signaled(signal) => Exit::Signaled(signal),
                },
                stragglers: stragglers
                    .into_iter()
                    .map(|(pid, name)| Straggler { pid, name })
                    .collect(),
                out_of_memory: control_group::kill_count() > oom_kills,
            }),
            Reply::NotStarted(failure) => {
                Err(SandboxError::Start { program: program.clone(), failure })
            }
            other => Err(failure(other)),
        }
    }

    fn run_in_namespaces(
        &self,
        rootfs: &Rootfs,
        spec: &RunSpec,
        on_output: &mut dyn FnMut(OutputLine<'_>),
    ) -> Result<Reply, SandboxError> {
        let root = rootfs.metadata(&RootfsPath::root())?.ok_or(SandboxError::RootGone)?;
        let stubs = Stubs::make(rootfs, &spec.mounts)?;
        let (path, source) = place_of(rootfs);
        let request = Request::RunInNamespaces(
            NamespaceRoot {
                directory: Some(RootDirectory { path, dev: root.dev, ino: root.ino, source }),
                hostname: HOSTNAME.to_owned(),
                covers: stubs
                    .covers()
                    .map(|(name, target)| Cover {
                        target: target.as_bytes().to_vec(),
                        content: self.host_files.content(name).to_vec(),
                    })
                    .collect(),
                pipes: spec.pipes.clone(),
                mounts: mounts(spec, &stubs),
                network: spec.network,
            },
            command(spec, self.grace),
        );
        let passed = (source == RootSource::Passed).then(|| rootfs.as_fd());
        let reply = Supervisor::start(self.supervisor()).and_then(|supervisor| {
            supervisor.heeding(self.interrupt()).ask_about(passed, &request, on_output)
        });
        // Also after a failure: the stubs must not stay in the image's files.
        let removed = stubs.remove(rootfs);
        let reply = reply?;
        removed?;
        Ok(reply)
    }

    fn run_in_place(
        &self,
        rootfs: &Rootfs,
        spec: &RunSpec,
        on_output: &mut dyn FnMut(OutputLine<'_>),
    ) -> Result<Reply, SandboxError> {
        if spec.network == StepNetwork::None {
            return Err(SandboxError::NoNetworkNamespace);
        }
        if !spec.mounts.is_empty() {
            return Err(SandboxError::NoMounts);
        }
        // Unguarded, because `/dev` is a mount.
        let whole = in_place::same_root(rootfs)?;
        let pipes = Stubs::make_pipes(&whole, &spec.pipes)?;
        let request = Request::RunInPlace(command(spec, self.grace));
        let reply = Supervisor::start(self.supervisor())
            .and_then(|supervisor| supervisor.heeding(self.interrupt()).ask(&request, on_output));
        let removed = pipes.remove(&whole);
        let reply = reply?;
        removed?;
        Ok(reply)
    }
}

/// Returns what is to be mounted, as the supervisor is told of it.
fn mounts(spec: &RunSpec, stubs: &Stubs) -> Vec<wire::Mount> {
    let places = spec.mounts.iter().zip(stubs.places());
    let told = places.map(|(mount, place)| wire::Mount {
        target: place.path.as_bytes().to_vec(),
        is_nested: place.is_nested,
        kind: match &mount.content {
            MountContent::Tree(tree) => wire::MountKind::Tree(tree.clone()),
            MountContent::Memory(size_bytes) => {
                wire::MountKind::Memory { size_bytes: *size_bytes, mode: place.mode }
            }
            MountContent::File(file) => wire::MountKind::File(file.clone()),
        },
    });
    told.collect()
}

/// Returns where a root is now, for a process that starts elsewhere, or where it has to be put.
fn place_of(rootfs: &Rootfs) -> (PathBuf, RootSource) {
    if rootfs.is_detached() {
        return (rootfs.host_path().to_owned(), RootSource::Passed);
    }
    let link = format!("/proc/self/fd/{}", rootfs.as_fd().as_raw_fd());
    // Without `/proc` nothing can be set up, which the supervisor will say.
    let path = std::fs::read_link(link).unwrap_or_else(|_| rootfs.host_path().to_owned());
    (path, RootSource::There)
}

fn command(spec: &RunSpec, grace: Duration) -> wire::Command {
    wire::Command {
        argv: spec.argv.clone(),
        env: spec.env.clone(),
        working_dir: spec.working_dir.as_bytes().to_vec(),
        uid: spec.uid,
        gid: spec.gid,
        groups: spec.groups.clone(),
        grace,
    }
}

/// Tells whether `name` is one path component that can name a file.
fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']) && name.len() <= 255
}

/// Turns a reply that is no outcome into what it means.
pub(super) fn failure(reply: Reply) -> SandboxError {
    match reply {
        Reply::SetupFailed(failure) => SandboxError::Setup {
            action: failure.action,
            source: io::Error::from_raw_os_error(failure.errno),
        },
        Reply::Unkillable { stragglers } => SandboxError::Unkillable {
            names: stragglers.into_iter().map(|(pid, name)| format!("{name} ({pid})")).collect(),
        },
        Reply::Lost { signal } => SandboxError::SupervisorLost {
            status: match signal {
                Some(signal) => format!("signal {signal}"),
                None => "no signal".to_owned(),
            },
        },
        Reply::Works
        | Reply::Ended { .. }
        | Reply::NotStarted(_)
        | Reply::NoTracker { .. }
        | Reply::Refused(_)
        | Reply::Rights(_) => {
            SandboxError::SupervisorLost { status: "an answer to another question".to_owned() }
        }
    }
}

/// A supervisor that was started and waits for its request.
pub(super) struct Supervisor<'a> {
    // Dropped in this order: the process ends when it finds nobody at the other end.
    socket: UnixStream,
    output: OwnedFd,
    process: Process,
    interrupt: Option<&'a Interrupt>,
}

/// A supervisor's process; waited for in any case, also when a panic unwinds through a step, since
/// nothing of the step may outlive its caller.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Reaped already, as a rule; there is nobody to tell of a failure.
        let _ = self.0.wait();
    }
}

impl<'a> Supervisor<'a> {
    /// Starts a supervisor from the binary at `path`.
    pub fn start(path: &Path) -> Result<Self, SandboxError> {
        let failed = |source| SandboxError::Spawn { path: path.to_owned(), source };
        let (socket, far_end) = UnixStream::pair().map_err(failed)?;
        // One pipe for both streams: two would lose the order in which lines were written.
        let (output, output_end) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let process = Process(spawn(path, far_end, output_end).map_err(failed)?);
        Ok(Self { socket, output, process, interrupt: None })
    }

    /// Passes the signal of an interrupt on to the command, and ends it when that is not enough.
    pub fn heeding(self, interrupt: Option<&'a Interrupt>) -> Self {
        Self { interrupt, ..self }
    }

    /// Asks it `request`, passes output on until it is done, and returns its answer.
    pub fn ask(
        self,
        request: &Request,
        on_output: &mut dyn FnMut(OutputLine<'_>),
    ) -> Result<Reply, SandboxError> {
        self.ask_about(None, request, on_output)
    }

    /// The same, for a request that a descriptor belongs to.
    pub fn ask_about(
        self,
        descriptor: Option<BorrowedFd<'_>>,
        request: &Request,
        on_output: &mut dyn FnMut(OutputLine<'_>),
    ) -> Result<Reply, SandboxError> {
        let Self { socket, output, mut process, interrupt } = self;
        let asked = wire::write_message(&socket, request).and_then(|()| match descriptor {
            Some(descriptor) => passing::send(&socket, descriptor),
            None => Ok(()),
        });
        let answer = asked.and_then(|()| listen(socket, output, interrupt, on_output));
        // Our end of the socket is closed: a supervisor that is still there ends the step.
        let status = process.0.wait().map_err(|source| SandboxError::Talk { source })?;
        if !matches!(answer, Ok(Some(_))) {
            interrupt.map_or(Ok(()), Interrupt::check)?;
        }
        match answer {
            Ok(Some(reply)) => Ok(reply),
            // It ended before it had read or written everything: its status says more.
            Ok(None) | Err(_) if !status.success() => {
                Err(SandboxError::SupervisorLost { status: status.to_string() })
            }
            Ok(None) => Err(SandboxError::SupervisorLost { status: "no answer".to_owned() }),
            Err(source) => Err(SandboxError::Talk { source }),
        }
    }
}

fn spawn(supervisor: &Path, socket: UnixStream, output: OwnedFd) -> io::Result<Child> {
    let errors = output.try_clone()?;
    // The command drops its copies of the descriptors at the end of this function, so that the
    // output ends when the last process of the step has.
    Command::new(supervisor)
        .arg0("zuwai")
        .arg(SUBCOMMAND)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(errors))
        .spawn()
}
