//! Paths inside a root file system: bytes, relative to the root, with nothing in them to resolve.
//!
//! Owns the one spelling of a path that the rest of the crate (and everything that builds on it)
//! uses. Knows nothing of the disk: symbolic links are [`crate::Rootfs`]'s business. The idea to
//! hold in mind: a `RootfsPath` never contains `.`, `..`, an empty component or a NUL, so it can be
//! neither absolute nor outside the root.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::ops::Bound;

use thiserror::Error;

/// A path that cannot be one inside a root file system.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PathError {
    /// The path holds a NUL byte, which no file name can.
    #[error("path `{}` contains a NUL byte", Escaped(.0))]
    Nul(Vec<u8>),
}

/// A path relative to the root of a root file system, as bytes; the empty path is the root.
///
/// Ordered by component, so that sorting gives a pre-order walk: a directory comes before what is
/// in it, and what is in it before the directory's next sibling (`a`, `a/b`, `a-b`).
///
/// ```
/// use snapshot::RootfsPath;
/// let path = RootfsPath::new("/usr//lib/../bin/.")?;
/// assert_eq!(path.as_bytes(), b"usr/bin");
/// assert_eq!(path.to_string(), "/usr/bin");
/// # Ok::<(), snapshot::PathError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct RootfsPath(Box<[u8]>);

impl RootfsPath {
    /// Returns the root itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// Returns `path` cleaned lexically: empty components and `.` dropped, `..` taken back and
    /// clamped at the root. Absolute and relative spellings mean the same.
    ///
    /// # Errors
    /// [`PathError::Nul`] when there is a NUL byte in it.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Self, PathError> {
        Self::root().join(path)
    }

    /// Returns the path's bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tells whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the directory this path is in, `None` for the root.
    pub fn parent(&self) -> Option<RootfsPath> {
        self.split_last().map(|(parent, _)| Self(parent.into()))
    }

    /// Returns the last component, `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        self.split_last().map(|(_, name)| name)
    }

    /// Returns the bytes of the parent and the last component, `None` for the root.
    pub fn split_last(&self) -> Option<(&[u8], &[u8])> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => Some((&self.0[..slash], &self.0[slash + 1..])),
            None => Some((&[], &self.0)),
        }
    }

    /// Returns the components, first to last; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
    }

    /// Returns `path` taken relative to this one and cleaned as [`RootfsPath::new`] does.
    ///
    /// A leading slash in `path` has no meaning here: `a` joined with `/b` is `a/b`.
    ///
    /// # Errors
    /// [`PathError::Nul`] when there is a NUL byte in it.
    pub fn join(&self, path: impl AsRef<[u8]>) -> Result<RootfsPath, PathError> {
        let path = path.as_ref();
        if path.contains(&0) {
            return Err(PathError::Nul(path.to_vec()));
        }
        let mut cleaned = Vec::with_capacity(self.0.len() + 1 + path.len());
        cleaned.extend_from_slice(&self.0);
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => {
                    let end = cleaned.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                    cleaned.truncate(end);
                }
                name => {
                    if !cleaned.is_empty() {
                        cleaned.push(b'/');
                    }
                    cleaned.extend_from_slice(name);
                }
            }
        }
        Ok(Self(cleaned.into()))
    }

    /// Returns the path of the entry `name` in this directory.
    ///
    /// # Panics
    /// When `name` is not one valid component. Meant for names that a directory listing or another
    /// `RootfsPath` gave; anything else goes through [`RootfsPath::join`].
    pub fn join_name(&self, name: &[u8]) -> RootfsPath {
        assert!(is_name(name), "not a single path component: `{}`", Escaped(name));
        let mut joined = Vec::with_capacity(self.0.len() + 1 + name.len());
        if !self.is_root() {
            joined.extend_from_slice(&self.0);
            joined.push(b'/');
        }
        joined.extend_from_slice(name);
        Self(joined.into())
    }

    /// Tells whether this path is `base` or below it.
    pub fn starts_with(&self, base: &RootfsPath) -> bool {
        match self.0.strip_prefix(&*base.0) {
            Some(rest) => base.is_root() || rest.is_empty() || rest.first() == Some(&b'/'),
            None => false,
        }
    }

    /// Returns those of a map's entries that are at this path or below it, parents first.
    pub fn within<'m, V>(
        &self,
        map: &'m BTreeMap<RootfsPath, V>,
    ) -> impl Iterator<Item = (&'m RootfsPath, &'m V)> {
        // A path's order is that of its components, so that what is below it comes right after it.
        let range = (Bound::Included(self), Bound::Unbounded);
        map.range::<RootfsPath, _>(range).take_while(|(path, _)| path.starts_with(self))
    }

    /// Returns the directories above this path, nearest first; the last one is the root.
    pub fn ancestors(&self) -> impl Iterator<Item = RootfsPath> {
        std::iter::successors(self.parent(), RootfsPath::parent)
    }
}

/// Tells whether `name` can be the name of a directory entry.
pub fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|&byte| byte == b'/' || byte == 0)
}

/// Compares two path spellings by component: `/` sorts below every other byte, so that `a/b`
/// comes right after `a` and before `a-b`.
pub(crate) fn compare(left: &[u8], right: &[u8]) -> Ordering {
    // A NUL never occurs, so the value 0 is free for the separator.
    let key = |&byte: &u8| if byte == b'/' { 0 } else { byte };
    left.iter().map(key).cmp(right.iter().map(key))
}

impl Ord for RootfsPath {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for RootfsPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RootfsPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{}", Escaped(&self.0))
    }
}

impl fmt::Debug for RootfsPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

/// Shows bytes to a person: printable UTF-8 as it is, everything else as `\xNN`.
///
/// The backslash is escaped too, so that two different names never look the same.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() || character == '\\' {
                    let mut buffer = [0; 4];
                    for byte in character.encode_utf8(&mut buffer).bytes() {
                        write!(formatter, "\\x{byte:02x}")?;
                    }
                } else {
                    formatter.write_char(character)?;
                }
            }
            for byte in chunk.invalid() {
                write!(formatter, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
