//! `COPY` and `ADD`.

use std::collections::HashMap;

use super::super::ast::Node;
use super::super::error::{Located, ParseErrorKind};
use super::super::keyword::Keyword;
use super::super::parser::{HeredocWord, drop_leading_tabs};
use super::super::source::{Span, Spanned, Word};
use super::flags::{FlagType, Flags};

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

impl Copy {
    /// Checks a node of `COPY`.
    pub(super) fn parse(node: &Node) -> Result<Copy, Located> {
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
            sources: Sources::parse(node, Keyword::Copy)?,
            from: flags.text("from"),
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            link: flags.boolean("link"),
            parents: flags.boolean("parents"),
            exclude: flags.texts("exclude"),
        })
    }
}

impl Add {
    /// Checks a node of `ADD`.
    pub(super) fn parse(node: &Node) -> Result<Add, Located> {
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
            sources: Sources::parse(node, Keyword::Add)?,
            chown: flags.text("chown"),
            chmod: flags.text("chmod"),
            checksum: flags.text("checksum"),
            link: flags.boolean("link"),
            keep_git_dir: flags.boolean("keep-git-dir"),
            unpack: flags.boolean("unpack"),
            exclude: flags.texts("exclude"),
        })
    }
}

impl Sources {
    /// Tells paths from heredocs in the arguments.
    fn parse(node: &Node, keyword: Keyword) -> Result<Sources, Located> {
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
}

fn check_destination(node: &Node, keyword: Keyword) -> Result<(), Located> {
    if node.arguments.len() < 2 {
        return Err((ParseErrorKind::NoDestination { keyword }, node.span));
    }
    Ok(())
}
