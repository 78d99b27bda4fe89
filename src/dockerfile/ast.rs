//! Nodes: the Dockerfile split into instructions and words, before anything is checked.

use std::fmt;

use super::keyword::Keyword;
use super::source::{Source, Span, Spanned, Word};

/// A lexed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ast {
    /// The text.
    pub source: Source,
    /// The parser directives at the top, in order; each name occurs once.
    pub directives: Vec<Directive>,
    /// The character that escapes others and continues lines.
    pub escape: EscapeToken,
    /// The instructions in order; never empty.
    pub nodes: Vec<Node>,
    /// What is accepted but suspicious.
    pub warnings: Vec<Warning>,
}

/// One instruction: its keyword, flags and arguments as words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The keyword as written; any word, also one that is no instruction; empty for a lone
    /// continuation character at the end of the file.
    pub keyword: Word,
    /// Which instruction that is, if it is one.
    pub instruction: Option<Keyword>,
    /// The words before the arguments that begin with `--`, without their quotes and escapes.
    pub flags: Vec<Word>,
    /// The arguments. What a word is depends on the keyword: one word for the whole rest (`RUN`,
    /// `USER`, …), a word for each member of a JSON array, words split at blanks (`COPY`, …), or
    /// key, value and separator in turn (`ENV`, `LABEL`; the separator is `=` or, in the old form
    /// with a blank, empty). Empty where `trigger` is set.
    pub arguments: Vec<Word>,
    /// Whether the arguments were a JSON array of strings.
    pub is_json: bool,
    /// The instruction after `ONBUILD`.
    pub trigger: Option<Box<Node>>,
    /// The heredocs of the line in order, also those of an `ONBUILD` trigger.
    pub heredocs: Vec<Heredoc>,
    /// The comment lines directly above, without `#`, trimmed.
    pub comments: Vec<String>,
    /// The instruction with its continuations joined, not trimmed, without heredoc bodies.
    pub original: String,
    /// Where it stands, heredocs included.
    pub span: Span,
}

/// A heredoc: its word and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The terminator without quotes; for `COPY` and `ADD` the file's name.
    pub name: String,
    /// The body's bytes as they are in the Dockerfile, line ends and tabs included.
    pub body: Vec<u8>,
    /// Whether variables in the body expand (no part of the terminator was quoted).
    pub expand: bool,
    /// Whether leading tabs are dropped from each line (`<<-`).
    pub chomp: bool,
    /// The number before `<<`; 0 when absent.
    pub file_descriptor: u64,
    /// Where the body and its terminator stand.
    pub span: Span,
}

/// A parser directive, such as `# escape=` followed by a backtick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Which one.
    pub name: DirectiveName,
    /// The value, trimmed.
    pub value: Word,
}

/// The directives that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectiveName {
    /// Names a frontend image; of no effect here.
    Syntax,
    /// Sets the escape character.
    Escape,
    /// Configures lint checks; of no effect here.
    Check,
}

/// The character that escapes others and continues lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EscapeToken {
    /// `\`, the default.
    #[default]
    Backslash,
    /// A backtick.
    Backtick,
}

impl EscapeToken {
    /// Returns the character.
    pub fn character(self) -> char {
        match self {
            EscapeToken::Backslash => '\\',
            EscapeToken::Backtick => '`',
        }
    }
}

/// Something that Docker accepts but that is probably not what the author meant.
pub type Warning = Spanned<WarningKind>;

/// The kinds of [`Warning`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WarningKind {
    /// An empty line inside an instruction that goes on.
    EmptyContinuation,
    /// Bytes that are not UTF-8 outside comments and heredocs; each was read as U+FFFD.
    InvalidUtf8,
    /// A flag with other characters than ASCII; Docker reads each of their bytes as a character.
    GarbledFlag,
    /// Flags on an instruction that takes none; Docker drops them without a word.
    IgnoredFlags,
}

impl fmt::Display for WarningKind {
    /// Writes what is wrong and what to do.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            WarningKind::EmptyContinuation => {
                "empty line inside an instruction that goes on: delete it, or end the line before \
                 without the escape character"
            }
            WarningKind::InvalidUtf8 => {
                "bytes that are not UTF-8 were read as U+FFFD: save the Dockerfile as UTF-8"
            }
            WarningKind::GarbledFlag => {
                "Docker reads each byte of a flag as a character, so that this one has no effect \
                 as written: use ASCII in flags"
            }
            WarningKind::IgnoredFlags => {
                "this instruction takes no flags, and Docker drops them: delete them"
            }
        })
    }
}
