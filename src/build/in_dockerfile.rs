//! An error and the lines of the Dockerfile that it is about.

use std::fmt;

use crate::dockerfile::Snippet;
use crate::report::fault::Excerpt;

/// An error about some lines of the Dockerfile.
#[derive(Debug)]
pub struct InDockerfile<E> {
    /// What is wrong.
    pub(super) error: E,
    /// The Dockerfile as the user named it.
    pub(super) file: String,
    /// Its lines.
    pub(super) snippet: Option<Snippet>,
}

impl<E: fmt::Display> fmt::Display for InDockerfile<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E: std::error::Error> std::error::Error for InDockerfile<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl<E> InDockerfile<E> {
    pub(super) fn excerpt(&self) -> Option<Excerpt> {
        let snippet = self.snippet.as_ref()?;
        let columns = snippet.marked_lines().next().map(|(_, _, columns)| columns);
        let excerpt = Excerpt {
            file: self.file.clone(),
            first_line: u32::try_from(snippet.span.start.line).ok()?,
            lines: snippet.lines.clone(),
            columns,
        };
        (!excerpt.lines.is_empty()).then_some(excerpt)
    }
}
