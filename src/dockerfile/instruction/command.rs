//! Commands: the exec and the shell form.

use super::super::ast::Node;

/// A command in one of its two forms; never expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// The JSON form: the words as they are; may be empty.
    Exec(Vec<String>),
    /// The shell form: one text for the stage's shell; empty for a bare keyword.
    Shell(String),
}

impl CommandLine {
    /// Returns the command that a node's arguments are.
    pub(super) fn of(node: &Node) -> CommandLine {
        let mut words = node.arguments.iter().map(|word| word.value.clone());
        if node.is_json {
            CommandLine::Exec(words.collect())
        } else {
            // There is one word at most.
            CommandLine::Shell(words.next().unwrap_or_default())
        }
    }
}
