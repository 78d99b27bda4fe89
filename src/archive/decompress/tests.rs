//! Every format, whole, several in a row, cut, followed by garbage, and too much of it.

use std::io::{self, Read, Write};

use super::{Format, StreamLimitError, decompress};
use crate::archive::limits::{Limits, RatioLimit};

const FORMATS: [Format; 5] = [Format::Plain, Format::Gzip, Format::Zstd, Format::Bzip2, Format::Xz];

fn compress(format: Format, data: &[u8]) -> Vec<u8> {
    match format {
        Format::Plain => data.to_vec(),
        Format::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Format::Zstd => zstd::encode_all(data, 1).unwrap(),
        Format::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Format::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
    }
}

fn inflate(data: &[u8], limits: Limits) -> io::Result<(Format, Vec<u8>)> {
    let (format, mut reader) = decompress(data, &limits)?;
    let mut inflated = Vec::new();
    reader.read_to_end(&mut inflated)?;
    Ok((format, inflated))
}

fn message(error: &io::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.get_ref().and_then(|error| error.source());
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}

fn sample() -> Vec<u8> {
    (0..20_000u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[test]
fn every_format_is_recognised_and_read() {
    for format in FORMATS {
        let data = sample();
        let read = inflate(&compress(format, &data), Limits::default()).unwrap();
        assert!(read == (format, data), "{format}");
    }
    assert_eq!(inflate(b"", Limits::default()).unwrap(), (Format::Plain, Vec::new()));
    assert_eq!(inflate(b"\x1f", Limits::default()).unwrap(), (Format::Plain, vec![0x1f]));
}

#[test]
fn several_members_are_one_stream() {
    for format in &FORMATS[1..] {
        let members = [&b"one"[..], b"", b"three"].map(|part| compress(*format, part));
        let read = inflate(&members.concat(), Limits::default()).unwrap();
        assert_eq!(read, (*format, b"onethree".to_vec()));
    }
    let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
    let frames = [skippable, &compress(Format::Zstd, b"x")[..], skippable].concat();
    assert_eq!(inflate(&frames, Limits::default()).unwrap(), (Format::Zstd, b"x".to_vec()));
}

#[test]
fn garbage_after_the_last_member_is_an_error() {
    for format in &FORMATS[1..] {
        for garbage in [&b"x"[..], b"garbage after the end", &[0; 1], &[0; 512], b"\x1f\x8b"] {
            let data = [&compress(*format, b"content")[..], garbage].concat();
            // Zeros after an xz stream are padding by its format, in whole words.
            let padding = *format == Format::Xz && garbage == [0; 512];
            let read = inflate(&data, Limits::default());
            assert_eq!(read.is_ok(), padding, "{format}, {garbage:?}: {read:?}");
        }
    }
}

#[test]
fn a_cut_stream_is_an_error_wherever_it_is_cut() {
    for format in &FORMATS[1..] {
        let whole = compress(*format, &sample()[..3000]);
        for cut in 6..whole.len() {
            let error = inflate(&whole[..cut], Limits::default()).expect_err("a cut stream");
            let expected = format!("cannot decompress {format} data: ");
            assert!(message(&error).starts_with(&expected), "{format} at {cut}: {error:?}");
        }
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_changes_nothing() {
    for format in &FORMATS[1..] {
        let data = sample()[..500].to_vec();
        let whole = compress(*format, &data);
        // zstd's encoder adds no checksum by default; layers are held by their DiffID instead.
        if *format == Format::Zstd {
            continue;
        }
        for index in 6..whole.len() {
            let mut flipped = whole.clone();
            flipped[index] ^= 0x10;
            if let Ok((_, read)) = inflate(&flipped, Limits::default()) {
                assert!(read == data, "{format} at {index}");
            }
        }
    }
}

#[test]
fn a_stream_stops_at_its_limits() {
    fn check(limits: Limits, data: &[u8], expected: Option<StreamLimitError>) {
        let found = inflate(data, limits).err().map(|error| {
            *error.get_ref().unwrap().downcast_ref::<StreamLimitError>().expect("a limit")
        });
        assert_eq!(found, expected);
    }
    let zeros = vec![0; 1 << 20];
    let limit = 1 << 19;
    for format in FORMATS {
        let data = compress(format, &zeros);
        let size = Limits { stream_bytes: limit, ratio: None, ..Limits::default() };
        check(size, &data, Some(StreamLimitError::Size { limit }));
        check(Limits { stream_bytes: 1 << 20, ..size }, &data, None);
        let ratio = RatioLimit { ratio: 50, after_bytes: 1 << 18 };
        let ratio = Limits { ratio: Some(ratio), ..Limits::default() };
        let expected = (format != Format::Plain).then_some(StreamLimitError::Ratio { limit: 50 });
        check(ratio, &data, expected);
        let later = RatioLimit { ratio: 50, after_bytes: 1 << 20 };
        check(Limits { ratio: Some(later), ..ratio }, &data, None);
    }
}

#[test]
fn a_window_larger_than_128_mib_is_refused() {
    // Magic, a descriptor with neither content size nor single segment, the window's exponent.
    let frame = |exponent: u8| {
        let start = [0x28, 0xb5, 0x2f, 0xfd, 0, (exponent - 10) << 3];
        // One raw block, the last, of one byte.
        [&start[..], &[0b1001, 0, 0, b'x']].concat()
    };
    assert_eq!(inflate(&frame(27), Limits::default()).unwrap().1, b"x");
    for exponent in [28, 31] {
        let error = inflate(&frame(exponent), Limits::default()).expect_err("a large window");
        assert_eq!(
            message(&error),
            "cannot decompress zstd data: Frame requires too much memory for decoding"
        );
    }
}

#[test]
fn an_xz_dictionary_that_needs_too_much_memory_is_refused() {
    let options = |size: u32| {
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(size);
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let check = liblzma::stream::Check::Crc64;
        let stream = liblzma::stream::Stream::new_stream_encoder(&filters, check).unwrap();
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(b"x").unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(inflate(&options(128 << 20), Limits::default()).unwrap().1, b"x");
    let error = inflate(&options(512 << 20), Limits::default()).expect_err("a large dictionary");
    assert!(message(&error).starts_with("cannot decompress xz data: "), "{error:?}");
}

#[test]
fn an_error_from_below_comes_through_as_it_is() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("connection lost"))
        }
    }
    for format in FORMATS {
        let whole = compress(format, &sample());
        let (_, mut reader) = decompress(whole[..9000].chain(Broken), &Limits::default()).unwrap();
        let error = reader.read_to_end(&mut Vec::new()).expect_err("a broken source");
        assert_eq!(error.to_string(), "connection lost", "{format}");
    }
}
