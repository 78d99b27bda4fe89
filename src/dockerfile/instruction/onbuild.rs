//! `ONBUILD`.

use super::super::ast::Node;
use super::super::error::{Located, ParseErrorKind};
use super::super::keyword::Keyword;
use super::super::parser::decode;
use super::flags::Flags;

/// `ONBUILD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// What is stored in the image: the text after the keyword as written, continuations joined,
    /// each heredoc appended with its terminator. Checked only when it is run.
    pub expression: String,
    /// The trigger's keyword, in upper case.
    pub keyword: String,
}

/// The blanks that are dropped after the keyword; other white space is part of the trigger.
const BLANKS: [char; 5] = ['\t', '\n', '\u{c}', '\r', ' '];

impl Onbuild {
    /// Checks a node of `ONBUILD`.
    pub(super) fn parse(node: &Node) -> Result<Onbuild, Located> {
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
        // Cut from the line as it is, so that nothing of it is lost.
        let line = node.original.trim_start();
        let after = line.strip_prefix(&node.keyword.value).unwrap_or(line);
        let mut expression = after.trim_start_matches(BLANKS).to_owned();
        for heredoc in &node.heredocs {
            expression.push('\n');
            expression.push_str(&decode(&heredoc.body));
            expression.push_str(&heredoc.name);
        }
        Ok(Onbuild { expression, keyword: trigger.keyword.value.to_uppercase() })
    }
}
