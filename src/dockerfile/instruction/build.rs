//! Nodes to stages and typed instructions.

use std::collections::HashMap;

use super::super::ast::{Ast, Node, Warning, WarningKind};
use super::super::character::to_lower;
use super::super::error::{ParseError, ParseErrorKind};
use super::super::heredoc::{HeredocWord, drop_leading_tabs};
use super::super::keyword::Keyword;
use super::super::lines::decode;
use super::super::parser::parse_nodes;
use super::super::source::{Source, Span, Spanned, Word};
use super::flags::{FlagType, Flags};
use super::suggest::nearest;
use super::{
    Add, Arg, ArgDefinition, CommandLine, Copy, Dockerfile, InlineFile, Instruction, Kind, Network,
    Onbuild, Pair, Run, Security, Sources, Stage, device, healthcheck, mount,
};

/// An error before the snippet is added.
pub(super) type Located = (ParseErrorKind, Span);

/// Parses a Dockerfile.
///
/// # Errors
/// All that is wrong with it whatever the variables are; see [`ParseErrorKind`]. Nothing may be in
/// it but `ARG`s: the result then has no stage.
pub fn parse(file: &[u8]) -> Result<Dockerfile, ParseError> {
    Dockerfile::from_ast(parse_nodes(file)?)
}

/// Parses an instruction that an image stores with `ONBUILD`; its spans are in that text.
///
/// # Errors
/// As [`parse`], and texts of several instructions or of a `FROM`.
pub fn parse_trigger(expression: &str) -> Result<Instruction, ParseError> {
    let ast = parse_nodes(expression.as_bytes())?;
    let mut warnings = Vec::new();
    let single = match ast.nodes.as_slice() {
        [node] if node.instruction != Some(Keyword::From) => instruction(node, &mut warnings),
        _ => {
            let last = ast.source.line_count();
            Err((ParseErrorKind::TriggerNotSingle, Span::line(1, 0).until(Span::line(last, 0))))
        }
    };
    single.map_err(|located| locate(&ast.source, located))
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
            Err(located) => Err(locate(&source, located)),
        }
    }
}

fn locate(source: &Source, (kind, span): Located) -> ParseError {
    ParseError { kind, span, snippet: source.snippet(span) }
}

fn stages(
    nodes: &[Node],
    warnings: &mut Vec<Warning>,
) -> Result<(Vec<Spanned<Arg>>, Vec<Stage>), Located> {
    let mut global_args = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    for node in nodes {
        if node.instruction == Some(Keyword::From) {
            stages.push(from(node)?);
            continue;
        }
        let parsed = instruction(node, warnings)?;
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

fn from(node: &Node) -> Result<Stage, Located> {
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
        comment: name
            .as_ref()
            .and_then(|name| comments(node).get(name.value.as_str()).map(|&text| text.to_owned())),
        name,
        platform: flags.text("platform"),
        text: node.original.trim().to_owned(),
        span: node.span,
        instructions: Vec::new(),
    })
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

/// The comments above an instruction by their first word, the first of several with the same.
fn comments(node: &Node) -> HashMap<&str, &str> {
    node.comments.iter().rev().filter_map(|comment| comment.split_once(' ')).collect()
}

fn instruction(node: &Node, warnings: &mut Vec<Warning>) -> Result<Instruction, Located> {
    Ok(Instruction {
        kind: kind(node, warnings)?,
        text: node.original.trim().to_owned(),
        span: node.span,
    })
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
        Keyword::Add => Kind::Add(add(node)?),
        Keyword::Arg => {
            warn_of_ignored_flags(node, warnings);
            let comments = comments(node);
            let definitions = at_least_one()?.iter().map(|word| definition(&comments, word));
            Kind::Arg(Arg { definitions: definitions.collect::<Result<_, _>>()? })
        }
        Keyword::Cmd => no_flags().map(|_| Kind::Cmd(command_line(node)))?,
        Keyword::Copy => Kind::Copy(copy(node)?),
        Keyword::Entrypoint => no_flags().map(|_| Kind::Entrypoint(command_line(node)))?,
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
            Kind::Healthcheck(healthcheck::parse(node)?)
        }
        Keyword::Label => no_flags().and_then(|_| pairs(node, keyword)).map(Kind::Label)?,
        Keyword::Maintainer => Kind::Maintainer(single()?),
        Keyword::Onbuild => Kind::Onbuild(onbuild(node)?),
        Keyword::Run => Kind::Run(run(node)?),
        Keyword::Shell => {
            no_flags()?;
            match command_line(node) {
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

fn command_line(node: &Node) -> CommandLine {
    let mut words = node.arguments.iter().map(|word| word.value.clone());
    if node.is_json {
        CommandLine::Exec(words.collect())
    } else {
        // There is one word at most.
        CommandLine::Shell(words.next().unwrap_or_default())
    }
}

fn definition(comments: &HashMap<&str, &str>, word: &Word) -> Result<ArgDefinition, Located> {
    let (name, default) = match word.value.split_once('=') {
        None => (word.clone(), None),
        Some(("", _)) => {
            let keyword = Keyword::Arg;
            return Err((ParseErrorKind::EmptyName { keyword }, word.span));
        }
        Some((name, default)) => {
            let part = |text: &str| Word { value: text.to_owned(), span: word.span };
            (part(name), Some(part(default)))
        }
    };
    let comment = comments.get(name.value.as_str()).map(|&text| text.to_owned());
    Ok(ArgDefinition { name, default, comment })
}

fn pairs(node: &Node, keyword: Keyword) -> Result<Vec<Pair>, Located> {
    let mut pairs = Vec::with_capacity(node.arguments.len() / 3);
    for triple in node.arguments.chunks_exact(3) {
        let [key, value, _separator] = triple else { continue };
        if key.value.is_empty() {
            return Err((ParseErrorKind::EmptyName { keyword }, node.span));
        }
        pairs.push(Pair { key: key.clone(), value: value.clone() });
    }
    if pairs.is_empty() {
        return Err((ParseErrorKind::AtLeastOneArgument { keyword }, node.span));
    }
    Ok(pairs)
}

fn volume(word: &Word) -> Result<Word, Located> {
    match word.value.trim() {
        "" => Err((ParseErrorKind::EmptyVolume, word.span)),
        path => Ok(Word { value: path.to_owned(), span: word.span }),
    }
}

fn onbuild(node: &Node) -> Result<Onbuild, Located> {
    let at_node = |kind| (kind, node.span);
    let Some(trigger) = &node.trigger else {
        let keyword = Keyword::Onbuild;
        return Err(at_node(ParseErrorKind::AtLeastOneArgument { keyword }));
    };
    Flags::parse(node, Keyword::Onbuild, &[])?;
    match trigger.instruction {
        Some(Keyword::Onbuild) => return Err(at_node(ParseErrorKind::NestedOnbuild)),
        Some(keyword @ (Keyword::Maintainer | Keyword::From)) => {
            return Err(at_node(ParseErrorKind::ForbiddenTrigger { keyword }));
        }
        _ => {}
    }
    // Cut from the line as it is, so that nothing of it is lost; blanks here are those of `\s`.
    let blanks = ['\t', '\n', '\u{c}', '\r', ' '];
    let line = node.original.trim_start_matches(blanks);
    let after = line.get(Keyword::Onbuild.name().len()..).unwrap_or_default();
    let mut expression = after.trim_start_matches(blanks).to_owned();
    for heredoc in &node.heredocs {
        expression.push('\n');
        expression.push_str(&decode(&heredoc.body));
        expression.push_str(&heredoc.name);
    }
    Ok(Onbuild { expression, keyword: trigger.keyword.value.to_uppercase() })
}

fn sources(node: &Node, keyword: Keyword) -> Result<Sources, Located> {
    // A word that is no sound heredoc is a path.
    let heredoc = |word: &Word| HeredocWord::parse(&word.value).ok().flatten();
    let Some((destination, words)) = node.arguments.split_last() else {
        return Err((ParseErrorKind::NoDestination { keyword }, node.span));
    };
    if heredoc(destination).is_some() {
        return Err((ParseErrorKind::HeredocDestination { keyword }, destination.span));
    }
    // Of several with one name Docker takes the last for all.
    let bodies: HashMap<&str, &[u8]> = node
        .heredocs
        .iter()
        .map(|heredoc| (heredoc.name.as_str(), heredoc.body.as_slice()))
        .collect();
    let mut paths = Vec::new();
    let mut inline = Vec::new();
    for word in words {
        let Some(HeredocWord { name, expand, chomp, .. }) = heredoc(word) else {
            paths.push(word.clone());
            continue;
        };
        let body = bodies.get(name.as_str()).copied().unwrap_or_default();
        let content = if chomp { drop_leading_tabs(body) } else { body.to_vec() };
        inline.push(InlineFile { name, content, expand, span: word.span });
    }
    Ok(Sources { paths, inline, destination: destination.clone() })
}

fn check_destination(node: &Node, keyword: Keyword) -> Result<(), Located> {
    if node.arguments.len() < 2 {
        return Err((ParseErrorKind::NoDestination { keyword }, node.span));
    }
    Ok(())
}

fn copy(node: &Node) -> Result<Copy, Located> {
    check_destination(node, Keyword::Copy)?;
    let known = [
        ("from", FlagType::Text),
        ("chown", FlagType::Text),
        ("chmod", FlagType::Text),
        ("link", FlagType::Boolean),
        ("parents", FlagType::Boolean),
        ("exclude", FlagType::Texts),
    ];
    let flags = Flags::parse(node, Keyword::Copy, &known)?;
    Ok(Copy {
        sources: sources(node, Keyword::Copy)?,
        from: flags.text("from"),
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.boolean("link"),
        parents: flags.boolean("parents"),
        exclude: flags.texts("exclude"),
    })
}

fn add(node: &Node) -> Result<Add, Located> {
    check_destination(node, Keyword::Add)?;
    let known = [
        ("chown", FlagType::Text),
        ("chmod", FlagType::Text),
        ("checksum", FlagType::Text),
        ("link", FlagType::Boolean),
        ("keep-git-dir", FlagType::Boolean),
        ("unpack", FlagType::Boolean),
        ("exclude", FlagType::Texts),
    ];
    let flags = Flags::parse(node, Keyword::Add, &known)?;
    Ok(Add {
        sources: sources(node, Keyword::Add)?,
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        checksum: flags.text("checksum"),
        link: flags.boolean("link"),
        keep_git_dir: flags.boolean("keep-git-dir"),
        unpack: flags.boolean("unpack"),
        exclude: flags.texts("exclude"),
    })
}

fn run(node: &Node) -> Result<Run, Located> {
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
        command: command_line(node),
        heredocs: node.heredocs.clone(),
        mounts: mounts.collect::<Result<_, _>>()?,
        network: network.transpose()?,
        security: security.transpose()?,
        devices: flags.texts("device").iter().map(device::parse).collect::<Result<_, _>>()?,
    })
}
