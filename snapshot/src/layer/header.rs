//! The header blocks of one tar entry: what is known of it in, bytes out.
//!
//! Pure. Owns the choice between plain ustar fields and PAX records; knows nothing of files. The
//! idea to hold in mind: a record is written only for what a ustar field cannot say, so that an
//! ordinary entry is one block, and the same entry is always the same bytes.

use std::borrow::Cow;
use std::io::Write as _;

use tar::{EntryType, Header};
use thiserror::Error;

use crate::metadata::Timestamp;
use crate::xattr::Xattrs;

/// Size of a tar block. Headers and contents are padded to it.
pub(super) const BLOCK: usize = 512;

/// The largest value of an 8-byte octal field (mode, ids, device numbers).
const MAX_OCTAL_7: u64 = 0o777_7777;
/// The largest value of a 12-byte octal field (size, mtime).
const MAX_OCTAL_11: u64 = 0o777_7777_7777;

const NAME_SIZE: usize = 100;
const PREFIX_SIZE: usize = 155;

/// Something of an entry that no tar header can say.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Neither ustar nor PAX has a place for it; Linux itself stops at 4095:1048575.
    #[error("the device number {major}:{minor} does not fit into a tar header")]
    DeviceNumber {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// One PAX record: key and value.
type Record<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// What a tar entry's header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryHeader<'a> {
    /// Name in the archive: no leading slash, a trailing one for a directory.
    pub(super) name: &'a [u8],
    pub(super) entry_type: EntryType,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Bytes of content that follow the header.
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    /// Target of a symbolic or hard link, else empty.
    pub(super) link_name: &'a [u8],
    /// Major and minor number of a device node, else zero.
    pub(super) device: (u32, u32),
    /// Names must not contain `=`, which PAX cannot carry in a key.
    pub(super) xattrs: &'a Xattrs,
}

impl EntryHeader<'_> {
    /// Appends the entry's header to `out`: one block, with a PAX header before it where needed.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) -> Result<(), HeaderError> {
        let records = self.pax_records();
        if !records.is_empty() {
            append_pax_header(&records, out);
        }
        out.extend_from_slice(self.ustar()?.as_bytes());
        Ok(())
    }

    fn ustar(&self) -> Result<Header, HeaderError> {
        let mut header = Header::new_ustar();
        header.set_entry_type(self.entry_type);
        header.set_mode(self.mode);
        // A field that a PAX record replaces is zero, as Go and GNU tar write it. (`tar` would put
        // GNU's base-256 numbers there, which have no place in a ustar header.)
        header.set_uid(fitting(self.uid.into(), MAX_OCTAL_7).unwrap_or(0));
        header.set_gid(fitting(self.gid.into(), MAX_OCTAL_7).unwrap_or(0));
        header.set_size(fitting(self.size, MAX_OCTAL_11).unwrap_or(0));
        header.set_mtime(self.ustar_mtime().unwrap_or(0));
        let (major, minor) = self.device;
        if u64::from(major.max(minor)) > MAX_OCTAL_7 {
            return Err(HeaderError::DeviceNumber { major, minor });
        }
        let fields = header.as_ustar_mut().expect("`new_ustar` makes a ustar header");
        fields.set_device_major(major);
        fields.set_device_minor(minor);
        let (prefix, name) = match split_name(self.name) {
            Some(parts) => parts,
            // Replaced by the `path` record. Not left with a slash at its end by the cut: some
            // readers take any such name for a directory.
            None => (&b""[..], without_slash(truncated(self.name))),
        };
        copy_into(&mut fields.prefix, prefix);
        copy_into(&mut fields.name, name);
        copy_into(&mut fields.linkname, truncated(self.link_name));
        header.set_cksum();
        Ok(header)
    }

    /// Returns the seconds for the ustar field; the fraction, if any, is in the PAX record.
    fn ustar_mtime(&self) -> Option<u64> {
        fitting(u64::try_from(self.mtime.seconds).ok()?, MAX_OCTAL_11)
    }

    /// Returns the PAX records that the entry needs, sorted by key.
    fn pax_records(&self) -> Vec<Record<'_>> {
        let mut records: Vec<Record<'_>> = Vec::new();
        for (name, value) in self.xattrs {
            let key = [&b"SCHILY.xattr."[..], name].concat();
            records.push((key.into(), value.as_slice().into()));
        }
        let mut text = |key: &'static str, value: String| {
            records.push((key.as_bytes().into(), value.into_bytes().into()));
        };
        if u64::from(self.uid) > MAX_OCTAL_7 {
            text("uid", self.uid.to_string());
        }
        if u64::from(self.gid) > MAX_OCTAL_7 {
            text("gid", self.gid.to_string());
        }
        if self.size > MAX_OCTAL_11 {
            text("size", self.size.to_string());
        }
        if self.mtime.nanoseconds != 0 || self.ustar_mtime().is_none() {
            text("mtime", decimal(self.mtime));
        }
        let long_name = split_name(self.name).is_none().then_some(self.name);
        let long_link = (needs_charset(self.link_name) || self.link_name.len() > NAME_SIZE)
            .then_some(self.link_name);
        for (key, value) in [("path", long_name), ("linkpath", long_link)] {
            if let Some(value) = value {
                records.push((key.as_bytes().into(), value.into()));
            }
        }
        // PAX values are UTF-8 unless this record says otherwise.
        if [long_name, long_link].into_iter().flatten().any(|name| str::from_utf8(name).is_err()) {
            records.push((b"hdrcharset"[..].into(), b"BINARY"[..].into()));
        }
        records.sort();
        records
    }
}

/// Appends a PAX header holding `records` to `out`.
fn append_pax_header(records: &[Record<'_>], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    for (key, value) in records {
        let length = record_length(key.len() + value.len() + " =\n".len());
        write!(body, "{length} ").expect("writing to memory does not fail");
        body.extend_from_slice(key);
        body.push(b'=');
        body.extend_from_slice(value);
        body.push(b'\n');
    }
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(body.len() as u64);
    let fields = header.as_ustar_mut().expect("`new_ustar` makes a ustar header");
    // The name only shows in readers that know no PAX. Python's choice: constant, so that a long
    // name is not cut into it.
    copy_into(&mut fields.name, b"././@PaxHeader");
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(&body);
    out.resize(out.len() + padding(body.len() as u64), 0);
}

/// Returns the length of a record that counts its own decimal digits, `rest` being all but those.
fn record_length(rest: usize) -> usize {
    let digits = |number: usize| number.checked_ilog10().map_or(1, |log| log as usize + 1);
    let length = rest + digits(rest);
    // The digits themselves can carry the length over a power of ten, once.
    rest + digits(length)
}

/// Returns the zero bytes that follow `size` bytes of content.
pub(super) fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

/// Returns `name` as ustar's prefix and name fields; `None` when they cannot say it.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if needs_charset(name) {
        return None;
    }
    if name.len() <= NAME_SIZE {
        return Some((b"", name));
    }
    // The last slash that leaves a prefix of at most 155 bytes and is not the name's own end.
    let end = (name.len() - 1).min(PREFIX_SIZE + 1);
    let slash = name.get(..end)?.iter().rposition(|&byte| byte == b'/')?;
    let (prefix, rest) = name.split_at(slash);
    let rest = rest.get(1..)?;
    (!prefix.is_empty() && rest.len() <= NAME_SIZE).then_some((prefix, rest))
}

/// Tells whether a name needs a PAX record to say that it is UTF-8. What is not UTF-8 has no
/// encoding to declare, and stands as it is where it fits.
fn needs_charset(name: &[u8]) -> bool {
    !name.is_ascii() && str::from_utf8(name).is_ok()
}

fn fitting(value: u64, most: u64) -> Option<u64> {
    (value <= most).then_some(value)
}

fn truncated(name: &[u8]) -> &[u8] {
    name.get(..NAME_SIZE).unwrap_or(name)
}

/// Returns `name` without slashes at its end.
fn without_slash(mut name: &[u8]) -> &[u8] {
    while let Some(rest) = name.strip_suffix(b"/") {
        name = rest;
    }
    name
}

/// Copies `bytes` to the front of a zeroed header field, as much as fits.
fn copy_into(field: &mut [u8], bytes: &[u8]) {
    for (to, &from) in field.iter_mut().zip(bytes) {
        *to = from;
    }
}

/// Returns a time as PAX writes it: a decimal number of seconds, without trailing zeros.
fn decimal(time: Timestamp) -> String {
    let Timestamp { seconds, nanoseconds } = time;
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    // `seconds` is rounded down: -1.5 s is -2 s and 500,000,000 ns.
    let (sign, whole, fraction) = if seconds < 0 {
        ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds)
    } else {
        ("", seconds.unsigned_abs(), nanoseconds)
    };
    let text = format!("{sign}{whole}.{fraction:09}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests;
