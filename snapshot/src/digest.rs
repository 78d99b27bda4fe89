//! SHA-256 digests: the value, and ways to compute it while bytes pass.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Text that is not a SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DigestError {
    /// Another algorithm, or none.
    #[error("`{0}` is not a sha256 digest")]
    Algorithm(String),
    /// What follows `sha256:` is not 64 lower-case hexadecimal digits.
    #[error("`{0}` is not `sha256:` and 64 lower-case hexadecimal digits")]
    Encoding(String),
}

/// A SHA-256 digest, as text `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the digest that has these 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the digest's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is below 16"));
            }
        }
        text
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix("sha256:");
        let hex = hex.ok_or_else(|| DigestError::Algorithm(text.to_owned()))?;
        let invalid = || DigestError::Encoding(text.to_owned());
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return Err(invalid());
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            for &digit in pair {
                // OCI spells the digits in lower case; taking both would give one digest two names.
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(invalid()),
                };
                *byte = *byte << 4 | value;
            }
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Computes a digest from bytes given piece by piece, and counts them.
#[derive(Clone, Default)]
pub struct Digester {
    state: Sha256,
    count: u64,
}

impl Digester {
    /// Returns a digester that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.count += bytes.len() as u64;
    }

    /// Returns the number of bytes taken in.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

/// A reader that computes the digest of what is read through it.
pub struct HashingReader<R> {
    inner: R,
    digester: Digester,
}

impl<R> HashingReader<R> {
    /// Wraps `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, digester: Digester::new() }
    }

    /// Returns the number of bytes read so far.
    pub fn count(&self) -> u64 {
        self.digester.count()
    }

    /// Returns the reader, and the digester fed with everything read.
    pub fn into_parts(self) -> (R, Digester) {
        (self.inner, self.digester)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        // A reader that claims more than the buffer holds is broken; the slice below says so.
        self.digester.update(&buffer[..count]);
        Ok(count)
    }
}

/// A writer that computes the digest of what is written through it.
pub struct HashingWriter<W> {
    inner: W,
    digester: Digester,
}

impl<W> HashingWriter<W> {
    /// Wraps `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, digester: Digester::new() }
    }

    /// Returns the number of bytes written so far.
    pub fn count(&self) -> u64 {
        self.digester.count()
    }

    /// Returns the writer, and the digester fed with everything written.
    pub fn into_parts(self) -> (W, Digester) {
        (self.inner, self.digester)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.digester.update(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn known_digests_round_trip_as_text() {
        for (bytes, text) in [(&b""[..], EMPTY), (b"abc", ABC)] {
            let digest = Digest::of(bytes);
            assert_eq!(digest.to_string(), text);
            assert_eq!(text.parse(), Ok(digest));
            assert_eq!(format!("sha256:{}", digest.hex()), text);
            assert_eq!(Digest::from_bytes(*digest.as_bytes()), digest);
        }
    }

    #[test]
    fn other_text_is_refused() {
        let text = "sha512:abc";
        assert_eq!(text.parse::<Digest>(), Err(DigestError::Algorithm(text.into())));
        for text in [&ABC[..70], &format!("{ABC}0"), &ABC.to_uppercase().replace("SHA", "sha")] {
            assert_eq!(text.parse::<Digest>(), Err(DigestError::Encoding(text.into())));
        }
        let multibyte = format!("sha256:{}", "é".repeat(32));
        assert_eq!(multibyte.parse::<Digest>(), Err(DigestError::Encoding(multibyte.clone())));
    }

    #[test]
    fn readers_and_writers_digest_what_passes() {
        let mut reader = HashingReader::new(&b"abc"[..]);
        let mut writer = HashingWriter::new(Vec::new());
        io::copy(&mut reader, &mut writer).expect("memory does not fail");
        assert_eq!((reader.count(), writer.count()), (3, 3));
        assert_eq!(reader.into_parts().1.finish().to_string(), ABC);
        let (written, digester) = writer.into_parts();
        assert_eq!(written, b"abc");
        assert_eq!(digester.finish().to_string(), ABC);
    }
}
