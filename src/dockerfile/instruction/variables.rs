//! What `ARG`, `ENV` and `LABEL` define.

use std::collections::HashMap;

use super::super::ast::Node;
use super::super::error::{Located, ParseErrorKind};
use super::super::keyword::Keyword;
use super::super::source::Word;

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
    /// The default; expands. `Some` of an empty word for `ARG name=`. Its span is the whole
    /// definition's.
    pub default: Option<Word>,
    /// The comment above that begins with the name, without the name.
    pub comment: Option<String>,
}

/// Returns the comments above an instruction by their first word, the first of several with the same.
pub(super) fn comments(node: &Node) -> HashMap<&str, &str> {
    node.comments.iter().rev().filter_map(|comment| comment.split_once(' ')).collect()
}

impl Arg {
    /// Checks a node of `ARG`.
    pub(super) fn parse(node: &Node) -> Result<Arg, Located> {
        if node.arguments.is_empty() {
            let keyword = Keyword::Arg;
            return Err((ParseErrorKind::AtLeastOneArgument { keyword }, node.span));
        }
        let comments = comments(node);
        let words = node.arguments.iter();
        let definitions = words.map(|word| ArgDefinition::parse(&comments, word));
        Ok(Arg { definitions: definitions.collect::<Result<_, _>>()? })
    }
}

impl ArgDefinition {
    /// Splits `name[=default]`.
    fn parse(comments: &HashMap<&str, &str>, word: &Word) -> Result<ArgDefinition, Located> {
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
}

/// Returns the pairs of an `ENV` or `LABEL`.
pub(super) fn pairs(node: &Node, keyword: Keyword) -> Result<Vec<Pair>, Located> {
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
