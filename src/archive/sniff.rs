//! Whether a file is an archive, by its content: what `ADD` unpacks and what it copies.

use std::io::{self, Read};

use super::decompress::decompress;
use super::limits::Limits;
use super::tar::{BLOCK_SIZE, is_header};

/// Tells whether `source`, decompressed if it is compressed, starts with the header of an entry.
///
/// A compressed file that is no archive is not one, nor is an archive without entries, nor
/// something that cannot be decompressed: `ADD` copies these as they are, as Docker does.
///
/// # Errors
/// When the system cannot read `source`.
pub fn is_tar(source: impl Read + Send) -> io::Result<bool> {
    let mut block = [0; BLOCK_SIZE];
    let read = decompress(source, &Limits::default())
        .and_then(|(_, mut stream)| stream.read_exact(&mut block));
    match read {
        Ok(()) => Ok(block != [0; BLOCK_SIZE] && is_header(&block)),
        Err(error) if error.raw_os_error().is_some() => Err(error),
        // Too short, or not what its first bytes promise.
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::archive::tarball::{Member, archive, gnu_long, pax};

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn archives_are_told_by_their_first_header() {
        fn check(data: &[u8], expected: bool) {
            assert_eq!(is_tar(data).unwrap(), expected);
            assert_eq!(is_tar(&gzip(data)[..]).unwrap(), expected);
        }
        let file = Member::file("a", "x");
        check(&archive(std::slice::from_ref(&file)), true);
        check(&file.header(), true);
        check(&archive(&[file.clone().v7()]), true);
        check(&archive(&[pax(&[("path", b"b")]), file.clone()]), true);
        check(&archive(&[gnu_long(b'L', "b"), file.clone()]), true);
        check(&archive(&[Member::new(b'V', "volume label")]), true);
        check(&archive(&[]), false);
        check(&[0; 10_240], false);
        check(b"", false);
        check(b"text", false);
        check(&[b'x'; 4096], false);
        check(&file.header()[..511], false);
        // Decompressed once, not again and again.
        assert!(!is_tar(&gzip(&gzip(&archive(&[file])))[..]).unwrap());
    }

    #[test]
    fn what_only_starts_as_a_compressed_file_is_no_archive() {
        let whole = gzip(&archive(&[Member::file("a", "x".repeat(5000))]));
        for data in [&whole[..20], b"\x1f\x8b\x08 and text", b"BZh9 and text", b"\x28\xb5\x2f\xfd"]
        {
            assert!(!is_tar(data).unwrap());
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let directory = std::fs::File::open(".").unwrap();
        assert!(is_tar(directory).unwrap_err().raw_os_error().is_some());
    }
}
