//! The whole file: global arguments and stages.

use super::super::ast::{Ast, Directive, EscapeToken, Node, Warning};
use super::super::character::to_lower;
use super::super::error::{Located, ParseError, ParseErrorKind};
use super::super::keyword::Keyword;
use super::super::parser::parse_nodes;
use super::super::source::{Source, Span, Spanned, Word};
use super::flags::{FlagType, Flags};
use super::kind::{Instruction, Kind};
use super::variables::{Arg, comments};

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

/// Parses a Dockerfile.
///
/// # Errors
/// All that is wrong with it whatever the variables are; see [`ParseErrorKind`]. A file of `ARG`s
/// alone has no stage and is no error.
pub fn parse(file: &[u8]) -> Result<Dockerfile, ParseError> {
    Dockerfile::from_ast(parse_nodes(file)?)
}

/// Parses an instruction that an image stores with `ONBUILD`; its spans are in that text.
///
/// # Errors
/// As [`parse`], and texts of several instructions or of a `FROM`.
pub fn parse_trigger(expression: &str) -> Result<Instruction, ParseError> {
    let ast = parse_nodes(expression.as_bytes())?;
    let single = match ast.nodes.as_slice() {
        [node] if node.instruction != Some(Keyword::From) => {
            // Whoever wrote it was warned when the image was built.
            Instruction::parse(node, &mut Vec::new())
        }
        _ => {
            let last = ast.source.line_count();
            Err((ParseErrorKind::TriggerNotSingle, Span::line(1, 0).until(Span::line(last, 0))))
        }
    };
    single.map_err(|located| ParseError::new(located, &ast.source))
}

impl Dockerfile {
    /// Checks nodes and makes stages of them.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn from_ast(ast: Ast) -> Result<Dockerfile, ParseError> {
        let Ast { source, directives, escape, nodes, mut warnings } = ast;
        match stages(&nodes, &mut warnings) {
            Ok((global_args, stages)) => {
                Ok(Dockerfile { source, directives, escape, global_args, stages, warnings })
            }
            Err(located) => Err(ParseError::new(located, &source)),
        }
    }
}

/// Tells the global arguments and the stages apart.
fn stages(
    nodes: &[Node],
    warnings: &mut Vec<Warning>,
) -> Result<(Vec<Spanned<Arg>>, Vec<Stage>), Located> {
    let mut global_args = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    for node in nodes {
        if node.instruction == Some(Keyword::From) {
            stages.push(Stage::parse(node)?);
            continue;
        }
        let parsed = Instruction::parse(node, warnings)?;
        match (stages.last_mut(), parsed.kind) {
            (Some(stage), kind) => stage.instructions.push(Instruction { kind, ..parsed }),
            (None, Kind::Arg(value)) => global_args.push(Spanned { value, span: parsed.span }),
            (None, _) => {
                let keyword = node.keyword.value.clone();
                return Err((ParseErrorKind::NoStage { keyword }, node.span));
            }
        }
    }
    Ok((global_args, stages))
}

impl Stage {
    /// Checks a node of `FROM`.
    fn parse(node: &Node) -> Result<Stage, Located> {
        let (base, name) = match node.arguments.as_slice() {
            [base] => (base, None),
            [base, keyword, name] if keyword.value.eq_ignore_ascii_case("as") => {
                (base, Some(stage_name(name)?))
            }
            _ => return Err((ParseErrorKind::FromArguments, node.span)),
        };
        let flags = Flags::parse(node, Keyword::From, &[("platform", FlagType::Text)])?;
        Ok(Stage {
            base: base.clone(),
            comment: name.as_ref().and_then(|name| {
                comments(node).get(name.value.as_str()).map(|&text| text.to_owned())
            }),
            name,
            platform: flags.text("platform"),
            text: node.original.trim().to_owned(),
            span: node.span,
            instructions: Vec::new(),
        })
    }
}

fn stage_name(word: &Word) -> Result<Word, Located> {
    let name = to_lower(&word.value);
    let is_allowed = |next: char| matches!(next, 'a'..='z' | '0'..='9' | '-' | '_' | '.');
    if name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(is_allowed) {
        Ok(Word { value: name, span: word.span })
    } else {
        Err((ParseErrorKind::StageName { name: word.value.clone() }, word.span))
    }
}
