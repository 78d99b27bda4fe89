//! The frame of the forms that are kept on disk for ourselves: a seal over what is in one, and its
//! fields, one after the other.
//!
//! Knows nothing of what is kept. The idea to hold in mind: whatever is read was found on a disk. A form
//! that is not understood, or not whole, is as good as none, so that nothing here says why it is not;
//! no length is believed before as much is there.
//!
//! ```text
//! magic │ SHA-256 of the rest │ the rest: numbers little-endian, bytes behind their count
//! ```
//!
//! ```
//! use snapshot::stored::{Fields, put_bytes, seal, unseal};
//!
//! let mut rest = Vec::new();
//! rest.extend_from_slice(&7_u32.to_le_bytes());
//! put_bytes(&mut rest, b"name");
//! let stored = seal(b"example 1\n", &rest);
//!
//! let mut fields = Fields::new(unseal(b"example 1\n", &stored).expect("it is whole"));
//! assert_eq!((fields.small(), fields.bytes()), (Some(7), Some(&b"name"[..])));
//! assert!(fields.is_empty());
//! assert_eq!(fields.byte(), None);
//! ```

use crate::digest::Digest;
use crate::metadata::Timestamp;

const DIGEST_BYTES: usize = 32;

/// Returns `rest` with a seal and what says which form it has.
pub fn seal(magic: &[u8], rest: &[u8]) -> Vec<u8> {
    [magic, Digest::of(rest).as_bytes(), rest].concat()
}

/// Returns what is under a seal; `None` when it is of another form, or not whole.
pub fn unseal<'a>(magic: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
    let (digest, rest) = stored.strip_prefix(magic)?.split_at_checked(DIGEST_BYTES)?;
    (Digest::of(rest).as_bytes() == digest).then_some(rest)
}

/// Appends `bytes` behind their count, for [`Fields::bytes`].
pub fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    to.extend_from_slice(bytes);
}

/// Reads fields one after the other. Each is `None` where less is left than it takes, and then nothing
/// is taken of it but, of [`Fields::bytes`], the count.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Begins with the first field.
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// Tells whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes so many bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes as many bytes as the array has.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*array)
    }

    /// Takes one byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes a number of four bytes.
    pub fn small(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes a number of eight bytes.
    pub fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a number of eight bytes that can be negative.
    pub fn signed(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// Takes bytes that are behind their count.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        self.take(count)
    }

    /// Takes the 32 bytes of a digest.
    pub fn digest(&mut self) -> Option<Digest> {
        self.array().map(Digest::from_bytes)
    }

    /// Takes seconds, eight bytes, and nanoseconds, four.
    pub fn time(&mut self) -> Option<Timestamp> {
        let (seconds, nanoseconds) = (self.signed()?, self.small()?);
        Some(Timestamp { seconds, nanoseconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: &[u8] = b"form 1\n";

    #[test]
    fn what_is_sealed_is_unsealed() {
        for rest in [&b""[..], b"r", &[7; 100]] {
            assert_eq!(unseal(MAGIC, &seal(MAGIC, rest)), Some(rest));
            assert_eq!(unseal(b"form 2\n", &seal(MAGIC, rest)), None);
        }
    }

    #[test]
    fn what_is_not_whole_is_nothing() {
        let stored = seal(MAGIC, b"some bytes");
        for length in 0..stored.len() {
            assert_eq!(unseal(MAGIC, &stored[..length]), None, "{length}");
        }
        for at in 0..stored.len() {
            let mut damaged = stored.clone();
            damaged[at] ^= 1;
            assert_eq!(unseal(MAGIC, &damaged), None, "{at}");
        }
        assert_eq!(unseal(MAGIC, &[stored.as_slice(), b"\n"].concat()), None);
    }

    #[test]
    fn fields_are_read_in_their_order() {
        let mut rest = vec![1];
        rest.extend_from_slice(&0x0102_0304_u32.to_le_bytes());
        rest.extend_from_slice(&u64::MAX.to_le_bytes());
        rest.extend_from_slice(&(-2_i64).to_le_bytes());
        put_bytes(&mut rest, b"");
        put_bytes(&mut rest, b"bytes");
        rest.extend_from_slice(Digest::of(b"a").as_bytes());
        rest.extend_from_slice(&(-3_i64).to_le_bytes());
        rest.extend_from_slice(&4_u32.to_le_bytes());
        rest.extend_from_slice(b"end");
        let mut fields = Fields::new(&rest);
        assert_eq!(fields.byte(), Some(1));
        assert_eq!(fields.small(), Some(0x0102_0304));
        assert_eq!(fields.number(), Some(u64::MAX));
        assert_eq!(fields.signed(), Some(-2));
        assert_eq!(fields.bytes(), Some(&b""[..]));
        assert_eq!(fields.bytes(), Some(&b"bytes"[..]));
        assert_eq!(fields.digest(), Some(Digest::of(b"a")));
        assert_eq!(fields.time(), Some(Timestamp { seconds: -3, nanoseconds: 4 }));
        assert!(!fields.is_empty());
        assert_eq!(fields.take(3), Some(&b"end"[..]));
        assert!(fields.is_empty());
        assert_eq!(fields.take(0), Some(&b""[..]));
    }

    #[test]
    fn no_field_is_longer_than_what_is_left() {
        for length in 0..8_usize {
            let rest = vec![0xff; length];
            let fields = Fields::new(&rest);
            assert_eq!(fields.clone().take(length + 1), None, "{length}");
            assert_eq!(fields.clone().take(usize::MAX), None, "{length}");
            assert_eq!(fields.clone().byte().is_none(), length == 0, "{length}");
            assert_eq!(fields.clone().small().is_none(), length < 4, "{length}");
            assert_eq!(fields.clone().number(), None, "{length}");
            assert_eq!(fields.clone().signed(), None, "{length}");
            assert_eq!(fields.clone().digest(), None, "{length}");
            assert_eq!(fields.clone().time(), None, "{length}");
            assert_eq!(fields.clone().bytes(), None, "{length}");
        }
        for (count, has) in [(0, true), (3, true), (4, false), (u64::MAX, false)] {
            let rest = [&u64::to_le_bytes(count)[..], b"abc"].concat();
            assert_eq!(Fields::new(&rest).bytes().is_some(), has, "{count}");
        }
    }
}
