//! Extended (PAX) headers: `LENGTH KEY=VALUE\n` records, walked by their lengths.
//!
//! Pure. A value may hold any byte, newlines included, which is why nothing here looks for one.

use std::collections::BTreeSet;

use snapshot::{Timestamp, Xattrs};
use thiserror::Error;

use crate::archive::limits::{XATTR_NAME_BYTES, XATTR_VALUE_BYTES};

/// An extended header that cannot be read in one way only.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PaxError {
    /// A record does not fit its length, has no `=`, no key or no newline at its end.
    #[error("malformed record at byte {0} of the extended header")]
    Malformed(usize),
    /// Readers differ in which of two records wins.
    #[error("the extended header has `{0}` twice")]
    Duplicate(String),
    /// The value of a known key is not one.
    #[error("the extended header's `{0}` has an invalid value")]
    Value(String),
    /// The key changes what the entry is in a way that is not supported.
    #[error("`{0}` in an extended header is not supported")]
    Unsupported(String),
    /// GNU tar and Python apply it to every later entry, Go and Docker do not.
    #[error("`{0}` in a global extended header is not supported")]
    Global(String),
}

/// What an extended header says of the entry after it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) xattrs: Xattrs,
    pub(super) sparse: SparseKeys,
}

/// The `GNU.sparse.*` records, as written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SparseKeys {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) block_count: Option<u64>,
    pub(super) map: Option<Vec<u8>>,
}

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

impl Extended {
    /// Parses the content of an `x` header.
    ///
    /// Keys that no reader acts on (`comment`, vendors' own) are passed over, as POSIX asks.
    ///
    /// # Errors
    /// Every way in which two readers would see two different entries.
    pub(super) fn parse(data: &[u8]) -> Result<Self, PaxError> {
        let mut found = Self::default();
        for (key, value) in records(data)? {
            let invalid = || PaxError::Value(shown(key));
            match key {
                b"path" => found.path = Some(name(value).ok_or_else(invalid)?),
                b"linkpath" => found.link_path = Some(name(value).ok_or_else(invalid)?),
                b"size" => found.size = Some(size(value).ok_or_else(invalid)?),
                b"uid" => found.uid = Some(id(value).ok_or_else(invalid)?),
                b"gid" => found.gid = Some(id(value).ok_or_else(invalid)?),
                b"mtime" => found.mtime = Some(time(value).ok_or_else(invalid)?),
                // Not kept, but GNU tar refuses an archive for a malformed one.
                b"atime" | b"ctime" if time(value).is_none() => return Err(invalid()),
                b"hdrcharset" if !is_charset(value) => return Err(invalid()),
                b"GNU.sparse.major" => found.sparse.major = Some(size(value).ok_or_else(invalid)?),
                b"GNU.sparse.minor" => found.sparse.minor = Some(size(value).ok_or_else(invalid)?),
                b"GNU.sparse.name" => found.sparse.name = Some(name(value).ok_or_else(invalid)?),
                b"GNU.sparse.realsize" => {
                    found.sparse.real_size = Some(size(value).ok_or_else(invalid)?);
                }
                b"GNU.sparse.size" => found.sparse.size = Some(size(value).ok_or_else(invalid)?),
                b"GNU.sparse.numblocks" => {
                    found.sparse.block_count = Some(size(value).ok_or_else(invalid)?);
                }
                b"GNU.sparse.map" => found.sparse.map = Some(value.to_vec()),
                // star's sparse files: every other reader takes the packed data for the content.
                b"SCHILY.realsize" => return Err(PaxError::Unsupported(shown(key))),
                _ if key.starts_with(b"GNU.") => return Err(PaxError::Unsupported(shown(key))),
                _ => {
                    if let Some(attribute) = key.strip_prefix(XATTR_PREFIX) {
                        if attribute.is_empty()
                            || attribute.len() > XATTR_NAME_BYTES
                            || value.len() > XATTR_VALUE_BYTES
                        {
                            return Err(invalid());
                        }
                        found.xattrs.insert(attribute.to_vec(), value.to_vec());
                    }
                }
            }
        }
        Ok(found)
    }
}

/// Checks the content of a `g` header: `git archive` writes its commit there as a comment, and
/// nothing that any reader acts on is taken.
///
/// # Errors
/// [`PaxError::Global`] for a key that would change later entries.
pub(super) fn check_global(data: &[u8]) -> Result<(), PaxError> {
    for (key, value) in records(data)? {
        let acts = matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid" | b"mtime")
            || [&b"GNU."[..], b"SCHILY.", b"LIBARCHIVE."].iter().any(|mine| key.starts_with(mine))
            || (key == b"hdrcharset" && !is_charset(value));
        if acts {
            return Err(PaxError::Global(shown(key)));
        }
    }
    Ok(())
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn records(data: &[u8]) -> Result<Vec<Record<'_>>, PaxError> {
    let mut records = Vec::new();
    let mut keys = BTreeSet::new();
    let mut rest = data;
    while !rest.is_empty() {
        let malformed = PaxError::Malformed(data.len() - rest.len());
        let Some((key, value, after)) = record(rest) else { return Err(malformed) };
        // GNU's sparse format 0.0 is the one writer of repeated keys; naming it helps its user.
        if !keys.insert(key) {
            return Err(PaxError::Duplicate(shown(key)));
        }
        records.push((key, value));
        rest = after;
    }
    Ok(records)
}

/// Splits the first record off; `None` when it is malformed.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().position(|&byte| byte == b' ')?;
    let (digits, _) = data.split_at_checked(space)?;
    // A leading zero would be one more spelling that readers treat differently.
    if digits.first() == Some(&b'0') {
        return None;
    }
    let length = usize::try_from(decimal(digits)?).ok()?;
    let (record, after) = data.split_at_checked(length)?;
    let pair = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|&byte| byte == b'=')?;
    let (key, value) = pair.split_at_checked(equals)?;
    if key.is_empty() || key.contains(&0) {
        return None;
    }
    Some((key, value.get(1..)?, after))
}

/// Parses digits and nothing else, up to 19 of them.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

fn size(value: &[u8]) -> Option<u64> {
    decimal(value).filter(|&size| i64::try_from(size).is_ok())
}

fn id(value: &[u8]) -> Option<u32> {
    // (u32)-1 tells chown to leave the owner alone.
    decimal(value).and_then(|id| u32::try_from(id).ok()).filter(|&id| id != u32::MAX)
}

fn name(value: &[u8]) -> Option<Vec<u8>> {
    // An empty value takes a record back in POSIX, is an empty name in Python.
    (!value.is_empty() && !value.contains(&0)).then(|| value.to_vec())
}

/// Parses `[-]SECONDS[.FRACTION]`, digits beyond nanoseconds cut towards the past.
fn time(value: &[u8]) -> Option<Timestamp> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(value) => (true, value),
        None => (false, value),
    };
    let mut parts = value.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanoseconds = (0..9).fold(0u32, |sum, index| {
        sum * 10 + fraction.get(index).map_or(0, |digit| u32::from(digit - b'0'))
    });
    if !negative {
        return Some(Timestamp { seconds, nanoseconds });
    }
    let cut_off = fraction.iter().skip(9).any(|&digit| digit != b'0');
    nanoseconds += u32::from(cut_off);
    let borrowed = i64::from(nanoseconds > 0);
    Some(Timestamp {
        seconds: -seconds - borrowed,
        nanoseconds: if nanoseconds == 0 { 0 } else { 1_000_000_000 - nanoseconds },
    })
}

fn is_charset(value: &[u8]) -> bool {
    matches!(value, b"BINARY" | b"ISO-IR 10646 2000 UTF-8")
}

fn shown(key: &[u8]) -> String {
    // Keys come from outside and may be a mebibyte long.
    key.iter().take(80).copied().collect::<Vec<u8>>().escape_ascii().to_string()
}
