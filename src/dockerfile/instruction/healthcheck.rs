//! `HEALTHCHECK`.

use std::time::Duration;

use super::super::ast::Node;
use super::super::error::{Located, ParseErrorKind};
use super::super::keyword::Keyword;
use super::command::CommandLine;
use super::duration::parse_nanoseconds;
use super::flags::{FlagType, Flags};

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`: drops the base's check.
    None,
    /// `HEALTHCHECK CMD`.
    Command(HealthcheckCommand),
}

/// A health check's command and options; an option that is absent or 0 is `None` and inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthcheckCommand {
    /// The command; `Exec` has at least one word.
    pub command: CommandLine,
    /// `--interval`.
    pub interval: Option<Duration>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--start-period`.
    pub start_period: Option<Duration>,
    /// `--start-interval`.
    pub start_interval: Option<Duration>,
    /// `--retries`; 0 inherits.
    pub retries: u32,
}

/// The shortest time that is not 0.
const MINIMUM: Duration = Duration::from_millis(1);

/// Returns whether this is `HEALTHCHECK NONE`.
pub(super) fn is_none(node: &Node) -> bool {
    node.arguments.first().is_some_and(|word| word.value.to_uppercase() == "NONE")
}

impl Healthcheck {
    /// Checks a node of `HEALTHCHECK`.
    pub(super) fn parse(node: &Node) -> Result<Healthcheck, Located> {
        let at_node = |kind| (kind, node.span);
        let Some((kind, words)) = node.arguments.split_first() else {
            let keyword = Keyword::Healthcheck;
            return Err(at_node(ParseErrorKind::AtLeastOneArgument { keyword }));
        };
        if is_none(node) {
            return if words.is_empty() {
                Ok(Healthcheck::None)
            } else {
                Err(at_node(ParseErrorKind::HealthcheckNoneArguments))
            };
        }
        let known = ["interval", "timeout", "start-period", "start-interval", "retries"];
        let flags =
            Flags::parse(node, Keyword::Healthcheck, &known.map(|flag| (flag, FlagType::Text)))?;
        let word = kind.value.to_uppercase();
        if word != "CMD" {
            return Err((ParseErrorKind::HealthcheckType { word }, kind.span));
        }
        let mut words = words.iter().map(|word| word.value.clone()).peekable();
        if words.peek().is_none() {
            return Err(at_node(ParseErrorKind::HealthcheckWithoutCommand));
        }
        let command = if node.is_json {
            CommandLine::Exec(words.collect())
        } else {
            CommandLine::Shell(words.next().unwrap_or_default())
        };
        Ok(Healthcheck::Command(HealthcheckCommand {
            command,
            interval: duration(&flags, "interval")?,
            timeout: duration(&flags, "timeout")?,
            start_period: duration(&flags, "start-period")?,
            start_interval: duration(&flags, "start-interval")?,
            retries: retries(&flags)?,
        }))
    }
}

fn duration(flags: &Flags, flag: &'static str) -> Result<Option<Duration>, Located> {
    let Some(word) = flags.text(flag) else { return Ok(None) };
    let Some(nanoseconds) = parse_nanoseconds(&word.value) else {
        return Err((ParseErrorKind::HealthcheckDuration { flag, value: word.value }, word.span));
    };
    match u64::try_from(nanoseconds).map(Duration::from_nanos) {
        Ok(Duration::ZERO) => Ok(None),
        Ok(duration) if duration >= MINIMUM => Ok(Some(duration)),
        _ => Err((ParseErrorKind::HealthcheckTooShort { flag, value: word.value }, word.span)),
    }
}

fn retries(flags: &Flags) -> Result<u32, Located> {
    let Some(word) = flags.text("retries") else { return Ok(0) };
    let count = word.value.parse::<i32>().ok().and_then(|count| u32::try_from(count).ok());
    count.ok_or((ParseErrorKind::HealthcheckRetries { value: word.value }, word.span))
}
