//! Decompression, by what the bytes say and not by what a name or a media type claims.
//!
//! Owns the choice of decoder and the limits of a stream; knows nothing of tar. The idea to hold in
//! mind: one stream in, one stream out, and whatever is wrong with the input is an error of the
//! reader returned, exactly once, never a short result.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use liblzma::stream::{CONCATENATED, Stream};
use thiserror::Error;

use super::limits::{Limits, RatioLimit, XZ_MEMORY_BYTES, ZSTD_WINDOW_LOG};

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Not at all.
    Plain,
    /// One or more gzip members.
    Gzip,
    /// One or more zstd frames, skippable ones among them.
    Zstd,
    /// One or more bzip2 streams.
    Bzip2,
    /// One or more xz streams.
    Xz,
}

impl std::fmt::Display for Format {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        })
    }
}

/// A stream that decompresses to more than it may. Arrives inside an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StreamLimitError {
    /// More bytes than [`Limits::stream_bytes`].
    #[error("it decompresses to more than {limit} bytes")]
    Size {
        /// The limit.
        limit: u64,
    },
    /// More growth than [`Limits::ratio`].
    #[error("it decompresses to more than {limit} times its size")]
    Ratio {
        /// The limit.
        limit: u64,
    },
}

/// A stream that its decoder does not take. Arrives inside an [`io::Error`].
#[derive(Debug, Error)]
#[error("cannot decompress {format} data")]
struct DecodeError {
    format: Format,
    #[source]
    source: io::Error,
}

/// Enough bytes for the longest magic.
const MAGIC_BYTES: u64 = 6;

/// Input buffer of a decoder; large enough that reads of a file are few.
const BUFFER_BYTES: usize = 128 << 10;

impl Format {
    /// Returns the format of a stream that starts with `start`.
    #[must_use]
    pub fn sniff(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // A frame, or a skippable frame (`zstd:chunked` and others start with one).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::Plain,
        }
    }
}

/// Returns how `source` is compressed and a reader of what it decompresses to.
///
/// Several members, frames or streams one after the other are one stream; anything else after the
/// last one is an error, and so is a stream that ends early.
///
/// # Errors
/// When the first bytes of `source` cannot be read. Everything later is an error of the reader
/// returned; past `limits` one that holds a [`StreamLimitError`].
pub fn decompress<'a>(
    mut source: impl Read + Send + 'a,
    limits: &Limits,
) -> io::Result<(Format, Box<dyn Read + Send + 'a>)> {
    let mut start = Vec::new();
    source.by_ref().take(MAGIC_BYTES).read_to_end(&mut start)?;
    let format = Format::sniff(&start);
    let intake = Arc::new(Intake::default());
    let counted = Counted { source: Cursor::new(start).chain(source), intake: Arc::clone(&intake) };
    let input = BufReader::with_capacity(BUFFER_BYTES, counted);
    let decoder = decoder(format, input)?;
    Ok((format, Box::new(Limited { decoder, format, intake, given: 0, limits: *limits })))
}

fn decoder<'a>(
    format: Format,
    input: impl BufRead + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match format {
        Format::Plain => Box::new(input),
        // Never `GzDecoder`, which stops silently after the first member.
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Format::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY_BYTES, CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Format::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

/// What happened below a decoder. One thread works both ends; atomics because a decoder owns one.
#[derive(Default)]
struct Intake {
    bytes: AtomicU64,
    failed: AtomicBool,
}

/// Watches what a decoder takes from its source.
struct Counted<R> {
    source: R,
    intake: Arc<Intake>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer);
        match &read {
            Ok(length) => _ = self.intake.bytes.fetch_add(*length as u64, Ordering::Relaxed),
            Err(_) => self.intake.failed.store(true, Ordering::Relaxed),
        }
        read
    }
}

struct Limited<R> {
    decoder: R,
    format: Format,
    intake: Arc<Intake>,
    given: u64,
    limits: Limits,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.decoder.read(buffer).map_err(|source| {
            // An error from below is not the decoder's opinion of the data.
            if self.intake.failed.swap(false, Ordering::Relaxed) {
                return source;
            }
            io::Error::new(source.kind(), DecodeError { format: self.format, source })
        })?;
        self.given += length as u64;
        if self.given > self.limits.stream_bytes {
            let limit = self.limits.stream_bytes;
            return Err(io::Error::other(StreamLimitError::Size { limit }));
        }
        if let Some(RatioLimit { ratio, after_bytes }) = self.limits.ratio
            && self.given > after_bytes
            && self.given / ratio > self.intake.bytes.load(Ordering::Relaxed)
        {
            return Err(io::Error::other(StreamLimitError::Ratio { limit: ratio }));
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
