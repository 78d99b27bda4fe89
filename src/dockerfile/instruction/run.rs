//! `RUN`.

use super::super::ast::{Heredoc, Node};
use super::super::error::{Located, ParseErrorKind};
use super::super::keyword::Keyword;
use super::super::source::Spanned;
use super::command::CommandLine;
use super::device::{self, Device};
use super::flags::{FlagType, Flags};
use super::mount::{self, MountFlag};

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command; with heredocs, the line that names them.
    pub command: CommandLine,
    /// The heredocs in order; empty for the exec form.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`, each one; the values expand before they are checked.
    pub mounts: Vec<MountFlag>,
    /// `--network`.
    pub network: Option<Spanned<Network>>,
    /// `--security`.
    pub security: Option<Spanned<Security>>,
    /// `--device`, each one.
    pub devices: Vec<Spanned<Device>>,
}

/// The values of `RUN --network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The build's network.
    Default,
    /// None but loopback.
    None,
    /// The host's network.
    Host,
}

/// The values of `RUN --security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// The usual restrictions.
    Sandbox,
    /// None.
    Insecure,
}

impl Run {
    /// Checks a node of `RUN`.
    pub(super) fn parse(node: &Node) -> Result<Run, Located> {
        let known = [
            ("mount", FlagType::Texts),
            ("network", FlagType::Text),
            ("security", FlagType::Text),
            ("device", FlagType::Texts),
        ];
        let flags = Flags::parse(node, Keyword::Run, &known)?;
        let mounts = flags.texts("mount").into_iter().map(mount::parse);
        let network = flags.texts("network").pop().map(|word| {
            let value = match word.value.as_str() {
                "default" => Network::Default,
                "none" => Network::None,
                "host" => Network::Host,
                _ => return Err((ParseErrorKind::Network { value: word.value }, word.span)),
            };
            Ok(Spanned { value, span: word.span })
        });
        let security = flags.texts("security").pop().map(|word| {
            let value = match word.value.as_str() {
                "sandbox" => Security::Sandbox,
                "insecure" => Security::Insecure,
                _ => return Err((ParseErrorKind::Security { value: word.value }, word.span)),
            };
            Ok(Spanned { value, span: word.span })
        });
        Ok(Run {
            command: CommandLine::of(node),
            heredocs: node.heredocs.clone(),
            mounts: mounts.collect::<Result<_, _>>()?,
            network: network.transpose()?,
            security: security.transpose()?,
            devices: flags.texts("device").iter().map(device::parse).collect::<Result<_, _>>()?,
        })
    }
}
