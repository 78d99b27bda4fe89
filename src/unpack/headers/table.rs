//! A layer's headers as its own table of contents tells them, so that the layer need not be read.
//!
//! Of zstd:chunked: the table is a JSON document in a skippable frame near the layer's end; two
//! annotations of the layer say where it is and what its digest is, so that who trusts the manifest can
//! trust it. eStargz has the like, but does not list everything that its layers hold.
//!
//! Pure. Anything unexpected is an error, and the layer is then read as any other.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use snapshot::{Digest, Timestamp, Xattrs};
use thiserror::Error;

use super::{Header, HeaderIndex, Meaning, header, is_kept, meaning};
use crate::archive::{Entry, EntryKind, EntryProblem, entry_path, symlink_target};
use crate::image::{Descriptor, size_of};

/// Prefixes of the annotations, the newer one first.
const PREFIXES: [&str; 2] = ["io.github.containers.zstd-chunked.", "io.containers.zstd-chunked."];

/// Largest table that is read, compressed and not, in bytes.
const TABLE_BYTES: u64 = 64 << 20;

/// The one kind of table there is: entries as in the `crfs` project.
const ENTRY_LIST: &str = "1";

/// Where a layer's table is, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlace {
    /// Bytes of the layer's blob.
    pub span: Range<u64>,
    size_bytes: u64,
    digest: Digest,
}

/// A file whose content the index needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedFile {
    /// Bytes of the layer's blob.
    pub span: Range<u64>,
    position: usize,
    size_bytes: u64,
    digest: Digest,
}

/// A table of contents.
#[derive(Debug)]
pub struct ContentsTable {
    entries: Vec<Entry>,
    wanted: Vec<WantedFile>,
}

/// Why a table cannot be used.
#[derive(Debug, Error)]
pub enum TableError {
    /// It is not what the annotations promise, or a file not what the table does.
    #[error("its bytes are not those that are promised")]
    Digest,
    /// It cannot be decompressed.
    #[error("it cannot be decompressed")]
    Frame(#[source] std::io::Error),
    /// It is not the document that it should be.
    #[error("it cannot be read")]
    Document(#[from] serde_json::Error),
    /// It is of a version or has a type of entry that is not known.
    #[error("`{0}` is not known")]
    Unknown(String),
    /// A path cannot be one.
    #[error(transparent)]
    Entry(#[from] EntryProblem),
    /// A field of an entry does not hold what it should.
    #[error("`{field}` of `{path}` cannot be used")]
    Field {
        /// Which field.
        field: &'static str,
        /// The entry's name.
        path: String,
    },
    /// A whiteout means nothing.
    #[error(transparent)]
    Whiteout(#[from] crate::unpack::whiteout::WhiteoutError),
}

#[derive(Deserialize)]
struct Document {
    version: u32,
    entries: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    link_name: String,
    #[serde(default)]
    mode: u32,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(rename = "modtime")]
    mtime: Option<jiff::Timestamp>,
    #[serde(default)]
    dev_major: u32,
    #[serde(default)]
    dev_minor: u32,
    #[serde(default)]
    xattrs: BTreeMap<String, String>,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    end_offset: u64,
}

impl TablePlace {
    /// Returns where the table of a layer is, if it says that it has one.
    pub fn of(layer: &Descriptor) -> Option<Self> {
        let annotations = layer.annotations.as_ref()?;
        PREFIXES.iter().find_map(|prefix| {
            let get = |name: &str| annotations.get(&format!("{prefix}{name}"));
            let digest = get("manifest-checksum")?.parse().ok()?;
            let mut position = get("manifest-position")?.split(':');
            let mut number = || position.next()?.parse::<u64>().ok();
            let (start, length, size_bytes) = (number()?, number()?, number()?);
            let end = start.checked_add(length)?;
            let fits = end <= size_of(layer).ok()? && length.max(size_bytes) <= TABLE_BYTES;
            (position.next() == Some(ENTRY_LIST) && fits).then_some(Self {
                span: start..end,
                size_bytes,
                digest,
            })
        })
    }
}

impl ContentsTable {
    /// Reads the table of a layer from the bytes of its span.
    ///
    /// # Errors
    /// When they are not those that the annotations promise, or say what is not understood.
    pub fn read(place: &TablePlace, bytes: &[u8]) -> Result<Self, TableError> {
        if Digest::of(bytes) != place.digest {
            return Err(TableError::Digest);
        }
        let document: Document = serde_json::from_slice(&inflate(bytes, place.size_bytes)?)?;
        if document.version != 1 {
            return Err(TableError::Unknown(format!("version {}", document.version)));
        }
        let (mut entries, mut wanted) = (Vec::new(), Vec::new());
        // A file's further chunks have rows of their own.
        for row in document.entries.into_iter().filter(|row| row.kind != "chunk") {
            let (span, digest) = (row.offset..row.end_offset, row.digest.parse());
            let name = row.name.clone();
            let entry = entry(row)?;
            if is_kept(&entry) && entry.size > 0 {
                let field = |field| TableError::Field { field, path: name.clone() };
                let digest = digest.map_err(|_| field("digest"))?;
                if span.is_empty() || span.end > place.span.start {
                    return Err(field("offset"));
                }
                let (position, size_bytes) = (entries.len(), entry.size);
                wanted.push(WantedFile { span, position, size_bytes, digest });
            }
            entries.push(entry);
        }
        Ok(Self { entries, wanted })
    }

    /// Returns the files whose content the index needs.
    pub fn wanted(&self) -> &[WantedFile] {
        &self.wanted
    }

    /// Makes the index of the layer with this digest. `contents` are the bytes of what is wanted, in
    /// that order; `diff_id` is believed, since the layer is not read.
    ///
    /// # Errors
    /// When a content is not what the table promises, or a whiteout means nothing.
    pub fn into_index(
        self,
        digest: Digest,
        diff_id: Digest,
        contents: &[Vec<u8>],
    ) -> Result<HeaderIndex, TableError> {
        let mut files = BTreeMap::new();
        for (wanted, bytes) in self.wanted.iter().zip(contents) {
            let content = inflate(bytes, wanted.size_bytes)?;
            if Digest::of(&content) != wanted.digest {
                return Err(TableError::Digest);
            }
            files.insert(wanted.position, content);
        }
        let headers = self.entries.into_iter().enumerate().map(|(position, entry)| {
            Ok(match meaning(&entry)? {
                Meaning::Hides(path) => Header::Hides(path),
                Meaning::Opaque(path) => Header::Opaque(path),
                Meaning::Entry => {
                    let content = is_kept(&entry).then(|| files.remove(&position));
                    header(entry, content.map(Option::unwrap_or_default))
                }
            })
        });
        let headers = headers.collect::<Result<_, TableError>>()?;
        Ok(HeaderIndex { digest, diff_id, headers })
    }
}

/// Decompresses zstd frames to so many bytes.
fn inflate(bytes: &[u8], size_bytes: u64) -> Result<Vec<u8>, TableError> {
    let mut content = Vec::new();
    let decoder = zstd::Decoder::with_buffer(bytes).map_err(TableError::Frame)?;
    decoder
        .take(size_bytes.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(TableError::Frame)?;
    match u64::try_from(content.len()) == Ok(size_bytes) {
        true => Ok(content),
        false => Err(TableError::Digest),
    }
}

fn entry(row: Row) -> Result<Entry, TableError> {
    let field = |field| TableError::Field { field, path: row.name.clone() };
    // JSON has no other way to tell a name that is not UTF-8.
    let is_told_whole = |text: &str| !text.contains(char::REPLACEMENT_CHARACTER);
    if !is_told_whole(&row.name) || !is_told_whole(&row.link_name) {
        return Err(field("name"));
    }
    let (major, minor) = (row.dev_major, row.dev_minor);
    let kind = match row.kind.as_str() {
        "reg" => EntryKind::Regular,
        "dir" => EntryKind::Directory,
        "symlink" => EntryKind::Symlink(symlink_target(row.link_name.clone().into_bytes())?),
        "hardlink" => EntryKind::HardLink(entry_path(row.link_name.as_bytes())?),
        "char" => EntryKind::CharDevice { major, minor },
        "block" => EntryKind::BlockDevice { major, minor },
        "fifo" => EntryKind::Fifo,
        other => return Err(TableError::Unknown(other.to_owned())),
    };
    let path = entry_path(row.name.as_bytes())?;
    if path.is_root() && kind != EntryKind::Directory {
        return Err(field("type"));
    }
    let mut xattrs = Xattrs::new();
    for (name, value) in &row.xattrs {
        let value = STANDARD.decode(value).map_err(|_| field("xattrs"))?;
        xattrs.insert(name.clone().into_bytes(), value);
    }
    let mtime = match row.mtime {
        // Go's time that is none is of the year 1.
        Some(time) if time.as_second() > i64::from(i32::MIN) => Timestamp {
            seconds: i64::try_from(time.as_nanosecond().div_euclid(1_000_000_000))
                .map_err(|_| field("modtime"))?,
            nanoseconds: u32::try_from(time.as_nanosecond().rem_euclid(1_000_000_000))
                .map_err(|_| field("modtime"))?,
        },
        Some(_) | None => Timestamp::EPOCH,
    };
    let size = if kind == EntryKind::Regular { row.size } else { 0 };
    let Row { mode, uid, gid, .. } = row;
    Ok(Entry { path, kind, mode: mode & 0o7777, uid, gid, mtime, size, xattrs })
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
