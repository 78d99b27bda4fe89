//! One instruction: which it is and what it says.

use super::super::ast::{Node, Warning, WarningKind};
use super::super::error::{Located, ParseErrorKind};
use super::super::keyword::Keyword;
use super::super::source::{Span, Word};
use super::command::CommandLine;
use super::copy::{Add, Copy};
use super::flags::Flags;
use super::healthcheck::{self, Healthcheck};
use super::onbuild::Onbuild;
use super::run::Run;
use super::suggest::nearest;
use super::variables::{Arg, Pair, pairs};

/// One instruction of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// What it says.
    pub kind: Kind,
    /// The instruction with its continuations joined, trimmed, without heredoc bodies.
    pub text: String,
    /// Where it stands, heredocs included.
    pub span: Span,
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Copies files, downloads and unpacks.
    Add(Add),
    /// Declares build arguments.
    Arg(Arg),
    /// Sets the default command; `Exec` of nothing clears it.
    Cmd(CommandLine),
    /// Copies files from the context, a stage or an image.
    Copy(Copy),
    /// Sets the entry point; `Exec` of nothing, and a bare `ENTRYPOINT`, clear it.
    Entrypoint(CommandLine),
    /// Sets environment variables; at least one.
    Env(Vec<Pair>),
    /// Declares ports, sorted by text, unexpanded; at least one.
    Expose(Vec<Word>),
    /// Says how to see whether a container is well.
    Healthcheck(Healthcheck),
    /// Sets labels; at least one.
    Label(Vec<Pair>),
    /// Sets the author; not expanded.
    Maintainer(Word),
    /// Stores an instruction for builds on this image.
    Onbuild(Onbuild),
    /// Runs a command.
    Run(Run),
    /// Sets the shell of the shell forms; at least one word, not expanded.
    Shell(Vec<String>),
    /// Sets the stop signal; after expansion it must be one of `signal`'s.
    Stopsignal(Word),
    /// Sets the user, `name[:group]` after expansion.
    User(Word),
    /// Declares volumes; at least one, each trimmed and not empty.
    Volume(Vec<Word>),
    /// Sets the working directory.
    Workdir(Word),
}

impl Instruction {
    /// Checks a node of anything but `FROM`.
    pub(super) fn parse(node: &Node, warnings: &mut Vec<Warning>) -> Result<Instruction, Located> {
        Ok(Instruction {
            kind: kind(node, warnings)?,
            text: node.original.trim().to_owned(),
            span: node.span,
        })
    }
}

fn kind(node: &Node, warnings: &mut Vec<Warning>) -> Result<Kind, Located> {
    let Some(keyword) = node.instruction else {
        let keyword = node.keyword.value.clone();
        let suggestion = nearest(&keyword, Keyword::NAMES.iter().copied());
        let kind = ParseErrorKind::UnknownInstruction { keyword, suggestion };
        return Err((kind, node.keyword.span));
    };
    let at_node = |kind| (kind, node.span);
    let no_flags = || Flags::parse(node, keyword, &[]);
    let single = || match node.arguments.as_slice() {
        [word] => no_flags().map(|_| word.clone()),
        _ => Err(at_node(ParseErrorKind::ExactlyOneArgument { keyword })),
    };
    let at_least_one = || match node.arguments.as_slice() {
        [] => Err(at_node(ParseErrorKind::AtLeastOneArgument { keyword })),
        words => Ok(words),
    };
    Ok(match keyword {
        Keyword::Add => Kind::Add(Add::parse(node)?),
        Keyword::Arg => {
            warn_of_ignored_flags(node, warnings);
            Kind::Arg(Arg::parse(node)?)
        }
        Keyword::Cmd => no_flags().map(|_| Kind::Cmd(CommandLine::of(node)))?,
        Keyword::Copy => Kind::Copy(Copy::parse(node)?),
        Keyword::Entrypoint => no_flags().map(|_| Kind::Entrypoint(CommandLine::of(node)))?,
        Keyword::Env => no_flags().and_then(|_| pairs(node, keyword)).map(Kind::Env)?,
        Keyword::Expose => {
            let mut ports = at_least_one()?.to_vec();
            no_flags()?;
            ports.sort_by(|left, right| left.value.cmp(&right.value));
            Kind::Expose(ports)
        }
        Keyword::From => return Err(at_node(ParseErrorKind::FromArguments)),
        Keyword::Healthcheck => {
            at_least_one()?;
            if healthcheck::is_none(node) {
                warn_of_ignored_flags(node, warnings);
            }
            Kind::Healthcheck(Healthcheck::parse(node)?)
        }
        Keyword::Label => no_flags().and_then(|_| pairs(node, keyword)).map(Kind::Label)?,
        Keyword::Maintainer => Kind::Maintainer(single()?),
        Keyword::Onbuild => Kind::Onbuild(Onbuild::parse(node)?),
        Keyword::Run => Kind::Run(Run::parse(node)?),
        Keyword::Shell => {
            no_flags()?;
            match CommandLine::of(node) {
                CommandLine::Exec(words) if !words.is_empty() => Kind::Shell(words),
                CommandLine::Shell(text) if !text.is_empty() => {
                    return Err(at_node(ParseErrorKind::ShellNotJson));
                }
                _ => return Err(at_node(ParseErrorKind::AtLeastOneArgument { keyword })),
            }
        }
        Keyword::Stopsignal => {
            warn_of_ignored_flags(node, warnings);
            match node.arguments.as_slice() {
                [word] => Kind::Stopsignal(word.clone()),
                _ => return Err(at_node(ParseErrorKind::ExactlyOneArgument { keyword })),
            }
        }
        Keyword::User => Kind::User(single()?),
        Keyword::Volume => {
            let words = at_least_one()?.iter().map(volume).collect::<Result<_, _>>()?;
            no_flags()?;
            Kind::Volume(words)
        }
        Keyword::Workdir => Kind::Workdir(single()?),
    })
}

/// Docker does not look at the flags of some instructions; neither do we, but say so.
fn warn_of_ignored_flags(node: &Node, warnings: &mut Vec<Warning>) {
    if let (Some(first), Some(last)) = (node.flags.first(), node.flags.last()) {
        let span = first.span.until(last.span);
        warnings.push(Warning { value: WarningKind::IgnoredFlags, span });
    }
}

fn volume(word: &Word) -> Result<Word, Located> {
    match word.value.trim() {
        "" => Err((ParseErrorKind::EmptyVolume, word.span)),
        path => Ok(Word { value: path.to_owned(), span: word.span }),
    }
}
