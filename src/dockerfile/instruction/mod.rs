//! Typed instructions: what each one says, checked, with variables still unexpanded.
//!
//! Words are as written (quotes, escapes and variables inside), because what they mean depends on
//! the environment at that point of the build; `shell` expands them. Flags that another layer does
//! not support yet are here too, with their spans, so that it can name them.

use super::ast::{Directive, EscapeToken, Warning};
use super::source::{Source, Spanned, Word};

pub use super::source::{Position, Snippet, Span};

mod build;
mod device;
mod duration;
mod flags;
mod healthcheck;
mod mount;
pub mod ports;
pub mod signal;
mod suggest;
#[cfg(test)]
mod tests;

pub use build::{parse, parse_trigger};
pub use mount::{Mount, MountError, MountFlag, MountOption, MountType, Sharing};

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The text, for snippets.
    pub source: Source,
    /// The parser directives at the top.
    pub directives: Vec<Directive>,
    /// The escape character for expanding words of this file (not heredoc bodies: there it is
    /// always a backslash).
    pub escape: EscapeToken,
    /// The `ARG` instructions before the first `FROM`.
    pub global_args: Vec<Spanned<Arg>>,
    /// The stages in order; may be empty when the file has only `ARG`s.
    pub stages: Vec<Stage>,
    /// What is accepted but suspicious.
    pub warnings: Vec<Warning>,
}

/// A build stage: `FROM` and the instructions after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The name after `AS`, in lower case; names may repeat, the later one wins.
    pub name: Option<Word>,
    /// The base: an image reference or an earlier stage's name; expands with global `ARG`s only.
    pub base: Word,
    /// `--platform`, unexpanded; an empty value counts as absent.
    pub platform: Option<Word>,
    /// The comment above that begins with the stage's name, without the name.
    pub comment: Option<String>,
    /// The `FROM` line with its continuations joined, trimmed.
    pub text: String,
    /// Where the `FROM` stands.
    pub span: Span,
    /// The instructions in order.
    pub instructions: Vec<Instruction>,
}

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

/// A `key=value` of `ENV` or `LABEL`; both sides expand, against the environment before the
/// instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key; not empty before expansion.
    pub key: Word,
    /// The value.
    pub value: Word,
}

/// `ARG name[=default] …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// The declarations in order; at least one. Each sees the ones before it.
    pub definitions: Vec<ArgDefinition>,
}

/// One `name[=default]` of an `ARG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDefinition {
    /// The name; expands, not empty before expansion. Its span is the whole definition's.
    pub name: Word,
    /// The default; expands. Its span is the whole definition's. `Some` of an empty word for `ARG name=`.
    pub default: Option<Word>,
    /// The comment above that begins with the name, without the name.
    pub comment: Option<String>,
}

/// A command in one of its two forms; never expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// The JSON form: the words as they are; may be empty.
    Exec(Vec<String>),
    /// The shell form: one text for the stage's shell; empty for a bare keyword.
    Shell(String),
}

/// The body of a heredoc, or of the file that `COPY` makes from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The terminator without quotes; for `COPY` and `ADD` the file's name.
    pub name: String,
    /// The body's bytes as they are in the Dockerfile, line ends and tabs included; see
    /// [`Heredoc::content`].
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

/// What `COPY` and `ADD` have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// The paths, wildcards or URLs in order; copied before `inline`.
    pub paths: Vec<Word>,
    /// Files written in the Dockerfile, leading tabs already dropped where `<<-` asks for it.
    pub inline: Vec<InlineFile>,
    /// The destination.
    pub destination: Word,
}

/// A file that `COPY <<NAME` or `ADD <<NAME` makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineFile {
    /// The file's name: the heredoc's terminator.
    pub name: String,
    /// The content, before expansion.
    pub content: Vec<u8>,
    /// Whether variables in the content expand (quotes stay, the escape is a backslash).
    pub expand: bool,
    /// Where the word `<<NAME` stands.
    pub span: Span,
}

/// `COPY`. An absent flag is `None`; so is `--from=`, `--chown=` and `--chmod=` without a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// What goes where.
    pub sources: Sources,
    /// `--from`: a stage's name or number, an image or a named context; not expanded.
    pub from: Option<Word>,
    /// `--chown`, unexpanded.
    pub chown: Option<Word>,
    /// `--chmod`, unexpanded.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: Option<Spanned<bool>>,
    /// `--parents`.
    pub parents: Option<Spanned<bool>>,
    /// `--exclude`, each one; not expanded.
    pub exclude: Vec<Word>,
}

/// `ADD`. An absent flag is `None`; so is `--chown=`, `--chmod=` and `--checksum=` without a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// What goes where.
    pub sources: Sources,
    /// `--chown`, unexpanded.
    pub chown: Option<Word>,
    /// `--chmod`, unexpanded.
    pub chmod: Option<Word>,
    /// `--checksum`, unexpanded.
    pub checksum: Option<Word>,
    /// `--link`.
    pub link: Option<Spanned<bool>>,
    /// `--keep-git-dir`.
    pub keep_git_dir: Option<Spanned<bool>>,
    /// `--unpack`; absent means yes for local archives and no for downloads.
    pub unpack: Option<Spanned<bool>>,
    /// `--exclude`, each one; not expanded.
    pub exclude: Vec<Word>,
}

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

/// A device asked for by `RUN --device`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The device's name; may be empty.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
}

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
    pub interval: Option<std::time::Duration>,
    /// `--timeout`.
    pub timeout: Option<std::time::Duration>,
    /// `--start-period`.
    pub start_period: Option<std::time::Duration>,
    /// `--start-interval`.
    pub start_interval: Option<std::time::Duration>,
    /// `--retries`; 0 inherits.
    pub retries: u32,
}

/// `ONBUILD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// What is stored in the image: the text after the keyword as written, continuations joined,
    /// each heredoc appended with its terminator. Checked only when it is run.
    pub expression: String,
    /// The trigger's keyword, in upper case.
    pub keyword: String,
}
