//! What can be wrong with a Dockerfile.

use super::ast::DirectiveName;
use super::keyword::Keyword;
use super::parser::MAX_LINE_BYTES;
use super::shell::ExpandError;
use super::source::{Snippet, Source, Span};

/// A mistake in a Dockerfile and where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{span}: {kind}")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Where: the flag or word if it is about one, else the instruction.
    pub span: Span,
    /// The source lines.
    pub snippet: Snippet,
}

/// A mistake before the lines are added to it.
pub(super) type Located = (ParseErrorKind, Span);

impl ParseError {
    pub(super) fn new((kind, span): Located, source: &Source) -> ParseError {
        ParseError { kind, span, snippet: source.snippet(span) }
    }

    /// Returns what is likely meant, where a misspelling is close to something that exists.
    pub fn suggestion(&self) -> Option<&str> {
        match &self.kind {
            ParseErrorKind::UnknownInstruction { suggestion, .. }
            | ParseErrorKind::UnknownFlag { suggestion, .. } => *suggestion,
            _ => None,
        }
    }
}

/// What can be wrong with a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// No instruction in the file.
    #[error("no instructions in the Dockerfile")]
    NoInstructions,
    /// A line is longer than Docker reads.
    #[error("line is longer than {MAX_LINE_BYTES} bytes")]
    LineTooLong,
    /// The same directive twice.
    #[error("parser directive `{name}` is given twice")]
    DuplicateDirective {
        /// Which one.
        name: DirectiveName,
    },
    /// `# escape=` with something else than a backslash or a backtick.
    #[error("invalid escape character `{value}`: must be `\\` or a backtick")]
    InvalidEscape {
        /// What was given.
        value: String,
    },
    /// A JSON array with something else than strings.
    #[error("the JSON form takes an array of strings only")]
    JsonNotStrings,
    /// `ENV name` or `LABEL name` and nothing else.
    #[error("{keyword} needs a name and a value")]
    PairWithoutValue {
        /// The instruction.
        keyword: Keyword,
    },
    /// `ENV a=b c`.
    #[error("`{word}` has no `=`: must be of the form name=value")]
    PairWithoutEquals {
        /// The word.
        word: String,
    },
    /// The end of the file came before the end of a heredoc.
    #[error("heredoc is not closed: no line `{name}`")]
    UnterminatedHeredoc {
        /// The terminator.
        name: String,
    },
    /// The word after `<<` cannot be read.
    #[error("invalid heredoc word `{word}`")]
    HeredocWord {
        /// The word after `<<`.
        word: String,
        /// Why; `None` where quotes decide whether it is one word.
        #[source]
        source: Option<ExpandError>,
    },
    /// A keyword that is no instruction.
    #[error("unknown instruction `{keyword}`")]
    UnknownInstruction {
        /// As written.
        keyword: String,
        /// What may be meant.
        suggestion: Option<&'static str>,
    },
    /// An instruction that needs a stage before the first `FROM`.
    #[error("{keyword} before the first FROM: no build stage yet")]
    NoStage {
        /// The instruction as written.
        keyword: String,
    },
    /// A flag the instruction does not have.
    #[error("unknown flag `--{flag}` for {keyword}")]
    UnknownFlag {
        /// The instruction.
        keyword: Keyword,
        /// The flag's name.
        flag: String,
        /// What may be meant, with dashes.
        suggestion: Option<&'static str>,
    },
    /// A flag that may be given once is given twice.
    #[error("flag `--{flag}` is given twice")]
    DuplicateFlag {
        /// The flag's name.
        flag: &'static str,
    },
    /// A flag without its value.
    #[error("flag `--{flag}` needs a value")]
    FlagWithoutValue {
        /// The flag's name.
        flag: &'static str,
    },
    /// A yes-or-no flag with another value.
    #[error("flag `--{flag}` must be true or false, not `{value}`")]
    FlagNotBoolean {
        /// The flag's name.
        flag: &'static str,
        /// What was given.
        value: String,
    },
    /// No argument where at least one is needed.
    #[error("{keyword} needs at least one argument")]
    AtLeastOneArgument {
        /// The instruction.
        keyword: Keyword,
    },
    /// No argument where one is needed.
    #[error("{keyword} needs exactly one argument")]
    ExactlyOneArgument {
        /// The instruction.
        keyword: Keyword,
    },
    /// `COPY` or `ADD` with fewer than two arguments.
    #[error("{keyword} needs at least two arguments: there is no destination")]
    NoDestination {
        /// The instruction.
        keyword: Keyword,
    },
    /// A heredoc as the destination.
    #[error("{keyword} cannot have a heredoc as its destination")]
    HeredocDestination {
        /// The instruction.
        keyword: Keyword,
    },
    /// `ENV =x` and the like.
    #[error("{keyword} names cannot be empty")]
    EmptyName {
        /// The instruction.
        keyword: Keyword,
    },
    /// Neither `FROM base` nor `FROM base AS name`.
    #[error("FROM needs either one argument or three: FROM base AS name")]
    FromArguments,
    /// A stage name with other characters than allowed.
    #[error(
        "invalid stage name `{name}`: must begin with a letter and hold letters, digits, `-`, `_` and `.` only"
    )]
    StageName {
        /// As written.
        name: String,
    },
    /// `ONBUILD ONBUILD`.
    #[error("ONBUILD cannot trigger another ONBUILD")]
    NestedOnbuild,
    /// An instruction that cannot be triggered.
    #[error("{keyword} cannot be an ONBUILD trigger")]
    ForbiddenTrigger {
        /// The instruction.
        keyword: Keyword,
    },
    /// A stored trigger that is not one instruction.
    #[error("an ONBUILD trigger must be a single instruction")]
    TriggerNotSingle,
    /// `HEALTHCHECK NONE` and more.
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNoneArguments,
    /// `HEALTHCHECK` with another word than `CMD` and `NONE`.
    #[error("unknown HEALTHCHECK type `{word}`: must be CMD or NONE")]
    HealthcheckType {
        /// In upper case.
        word: String,
    },
    /// `HEALTHCHECK CMD` and nothing else.
    #[error("HEALTHCHECK CMD needs a command")]
    HealthcheckWithoutCommand,
    /// A time that cannot be read.
    #[error("invalid duration `{value}` for `--{flag}`: must be like 30s or 1m30s")]
    HealthcheckDuration {
        /// The flag's name.
        flag: &'static str,
        /// What was given.
        value: String,
    },
    /// A time below the minimum.
    #[error("`--{flag}` must be 0 or at least 1ms, not `{value}`")]
    HealthcheckTooShort {
        /// The flag's name.
        flag: &'static str,
        /// What was given.
        value: String,
    },
    /// A number of retries that is none, or negative.
    #[error("invalid number `{value}` for `--retries`: must be 0 or more")]
    HealthcheckRetries {
        /// What was given.
        value: String,
    },
    /// `VOLUME` of nothing.
    #[error("VOLUME paths cannot be empty")]
    EmptyVolume,
    /// `SHELL` without a JSON array.
    #[error("SHELL needs its arguments as a JSON array")]
    ShellNotJson,
    /// `--network` with an unknown value.
    #[error("invalid network `{value}`: must be default, none or host")]
    Network {
        /// What was given.
        value: String,
    },
    /// `--security` with an unknown value.
    #[error("invalid security mode `{value}`: must be sandbox or insecure")]
    Security {
        /// What was given.
        value: String,
    },
    /// A flag's comma-separated value has broken quotes, or is empty.
    #[error("cannot split the value of `--{flag}` at its commas: it is empty or has stray quotes")]
    FlagFields {
        /// The flag's name.
        flag: &'static str,
    },
    /// `--mount=from=$VARIABLE`.
    #[error(
        "mount option `from` cannot hold variables: give the image a stage of its own and name that"
    )]
    MountFromVariable,
    /// A `--device` with an unknown or broken option.
    #[error("invalid device option `{option}`")]
    DeviceOption {
        /// The option as written.
        option: String,
    },
}
