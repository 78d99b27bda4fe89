//! What an error tells its reader beside its message: class, hint, place, exit code.
//!
//! Lives below everything that can fail, so that each module says these things about its own errors
//! and none has to be parsed back out of a text. Must not know how errors are shown.

use std::error::Error;
use std::ops::Range;

/// Whose move it is after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The Dockerfile, the context, a flag or a command in a RUN is wrong.
    User,
    /// Credentials are missing, wrong or not enough.
    Auth,
    /// A registry, the network or the machine failed; not the user's doing.
    Infrastructure,
    /// A file system is full, read-only or broken.
    Disk,
    /// A promise of this program is broken: a bug.
    Internal,
}

impl Class {
    /// Returns the name used in the JSON report.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Auth => "auth",
            Self::Infrastructure => "infrastructure",
            Self::Disk => "disk",
            Self::Internal => "internal",
        }
    }

    /// Returns the class of a failed operation on the build's own files.
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::ReadOnlyFilesystem => Self::Disk,
            Kind::NotFound | Kind::NotADirectory | Kind::IsADirectory => Self::User,
            _ => Self::Infrastructure,
        }
    }
}

/// An error that can end a build, with what its reader needs to act on it.
///
/// The message (`Display`) says what was being done and to what; causes are in `source()`.
pub trait Fault: Error {
    /// Returns whose move it is.
    fn class(&self) -> Class;

    /// Returns what to do next, pasteable where possible; `None` unless it is likely right.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Returns whether the same build may succeed when simply tried again.
    fn is_temporary(&self) -> bool {
        false
    }

    /// Returns the exit code: a failed RUN's own, else 1.
    fn exit_code(&self) -> u8 {
        1
    }

    /// Returns the piece of the Dockerfile that the error is about.
    fn excerpt(&self) -> Option<Excerpt> {
        None
    }
}

/// Some lines of a text file that an error points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The file as the user named it.
    pub file: String,
    /// Number of the first line, from 1.
    pub first_line: u32,
    /// The lines without their terminators; never empty.
    pub lines: Vec<String>,
    /// Columns of the first line to mark, in characters from 0; `None` marks the whole text of it.
    pub columns: Option<Range<usize>>,
}

impl Excerpt {
    /// Cuts lines `first_line..=last_line` (from 1) out of `text`.
    ///
    /// Returns `None` when `text` has no such first line; a last line past the end is clamped.
    pub fn cut(file: &str, text: &str, first_line: u32, last_line: u32) -> Option<Self> {
        let skipped = usize::try_from(first_line.checked_sub(1)?).ok()?;
        let wanted = usize::try_from(last_line.saturating_sub(first_line)).ok()?.saturating_add(1);
        let lines: Vec<String> =
            text.lines().skip(skipped).take(wanted).map(str::to_owned).collect();
        (!lines.is_empty()).then(|| Self {
            file: file.to_owned(),
            first_line,
            lines,
            columns: None,
        })
    }

    /// Marks `columns` of the first line, in characters from 0.
    pub fn with_columns(self, columns: Range<usize>) -> Self {
        Self { columns: Some(columns), ..self }
    }
}

/// Returns an error and its causes in one line; a cause that the text ends with already is not repeated.
pub fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpt_is_cut_by_line_numbers_from_one() {
        let text = "FROM a\nRUN b \\\n  c\nCOPY d e\n";
        assert_eq!(
            Excerpt::cut("Dockerfile", text, 2, 3),
            Some(Excerpt {
                file: "Dockerfile".into(),
                first_line: 2,
                lines: vec!["RUN b \\".into(), "  c".into()],
                columns: None,
            })
        );
        assert_eq!(Excerpt::cut("Dockerfile", text, 4, 9).map(|e| e.lines.len()), Some(1));
        assert_eq!(Excerpt::cut("Dockerfile", text, 5, 5), None);
        assert_eq!(Excerpt::cut("Dockerfile", text, 0, 1), None);
    }

    #[test]
    fn a_full_disk_is_of_the_class_disk() {
        let class = |kind| Class::of_io(&std::io::Error::from(kind)).name();
        assert_eq!(class(std::io::ErrorKind::StorageFull), "disk");
        assert_eq!(class(std::io::ErrorKind::NotFound), "user");
        assert_eq!(class(std::io::ErrorKind::ConnectionReset), "infrastructure");
    }
}
