//! Whether a build needs a sandbox, and when it is chosen.
//!
//! Some forms can only be entered while the process has one thread, which is before a context is
//! fetched or a base is known. So the Dockerfile is looked at first, where that takes no network:
//! without a RUN in it nothing has to be possible here that only commands need, no root and no
//! namespaces. A command that comes all the same, from a trigger of a base, chooses late.

use std::sync::OnceLock;

use super::error::BuildError;
use super::options::{BuildOptions, Isolation};
use super::session::{Session, sandbox_options};
use super::sources;
use crate::dockerfile::{
    self,
    instruction::{Add, Kind},
};
use crate::interrupt::Interrupt;
use crate::report::event::{Event, EventSink};
use crate::sandbox::{HostFiles, Sandbox, is_root};

/// Where commands of a build run.
pub(super) struct Commands {
    host_files: HostFiles,
    sandbox: OnceLock<Sandbox>,
}

/// What the Dockerfile says of what a build has to be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Demand {
    /// Nothing beyond reading a context.
    Nothing,
    /// Making files of any owner on disk.
    Files,
    /// Running commands.
    Commands,
}

impl Commands {
    /// Chooses a sandbox where one is needed; called while the process has one thread.
    pub(super) fn prepare(
        options: &BuildOptions,
        host_files: HostFiles,
        events: &dyn EventSink,
        interrupt: &Interrupt,
    ) -> Result<Self, BuildError> {
        let commands = Self { host_files, sandbox: OnceLock::new() };
        let is_needed = match demand_of(options) {
            _ if options.execution.isolation != Isolation::Auto => true,
            Demand::Commands => true,
            // Only in a user namespace can others make them.
            Demand::Files => !is_root(),
            Demand::Nothing => false,
        };
        if is_needed {
            let asked = sandbox_options(options, commands.host_files.clone());
            commands.take(Sandbox::choose(asked)?.heeding(interrupt), events);
        } else {
            tracing::debug!("no sandbox: the Dockerfile runs no command");
        }
        Ok(commands)
    }

    /// Tells of a sandbox and keeps it.
    fn take(&self, sandbox: Sandbox, events: &dyn EventSink) -> &Sandbox {
        tracing::info!(sandbox = %sandbox.form(), reason = sandbox.reason(), "sandbox chosen");
        if let Some(warning) = sandbox.warning() {
            events.send(Event::Warning { text: warning.to_owned() });
        }
        self.sandbox.get_or_init(|| sandbox)
    }
}

impl Session<'_> {
    /// Returns where commands run, chosen now if none was expected.
    pub(super) fn sandbox(&self) -> Result<&Sandbox, BuildError> {
        let commands = &self.commands;
        match commands.sandbox.get() {
            Some(sandbox) => Ok(sandbox),
            None => {
                let asked = sandbox_options(self.options, commands.host_files.clone());
                let sandbox = Sandbox::choose_late(asked)?.heeding(self.interrupt);
                Ok(commands.take(sandbox, self.events))
            }
        }
    }
}

/// Returns what the Dockerfile demands; everything, where it cannot be read yet.
fn demand_of(options: &BuildOptions) -> Demand {
    sources::peek(options).map_or(Demand::Commands, |text| demand_in(&text))
}

fn demand_in(text: &[u8]) -> Demand {
    let Ok(parsed) = dockerfile::parse(text) else { return Demand::Commands };
    let instructions = parsed.stages.iter().flat_map(|stage| &stage.instructions);
    let demands = instructions.map(|instruction| match &instruction.kind {
        Kind::Run(_) => Demand::Commands,
        // What is copied from has to be on disk.
        Kind::Copy(copy) if copy.from.is_some() => Demand::Files,
        Kind::Add(add) if may_unpack(add) => Demand::Files,
        _ => Demand::Nothing,
    });
    demands.max().unwrap_or(Demand::Nothing)
}

/// Tells whether an ADD looks as if it unpacked something; what it fetches is not, unless it says so.
fn may_unpack(add: &Add) -> bool {
    let said = add.unpack.as_ref().map(|flag| flag.value);
    let is_remote = |source: &str| source.starts_with("http://") || source.starts_with("https://");
    add.sources
        .paths
        .iter()
        .any(|word| said.unwrap_or_else(|| !is_remote(&word.value)) && may_be_archive(&word.value))
}

/// Tells whether a source of an ADD is called as what is unpacked. One that is an archive under
/// another name takes the rights to unpack it that are there.
fn may_be_archive(name: &str) -> bool {
    let endings = [".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst"];
    endings.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dockerfile_does_has_to_be_possible() {
        for (text, expected) in [
            ("FROM a\nCOPY x /\nADD y.txt /\nWORKDIR /z\nUSER u\nCMD x", Demand::Nothing),
            ("FROM a\nONBUILD RUN x", Demand::Nothing),
            ("FROM a AS b\nFROM c\nCOPY --from=b / /", Demand::Files),
            ("FROM a AS b\nRUN x\nFROM c\nCOPY --from=b / /", Demand::Commands),
            ("FROM a\nNONSENSE", Demand::Commands),
            ("FROM a\nADD b c.tar.gz /", Demand::Files),
            ("FROM a\nADD --unpack=false c.tar.gz /", Demand::Nothing),
            ("FROM a\nADD https://h/c.tar.gz /", Demand::Nothing),
            ("FROM a\nADD --unpack https://h/c.tar.gz /", Demand::Files),
            ("ARG a", Demand::Nothing),
        ] {
            assert_eq!(demand_in(text.as_bytes()), expected, "{text}");
        }
    }
}
