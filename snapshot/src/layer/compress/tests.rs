use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use flate2::read::MultiGzDecoder;

use super::*;

/// Bytes that compress neither well nor not at all, the same every time.
fn sample(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = (state >> 33).to_le_bytes();
        if state >> 62 == 0 {
            bytes.extend_from_slice(&word);
        } else {
            bytes.extend_from_slice(b"the same ");
        }
    }
    bytes.truncate(length);
    bytes
}

fn gzip(level: i32) -> Compression {
    Compression::Gzip { level: GzipLevel::new(level).expect("a level of gzip") }
}

fn zstd_at(level: i32) -> Compression {
    Compression::Zstd { level: ZstdLevel::new(level).expect("a level of zstd") }
}

/// Encodes `bytes`, given to the encoder in pieces of `piece` bytes.
fn encode(
    compression: Compression,
    workers: usize,
    bytes: &[u8],
    piece: usize,
) -> (Encoded, Vec<u8>) {
    let workers = NonZeroUsize::new(workers).expect("at least one");
    thread::scope(|scope| {
        let mut encoder = Encoder::start(scope, compression, workers, Vec::new());
        for piece in bytes.chunks(piece) {
            encoder.write(piece).expect("memory takes everything");
        }
        encoder.finish().expect("memory takes everything")
    })
}

#[test]
fn bytes_do_not_depend_on_threads_or_pieces() {
    let bytes = sample(9 * CHUNK_SIZE / 2);
    for compression in [Compression::None, gzip(0), gzip(1), gzip(9), zstd_at(1), zstd_at(3)] {
        let (expected, blob) = encode(compression, 1, &bytes, bytes.len());
        assert_eq!(expected.diff_id, Digest::of(&bytes));
        assert_eq!(expected.tar_bytes, bytes.len() as u64);
        assert_eq!(expected.digest, Digest::of(&blob));
        assert_eq!(expected.size_bytes, blob.len() as u64);
        for (workers, piece) in [(2, 4096), (3, 100_001), (8, CHUNK_SIZE), (40, 777_777)] {
            let (encoded, again) = encode(compression, workers, &bytes, piece);
            assert_eq!(encoded, expected, "{compression}, {workers} workers");
            assert!(again == blob, "{compression}, {workers} workers");
        }
    }
}

#[test]
fn blobs_decompress_to_what_was_written() {
    for length in [1, 1024, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE] {
        let bytes = sample(length);
        let (_, stored) = encode(Compression::None, 2, &bytes, 5000);
        assert!(stored == bytes, "{length}");
        for level in [0, 1, 12] {
            let (_, blob) = encode(gzip(level), 2, &bytes, 5000);
            let mut read = Vec::new();
            MultiGzDecoder::new(&blob[..]).read_to_end(&mut read).expect("gzip");
            assert!(read == bytes, "gzip {level}, {length}");
            assert_gzip_reads(&blob);
        }
        let (_, blob) = encode(zstd_at(3), 2, &bytes, 5000);
        let read = zstd::stream::decode_all(&blob[..]).expect("zstd");
        assert!(read == bytes, "zstd, {length}");
    }
}

/// Asks the gzip program, which other tools' readers behave like.
fn assert_gzip_reads(blob: &[u8]) {
    let mut child = Command::new("gzip")
        .arg("-t")
        .stdin(Stdio::piped())
        .spawn()
        .expect("gzip is on every Debian");
    child.stdin.take().expect("piped").write_all(blob).expect("gzip reads to the end");
    assert!(child.wait().expect("gzip ends").success());
}

#[test]
fn gzip_members_hold_a_chunk_each() {
    let bytes = sample(2 * CHUNK_SIZE + 10);
    let (_, blob) = encode(gzip(1), 2, &bytes, 1000);
    let mut rest = &blob[..];
    let mut members = Vec::new();
    while !rest.is_empty() {
        let mut decoder = flate2::bufread::GzDecoder::new(rest);
        let mut read = Vec::new();
        decoder.read_to_end(&mut read).expect("a member");
        members.push(read.len());
        // No time, no name: nothing but the content is in it.
        let header = decoder.header().expect("a header");
        assert_eq!((header.mtime(), header.filename()), (0, None));
        rest = decoder.into_inner();
    }
    assert_eq!(members, [CHUNK_SIZE, CHUNK_SIZE, 10]);
}

#[test]
fn streams_are_cut_at_the_same_offsets() {
    let bytes = sample(3 * CHUNK_SIZE + 5);
    for compression in [gzip(1), zstd_at(1)] {
        let (expected, _) = encode(compression, 2, &bytes, bytes.len());
        let mut seen = Vec::new();
        let encoded = thread::scope(|scope| {
            let workers = NonZeroUsize::MIN;
            let mut encoder = Encoder::start(scope, compression, workers, Vec::new());
            encoder.write(&bytes[..700]).expect("memory takes everything");
            let mut rest = &bytes[700..];
            let limit = rest.len() as u64 - 9;
            let mut see = |piece: &[u8]| seen.extend_from_slice(piece);
            let count = encoder.write_from(&mut rest, limit, &mut see).expect("memory reads");
            assert_eq!((count, rest.len()), (limit, 9));
            let count = encoder.write_from(&mut rest, 100, &mut see).expect("memory reads");
            assert_eq!((count, rest.len()), (9, 0));
            encoder.finish().expect("memory takes everything").0
        });
        assert_eq!(encoded, expected);
        assert!(seen == bytes[700..]);
    }
}

/// Takes `room` bytes, then fails.
struct Full {
    room: usize,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobSink for Full {
    fn restart(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_failing_sink_ends_the_pipeline_with_its_error() {
    let bytes = sample(CHUNK_SIZE);
    for compression in [Compression::None, gzip(1), zstd_at(1)] {
        for room in [0, 10, 3 * CHUNK_SIZE / 2] {
            let error = thread::scope(|scope| {
                let workers = NonZeroUsize::MIN;
                let mut encoder = Encoder::start(scope, compression, workers, Full { room });
                // More than all queues hold, so that the writer is stopped too.
                let stopped = (0..200).find_map(|_| encoder.write(&bytes).err());
                assert_eq!(stopped, Some(Stopped), "{compression}");
                encoder.finish().err().map(|error| error.kind())
            });
            assert_eq!(error, Some(io::ErrorKind::StorageFull), "{compression}, {room}");
        }
    }
}

#[test]
fn an_abandoned_blob_gives_its_sink_back() {
    let bytes = sample(CHUNK_SIZE);
    for compression in [Compression::None, gzip(1), zstd_at(1)] {
        let sink = thread::scope(|scope| {
            let workers = NonZeroUsize::MIN;
            let mut encoder = Encoder::start(scope, compression, workers, b"before".to_vec());
            for _ in 0..3 {
                encoder.write(&bytes).expect("memory takes everything");
            }
            encoder.abandon().expect("memory takes everything")
        });
        assert_eq!(sink.get(..6), Some(&b"before"[..]), "{compression}");
    }
}
