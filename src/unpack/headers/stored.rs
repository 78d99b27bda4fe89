//! The form in which a layer's headers are kept on disk.
//!
//! Only for ourselves: a form that is not understood, or not whole, is as good as none. Whoever
//! changes what is in it changes [`MAGIC`]. What was kept under the first one lacks files' digests
//! and is read all the same.
//!
//! ```text
//! magic │ SHA-256 of the rest │ zstd ( blob digest │ diff id │ headers )
//! ```

use std::io::{self, Read};

use snapshot::stored::{Fields, put_bytes, seal, unseal};
use snapshot::{Digest, FileKind, RootfsPath, Timestamp, Xattrs};

use super::{Header, HeaderEntry, HeaderIndex, HeaderKind};

const MAGIC: &[u8] = b"zuwai layer headers 2\n";

const FIRST_MAGIC: &[u8] = b"zuwai layer headers 1\n";

/// Beyond this, what is kept decompresses to something else than headers: 10 million of them.
const LIMIT_BYTES: u64 = 1 << 30;

const ENTRY: u8 = 0;
const HARD_LINK: u8 = 1;
const HIDES: u8 = 2;
const OPAQUE: u8 = 3;

const DIRECTORY: u8 = 0;
const REGULAR: u8 = 1;
const KEPT: u8 = 2;
const SYMLINK: u8 = 3;
const CHAR_DEVICE: u8 = 4;
const BLOCK_DEVICE: u8 = 5;
const FIFO: u8 = 6;
const DIGESTED: u8 = 7;

impl HeaderIndex {
    /// Returns the form to keep.
    ///
    /// # Errors
    /// When the compressor fails.
    pub fn to_stored(&self) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        plain.extend_from_slice(self.digest.as_bytes());
        plain.extend_from_slice(self.diff_id.as_bytes());
        for header in &self.headers {
            match header {
                Header::Entry(path, entry) => {
                    plain.push(ENTRY);
                    put_bytes(&mut plain, path.as_bytes());
                    put_entry(&mut plain, entry);
                }
                Header::HardLink { path, target } => {
                    plain.push(HARD_LINK);
                    put_bytes(&mut plain, path.as_bytes());
                    put_bytes(&mut plain, target.as_bytes());
                }
                Header::Hides(path) => {
                    plain.push(HIDES);
                    put_bytes(&mut plain, path.as_bytes());
                }
                Header::Opaque(path) => {
                    plain.push(OPAQUE);
                    put_bytes(&mut plain, path.as_bytes());
                }
            }
        }
        let packed = zstd::stream::encode_all(plain.as_slice(), 0)?;
        Ok(seal(MAGIC, &packed))
    }

    /// Reads the kept form; `None` when it is none, or not whole.
    pub fn from_stored(stored: &[u8]) -> Option<Self> {
        let packed = unseal(MAGIC, stored).or_else(|| unseal(FIRST_MAGIC, stored))?;
        let mut plain = Vec::new();
        let decoder = zstd::stream::read::Decoder::with_buffer(packed).ok()?;
        decoder.take(LIMIT_BYTES).read_to_end(&mut plain).ok()?;
        let from = &mut Fields::new(&plain);
        let (digest, diff_id) = (from.digest()?, from.digest()?);
        let mut headers = Vec::new();
        while !from.is_empty() {
            headers.push(header(from)?);
        }
        Some(Self { digest, diff_id, headers })
    }
}

fn put_number(to: &mut Vec<u8>, number: u64) {
    to.extend_from_slice(&number.to_le_bytes());
}

fn put_entry(to: &mut Vec<u8>, entry: &HeaderEntry) {
    let HeaderEntry { kind, mode, uid, gid, mtime, xattrs, is_linked: _ } = entry;
    for number in [*mode, *uid, *gid, mtime.nanoseconds] {
        to.extend_from_slice(&number.to_le_bytes());
    }
    to.extend_from_slice(&mtime.seconds.to_le_bytes());
    put_number(to, xattrs.len() as u64);
    for (name, value) in xattrs {
        put_bytes(to, name);
        put_bytes(to, value);
    }
    match kind {
        HeaderKind::Directory => to.push(DIRECTORY),
        HeaderKind::Regular { size, content: None, digest: None } => {
            to.push(REGULAR);
            put_number(to, *size);
        }
        HeaderKind::Regular { size, content: None, digest: Some(digest) } => {
            to.push(DIGESTED);
            put_number(to, *size);
            to.extend_from_slice(digest.as_bytes());
        }
        // Its digest is that of the content.
        HeaderKind::Regular { size, content: Some(content), digest: _ } => {
            to.push(KEPT);
            put_number(to, *size);
            put_bytes(to, content);
        }
        HeaderKind::Symlink(target) => {
            to.push(SYMLINK);
            put_bytes(to, target);
        }
        HeaderKind::Special { kind, major, minor } => {
            to.push(match kind {
                FileKind::CharDevice => CHAR_DEVICE,
                FileKind::BlockDevice => BLOCK_DEVICE,
                _ => FIFO,
            });
            to.extend_from_slice(&major.to_le_bytes());
            to.extend_from_slice(&minor.to_le_bytes());
        }
    }
}

fn path(from: &mut Fields<'_>) -> Option<RootfsPath> {
    RootfsPath::new(from.bytes()?).ok()
}

fn header(from: &mut Fields<'_>) -> Option<Header> {
    Some(match from.byte()? {
        ENTRY => Header::Entry(path(from)?, entry(from)?),
        HARD_LINK => Header::HardLink { path: path(from)?, target: path(from)? },
        HIDES => Header::Hides(path(from)?),
        OPAQUE => Header::Opaque(path(from)?),
        _ => return None,
    })
}

fn entry(from: &mut Fields<'_>) -> Option<HeaderEntry> {
    let (mode, uid, gid, nanoseconds) =
        (from.small()?, from.small()?, from.small()?, from.small()?);
    let seconds = from.signed()?;
    let mut xattrs = Xattrs::new();
    for _ in 0..from.number()? {
        xattrs.insert(from.bytes()?.to_vec(), from.bytes()?.to_vec());
    }
    let kind = kind(from)?;
    let mtime = Timestamp { seconds, nanoseconds };
    Some(HeaderEntry { kind, mode, uid, gid, mtime, xattrs, is_linked: false })
}

fn kind(from: &mut Fields<'_>) -> Option<HeaderKind> {
    let kind = match from.byte()? {
        DIRECTORY => return Some(HeaderKind::Directory),
        REGULAR => {
            let size = from.number()?;
            return Some(HeaderKind::Regular { size, content: None, digest: None });
        }
        DIGESTED => {
            let (size, digest) = (from.number()?, Some(from.digest()?));
            return Some(HeaderKind::Regular { size, content: None, digest });
        }
        KEPT => {
            let size = from.number()?;
            let content = from.bytes()?.to_vec();
            let digest = Some(Digest::of(&content));
            return Some(HeaderKind::Regular { size, content: Some(content), digest });
        }
        SYMLINK => return Some(HeaderKind::Symlink(from.bytes()?.to_vec())),
        CHAR_DEVICE => FileKind::CharDevice,
        BLOCK_DEVICE => FileKind::BlockDevice,
        FIFO => FileKind::Fifo,
        _ => return None,
    };
    Some(HeaderKind::Special { kind, major: from.small()?, minor: from.small()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> HeaderIndex {
        let path = |text: &str| RootfsPath::new(text).expect("a path");
        let kinds = [
            HeaderKind::Directory,
            HeaderKind::Regular { size: 7, content: None, digest: None },
            HeaderKind::Regular { size: 7, content: None, digest: Some(Digest::of(b"seven b")) },
            HeaderKind::Regular {
                size: 2,
                content: Some(b"me".to_vec()),
                digest: Some(Digest::of(b"me")),
            },
            HeaderKind::Symlink(b"../x\xff".to_vec()),
            HeaderKind::Special { kind: FileKind::CharDevice, major: 1, minor: 3 },
            HeaderKind::Special { kind: FileKind::BlockDevice, major: 8, minor: 0 },
            HeaderKind::Special { kind: FileKind::Fifo, major: 0, minor: 0 },
        ];
        let mut headers: Vec<Header> = kinds
            .into_iter()
            .enumerate()
            .map(|(number, kind)| {
                let entry = HeaderEntry {
                    kind,
                    mode: 0o4755,
                    uid: 1,
                    gid: u32::MAX,
                    mtime: Timestamp { seconds: -5, nanoseconds: 999_999_999 },
                    xattrs: Xattrs::from([(b"user.a".to_vec(), b"\0b".to_vec())]),
                    is_linked: false,
                };
                Header::Entry(path(&format!("d/{number}")), entry)
            })
            .collect();
        headers.push(Header::HardLink { path: path("l"), target: path("d/1") });
        headers.push(Header::Hides(path("gone")));
        headers.push(Header::Opaque(RootfsPath::root()));
        HeaderIndex { digest: Digest::of(b"blob"), diff_id: Digest::of(b"tar"), headers }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let stored = index().to_stored().expect("compressed");
        assert_eq!(HeaderIndex::from_stored(&stored), Some(index()));
    }

    #[test]
    fn what_was_kept_without_digests_is_read() {
        let mut old = index();
        old.headers.retain(|header| {
            let Header::Entry(_, entry) = header else { return true };
            !matches!(entry.kind, HeaderKind::Regular { content: None, digest: Some(_), .. })
        });
        let stored = old.to_stored().expect("compressed");
        let stored = [FIRST_MAGIC, stored.strip_prefix(MAGIC).expect("it is there")].concat();
        assert_eq!(HeaderIndex::from_stored(&stored), Some(old));
    }

    #[test]
    fn what_is_not_whole_is_nothing() {
        let stored = index().to_stored().expect("compressed");
        for length in 0..stored.len() {
            assert_eq!(HeaderIndex::from_stored(&stored[..length]), None, "{length}");
        }
        for place in 0..stored.len() {
            let mut other = stored.clone();
            other[place] ^= 1;
            assert_eq!(HeaderIndex::from_stored(&other), None, "{place}");
        }
        // Whole, and still no headers.
        for plain in [&b""[..], b"short", &[0; 64 + 1], &[9; 64 + 9]] {
            let packed = zstd::stream::encode_all(plain, 0).expect("compressed");
            assert_eq!(HeaderIndex::from_stored(&seal(MAGIC, &packed)), None, "{plain:?}");
        }
    }
}
