//! One 512-byte header block, field by field.
//!
//! Pure; knows nothing of what extended headers say.

use snapshot::Timestamp;
use thiserror::Error;

/// Size of a block; headers and content are padded to it.
pub(in crate::archive) const BLOCK_SIZE: usize = 512;

/// A header block that is not one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockError {
    /// The block does not add up; a shifted or foreign stream looks like this.
    #[error("the checksum does not match")]
    Checksum,
    /// The magic is neither `ustar` in either spelling nor empty.
    #[error("unknown magic `{0}`")]
    Magic(String),
    /// A numeric field holds something else.
    #[error("field `{field}` holds `{value}`, which is no number")]
    NotANumber {
        /// The field's name in the POSIX header.
        field: &'static str,
        /// What it holds, escaped.
        value: String,
    },
    /// A numeric field holds a number that has no meaning there.
    #[error("field `{0}` is out of range")]
    OutOfRange(&'static str),
    /// GNU tar ignores these bytes, Python takes them as the first part of the name.
    #[error("a prefix in a header that has no such field")]
    Prefix,
}

/// Who laid out the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Before POSIX: no magic.
    V7,
    /// POSIX.1-1988 and PAX.
    Ustar,
    /// GNU's own, with long names and sparse files.
    Gnu,
}

struct Field {
    name: &'static str,
    start: usize,
    end: usize,
}

const NAME: Field = Field { name: "name", start: 0, end: 100 };
const MODE: Field = Field { name: "mode", start: 100, end: 108 };
const UID: Field = Field { name: "uid", start: 108, end: 116 };
const GID: Field = Field { name: "gid", start: 116, end: 124 };
const SIZE: Field = Field { name: "size", start: 124, end: 136 };
const MTIME: Field = Field { name: "mtime", start: 136, end: 148 };
const CHECKSUM: Field = Field { name: "chksum", start: 148, end: 156 };
const TYPE_FLAG: usize = 156;
const LINK_NAME: Field = Field { name: "linkname", start: 157, end: 257 };
const MAGIC: Field = Field { name: "magic", start: 257, end: 265 };
const DEVICE_MAJOR: Field = Field { name: "devmajor", start: 329, end: 337 };
const DEVICE_MINOR: Field = Field { name: "devminor", start: 337, end: 345 };
const PREFIX: Field = Field { name: "prefix", start: 345, end: 500 };
/// In a GNU header: four (offset, length) pairs, a flag that more follow, and the file's size.
const SPARSE: Field = Field { name: "sparse", start: 386, end: 482 };
const SPARSE_EXTENDED: usize = 482;
const SPARSE_SIZE: Field = Field { name: "realsize", start: 483, end: 495 };

/// A header block whose checksum and magic are right.
pub(super) struct Block {
    bytes: [u8; BLOCK_SIZE],
    pub(super) dialect: Dialect,
}

impl Block {
    /// # Errors
    /// [`BlockError::Checksum`], [`BlockError::Magic`].
    pub(super) fn parse(bytes: [u8; BLOCK_SIZE]) -> Result<Self, BlockError> {
        check_sum(&bytes)?;
        let magic = field(&bytes, &MAGIC);
        let dialect = if magic == b"ustar  \0" {
            Dialect::Gnu
        } else if magic.starts_with(b"ustar\0") {
            Dialect::Ustar
        } else if magic.iter().all(|&byte| byte == 0) {
            Dialect::V7
        } else {
            return Err(BlockError::Magic(magic.escape_ascii().to_string()));
        };
        Ok(Self { bytes, dialect })
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.bytes[TYPE_FLAG]
    }

    /// Returns the name, a POSIX prefix put before it.
    pub(super) fn name(&self) -> Result<Vec<u8>, BlockError> {
        let name = until_nul(field(&self.bytes, &NAME));
        let prefix = field(&self.bytes, &PREFIX);
        if self.dialect == Dialect::Ustar {
            let prefix = until_nul(prefix);
            if !prefix.is_empty() {
                return Ok([prefix, b"/", name].concat());
            }
        } else if self.type_flag() != b'S' && prefix.iter().any(|&byte| byte != 0) {
            return Err(BlockError::Prefix);
        }
        Ok(name.to_vec())
    }

    /// Tells whether the header's own name is a directory's, whatever an extension calls it.
    pub(super) fn name_ends_in_slash(&self) -> bool {
        until_nul(field(&self.bytes, &NAME)).ends_with(b"/")
    }

    pub(super) fn link_name(&self) -> &[u8] {
        until_nul(field(&self.bytes, &LINK_NAME))
    }

    /// Returns permission, set-id and sticky bits; old writers put the type bits there too.
    pub(super) fn mode(&self) -> Result<u32, BlockError> {
        match u32::try_from(self.number(&MODE)?) {
            Ok(mode) if mode <= 0o177_777 => Ok(mode & 0o7777),
            _ => Err(BlockError::OutOfRange(MODE.name)),
        }
    }

    pub(super) fn uid(&self) -> Result<u32, BlockError> {
        self.id(&UID)
    }

    pub(super) fn gid(&self) -> Result<u32, BlockError> {
        self.id(&GID)
    }

    pub(super) fn size(&self) -> Result<u64, BlockError> {
        size(&SIZE, self.number(&SIZE)?)
    }

    pub(super) fn mtime(&self) -> Result<Timestamp, BlockError> {
        let seconds =
            i64::try_from(self.number(&MTIME)?).map_err(|_| BlockError::OutOfRange(MTIME.name))?;
        Ok(Timestamp { seconds, nanoseconds: 0 })
    }

    /// Returns the major and minor number of a device node.
    pub(super) fn device(&self) -> Result<(u32, u32), BlockError> {
        // The kernel's own packing: 12 bits and 20 bits.
        let part = |part: &'static Field, most: u32| match u32::try_from(self.number(part)?) {
            Ok(number) if number <= most => Ok(number),
            _ => Err(BlockError::OutOfRange(part.name)),
        };
        Ok((part(&DEVICE_MAJOR, 0xfff)?, part(&DEVICE_MINOR, 0xf_ffff)?))
    }

    /// Checks that every numeric field holds a number, used or not: GNU tar or Python refuses the
    /// archive otherwise, also for an extension's header and for what an extension overrides.
    pub(super) fn check_numbers(&self) -> Result<(), BlockError> {
        for field in [&MODE, &UID, &GID, &SIZE, &MTIME, &DEVICE_MAJOR, &DEVICE_MINOR] {
            self.number(field)?;
        }
        Ok(())
    }

    /// Returns the sparse map's part in a GNU `S` header, and whether more blocks of it follow.
    pub(super) fn sparse(&self) -> Result<SparsePart, BlockError> {
        sparse_part(field(&self.bytes, &SPARSE), self.bytes[SPARSE_EXTENDED])
    }

    /// Returns the size of a GNU sparse file, holes included.
    pub(super) fn sparse_size(&self) -> Result<u64, BlockError> {
        size(&SPARSE_SIZE, self.number(&SPARSE_SIZE)?)
    }

    fn number(&self, of: &Field) -> Result<i128, BlockError> {
        number(of.name, field(&self.bytes, of))
    }

    fn id(&self, of: &Field) -> Result<u32, BlockError> {
        match u32::try_from(self.number(of)?) {
            // (u32)-1 tells chown to leave the owner alone.
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(BlockError::OutOfRange(of.name)),
        }
    }
}

/// A stretch of a sparse map: (offset, length) pairs, and whether another block follows.
pub(super) struct SparsePart {
    pub(super) pairs: Vec<(u64, u64)>,
    pub(super) more: bool,
}

/// Reads a block that continues the sparse map of a GNU `S` header.
pub(super) fn sparse_block(bytes: &[u8; BLOCK_SIZE]) -> Result<SparsePart, BlockError> {
    sparse_part(&bytes[..504], bytes[504])
}

fn sparse_part(pairs: &[u8], more: u8) -> Result<SparsePart, BlockError> {
    let mut found = Vec::new();
    let mut ended = false;
    for pair in pairs.chunks_exact(24) {
        let (offset, length) = pair.split_at(12);
        if pair.iter().all(|&byte| byte == 0) {
            ended = true;
        // GNU tar goes by the length alone, Python reads the offset too.
        } else if ended || length.first() == Some(&0) {
            return Err(BlockError::OutOfRange(SPARSE.name));
        } else {
            let part = |bytes| size(&SPARSE, number(SPARSE.name, bytes)?);
            found.push((part(offset)?, part(length)?));
        }
    }
    let more = match more {
        0 => false,
        1 if !ended => true,
        // GNU tar stops at the first empty pair, Python goes by the flag.
        _ => return Err(BlockError::OutOfRange("isextended")),
    };
    Ok(SparsePart { pairs: found, more })
}

/// Tells whether `bytes` can be the first header of an archive.
pub(in crate::archive) fn is_header(bytes: &[u8; BLOCK_SIZE]) -> bool {
    check_sum(bytes).is_ok() && number(SIZE.name, field(bytes, &SIZE)).is_ok()
}

fn field<'a>(bytes: &'a [u8; BLOCK_SIZE], field: &Field) -> &'a [u8] {
    // Every `Field` is one of the constants above, which all lie inside a block.
    &bytes[field.start..field.end]
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn check_sum(bytes: &[u8; BLOCK_SIZE]) -> Result<(), BlockError> {
    let written =
        number(CHECKSUM.name, field(bytes, &CHECKSUM)).map_err(|_| BlockError::Checksum)?;
    // The field itself counts as blanks. Some early writers summed signed characters; every reader
    // takes either.
    let unsigned = |bytes: &[u8]| bytes.iter().map(|&byte| i32::from(byte)).sum::<i32>();
    let signed =
        |bytes: &[u8]| bytes.iter().map(|&byte| i32::from(byte.cast_signed())).sum::<i32>();
    let (own, blanks) = (field(bytes, &CHECKSUM), [b' '; CHECKSUM.end - CHECKSUM.start]);
    let summed = |sum: fn(&[u8]) -> i32| i128::from(sum(bytes) - sum(own) + sum(&blanks));
    let (unsigned, signed) = (summed(unsigned), summed(signed));
    // An all-zero block has the sum of eight spaces; zero as its written sum never matches.
    if written == unsigned || written == signed { Ok(()) } else { Err(BlockError::Checksum) }
}

fn size(of: &Field, number: i128) -> Result<u64, BlockError> {
    i64::try_from(number)
        .ok()
        .and_then(|number| u64::try_from(number).ok())
        .ok_or(BlockError::OutOfRange(of.name))
}

/// Parses a numeric field: octal digits with blanks around them, or GNU's base-256.
///
/// Stricter than any of the readers it agrees with: no signs, no digits after the terminator, no
/// leading NUL, each of which at least two of them read differently.
fn number(name: &'static str, bytes: &[u8]) -> Result<i128, BlockError> {
    match bytes.split_first() {
        // The first byte is a mark, and the sign of what follows; no field is longer than 12 bytes.
        Some((&mark @ (0x80 | 0xff), rest)) => {
            let start = if mark == 0xff { -1i128 } else { 0 };
            return Ok(rest.iter().fold(start, |sum, &byte| (sum << 8) | i128::from(byte)));
        }
        Some(_) => {}
        None => return Ok(0),
    }
    let not_a_number =
        || BlockError::NotANumber { field: name, value: bytes.escape_ascii().to_string() };
    let start = bytes.iter().position(|&byte| byte != b' ').ok_or_else(not_a_number)?;
    let digits = &bytes[start..];
    let end = digits.iter().position(|byte| !(b'0'..=b'7').contains(byte)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if rest.iter().any(|&byte| byte != 0 && byte != b' ') {
        return Err(not_a_number());
    }
    Ok(digits.iter().fold(0, |sum, &digit| sum * 8 + i128::from(digit - b'0')))
}
