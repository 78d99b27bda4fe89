use super::*;

fn plain<'a>(name: &'a [u8], xattrs: &'a Xattrs) -> EntryHeader<'a> {
    EntryHeader {
        name,
        entry_type: EntryType::Regular,
        mode: 0o4755,
        uid: 1000,
        gid: 100,
        size: 5,
        mtime: Timestamp { seconds: 1_700_000_000, nanoseconds: 0 },
        link_name: b"",
        device: (0, 0),
        xattrs,
    }
}

fn encoded(header: &EntryHeader<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    header.append_to(&mut out).expect("the header can be written");
    assert_eq!(out.len() % BLOCK, 0);
    out
}

/// Returns the PAX records before the entry's own block, as text with odd bytes escaped.
fn records(header: &EntryHeader<'_>) -> Vec<String> {
    let bytes = encoded(header);
    if bytes.len() == BLOCK {
        return Vec::new();
    }
    let pax = Header::from_byte_slice(&bytes[..BLOCK]);
    assert_eq!(pax.entry_type(), EntryType::XHeader);
    assert_eq!(pax.path_bytes().as_ref(), b"././@PaxHeader");
    let size = usize::try_from(pax.entry_size().expect("the size is octal")).expect("it is small");
    let mut body = &bytes[BLOCK..BLOCK + size];
    let mut records = Vec::new();
    while !body.is_empty() {
        let space = body.iter().position(|&byte| byte == b' ').expect("a record has a length");
        let length: usize =
            str::from_utf8(&body[..space]).expect("digits").parse().expect("a number");
        assert_eq!(body[length - 1], b'\n');
        records.push(body[space + 1..length - 1].escape_ascii().to_string());
        body = &body[length..];
    }
    records
}

/// A ustar block built by hand from the layout in POSIX.
struct Golden([u8; BLOCK]);

impl Golden {
    fn new(fields: &[(usize, &[u8])]) -> Self {
        let mut block = [0; BLOCK];
        for (offset, bytes) in fields {
            block[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
        Self(block)
    }
}

#[test]
fn ordinary_file_is_one_ustar_block() {
    let none = Xattrs::new();
    let golden = Golden::new(&[
        (0, b"usr/bin/su"),
        (100, b"0004755\0"),
        (108, b"0001750\0"),
        (116, b"0000144\0"),
        (124, b"00000000005\0"),
        (136, b"14524770400\0"),
        (156, b"0"),
        (257, b"ustar\x0000"),
        (329, b"0000000\0"),
        (337, b"0000000\0"),
    ]);
    assert_eq!(encoded(&plain(b"usr/bin/su", &none)), golden.0);
}

#[test]
fn device_and_link_fields() {
    let none = Xattrs::new();
    let header = EntryHeader {
        entry_type: EntryType::Block,
        size: 0,
        device: (4095, 1_048_575),
        ..plain(b"dev/x", &none)
    };
    let block = encoded(&header);
    assert_eq!(&block[156..157], b"4");
    assert_eq!(&block[329..345], b"0007777\x003777777\0");
    let header = EntryHeader { device: (1 << 21, 7), ..header };
    let error = header.append_to(&mut Vec::new());
    assert_eq!(error, Err(HeaderError::DeviceNumber { major: 1 << 21, minor: 7 }));

    let link = [b'l'; 100];
    let header =
        EntryHeader { entry_type: EntryType::Link, link_name: &link, ..plain(b"a", &none) };
    let block = encoded(&header);
    assert_eq!((&block[156..157], &block[157..257]), (&b"1"[..], &link[..]));
}

#[test]
fn names_use_the_prefix_field_before_a_record() {
    let long = |lengths: &[usize]| {
        lengths.iter().map(|&length| "n".repeat(length)).collect::<Vec<_>>().join("/").into_bytes()
    };
    for (name, fits) in [
        (long(&[100]), true),
        (long(&[101]), false),
        (long(&[155, 100]), true),
        (long(&[156, 99]), false),
        (long(&[1, 101]), false),
        (long(&[100, 54, 100]), true),
        (long(&[99, 0]), true),
        (long(&[100, 0]), false),
        (long(&[155, 99, 0]), true),
        (long(&[200, 3, 200, 190]), false),
        ([&b"caf\xe9/"[..], &[b'x'; 99]].concat(), true),
    ] {
        let none = Xattrs::new();
        let header = plain(&name, &none);
        let expected: Vec<String> =
            if fits { vec![] } else { vec![format!("path={}", name.escape_ascii())] };
        assert_eq!(records(&header), expected, "{}", name.escape_ascii());
        if fits {
            let block = encoded(&header);
            assert_eq!(Header::from_byte_slice(&block).path_bytes().as_ref(), name);
        }
    }
}

#[test]
fn records_say_what_ustar_cannot() {
    let none = Xattrs::new();
    let base = plain(b"f", &none);
    let at =
        |seconds, nanoseconds| EntryHeader { mtime: Timestamp { seconds, nanoseconds }, ..base };
    let xattrs = Xattrs::from([
        (b"user.a".to_vec(), b"1\n2\0".to_vec()),
        (b"security.capability".to_vec(), b"\x01\0\0\x02".to_vec()),
    ]);
    for (header, expected) in [
        (EntryHeader { uid: 2_097_151, gid: 2_097_151, ..base }, vec![]),
        (
            EntryHeader { uid: 2_097_152, gid: u32::MAX, ..base },
            vec!["gid=4294967295", "uid=2097152"],
        ),
        (EntryHeader { size: 0o777_7777_7777, ..base }, vec![]),
        (EntryHeader { size: 8_589_934_592, ..base }, vec!["size=8589934592"]),
        (at(0, 0), vec![]),
        (at(0, 1), vec!["mtime=0.000000001"]),
        (at(12, 500_000_000), vec!["mtime=12.5"]),
        (at(-1, 0), vec!["mtime=-1"]),
        (at(-2, 500_000_000), vec!["mtime=-1.5"]),
        (at(-1, 999_999_990), vec!["mtime=-0.00000001"]),
        (at(i64::MIN, 1), vec!["mtime=-9223372036854775807.999999999"]),
        (at(8_589_934_591, 0), vec![]),
        (at(8_589_934_592, 0), vec!["mtime=8589934592"]),
        (
            EntryHeader { xattrs: &xattrs, ..base },
            vec![
                "SCHILY.xattr.security.capability=\\x01\\x00\\x00\\x02",
                "SCHILY.xattr.user.a=1\\n2\\x00",
            ],
        ),
        (EntryHeader { name: "é".as_bytes(), ..base }, vec!["path=\\xc3\\xa9"]),
        (EntryHeader { name: b"\xff", ..base }, vec![]),
        (EntryHeader { link_name: b"caf\xe9", ..base }, vec![]),
        (EntryHeader { link_name: "é".as_bytes(), ..base }, vec!["linkpath=\\xc3\\xa9"]),
    ] {
        assert_eq!(records(&header), expected, "{header:?}");
    }
}

#[test]
fn long_names_that_are_not_utf8_declare_it() {
    let none = Xattrs::new();
    let long = [b'\xff'; 101];
    let text = long.escape_ascii().to_string();
    let header = EntryHeader { link_name: "é".as_bytes(), ..plain(&long, &none) };
    assert_eq!(
        records(&header),
        ["hdrcharset=BINARY".to_owned(), "linkpath=\\xc3\\xa9".to_owned(), format!("path={text}")]
    );
    let header = EntryHeader { link_name: &long, ..plain(b"f", &none) };
    assert_eq!(records(&header), ["hdrcharset=BINARY".to_owned(), format!("linkpath={text}")]);
}

#[test]
fn fields_that_a_record_replaces_are_zero() {
    let none = Xattrs::new();
    let name = [[b'd'; 99].as_slice(), b"/", &[b'e'; 156], b"/"].concat();
    let header = EntryHeader {
        uid: u32::MAX,
        gid: u32::MAX,
        size: u64::MAX,
        mtime: Timestamp { seconds: -5, nanoseconds: 0 },
        ..plain(&name, &none)
    };
    let blocks = encoded(&header);
    let block = &blocks[blocks.len() - BLOCK..];
    assert_eq!(&block[108..148], b"0000000\x000000000\x0000000000000\x0000000000000\0");
    // Cut after the first component, and without its slash.
    assert_eq!(&block[..100], [[b'd'; 99].as_slice(), b"\0"].concat());
}

#[test]
fn record_lengths_count_themselves() {
    for rest in 4..1200 {
        let length = record_length(rest);
        assert_eq!(length, rest + length.to_string().len(), "{rest}");
    }
}

#[test]
fn padding_fills_the_block() {
    for (size, expected) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511), (u64::MAX, 1)] {
        assert_eq!(padding(size), expected);
    }
}
