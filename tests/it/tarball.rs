//! Writes archives byte by byte, honest ones and others; shared with the unit tests of `archive`.

/// One header block and its content, every field open to lies.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: Vec<u8>,
    pub type_flag: u8,
    pub link_name: Vec<u8>,
    pub mode: Vec<u8>,
    pub uid: Vec<u8>,
    pub gid: Vec<u8>,
    pub size: Option<Vec<u8>>,
    pub mtime: Vec<u8>,
    pub checksum: Option<Vec<u8>>,
    pub magic: Vec<u8>,
    pub device_major: Vec<u8>,
    pub device_minor: Vec<u8>,
    /// Bytes 345 to 512: prefix, or what GNU keeps there.
    pub tail: Vec<u8>,
    pub content: Vec<u8>,
}

/// `number` as an octal field of `width` bytes, its NUL included.
pub fn octal(number: u64, width: usize) -> Vec<u8> {
    format!("{number:0>width$o}\0", width = width - 1).into_bytes()
}

/// `number` in GNU's base-256.
pub fn base256(number: i128, width: usize) -> Vec<u8> {
    let mut bytes = number.to_be_bytes()[16 - width..].to_vec();
    bytes[0] = if number < 0 { 0xff } else { 0x80 };
    bytes
}

impl Member {
    pub fn new(type_flag: u8, name: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            type_flag,
            link_name: Vec::new(),
            mode: octal(if type_flag == b'5' { 0o755 } else { 0o644 }, 8),
            uid: octal(0, 8),
            gid: octal(0, 8),
            size: None,
            mtime: octal(1_500_000_000, 12),
            checksum: None,
            magic: b"ustar\x0000".to_vec(),
            device_major: octal(0, 8),
            device_minor: octal(0, 8),
            tail: Vec::new(),
            content: Vec::new(),
        }
    }

    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self { content: content.as_ref().to_vec(), ..Self::new(b'0', name) }
    }

    pub fn link(type_flag: u8, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link_name: target.as_ref().to_vec(), ..Self::new(type_flag, name) }
    }

    pub fn gnu(self) -> Self {
        Self { magic: b"ustar  \0".to_vec(), ..self }
    }

    pub fn v7(self) -> Self {
        Self { magic: Vec::new(), ..self }
    }

    pub fn mode(self, mode: u64) -> Self {
        Self { mode: octal(mode, 8), ..self }
    }

    pub fn owner(self, uid: u64, gid: u64) -> Self {
        Self { uid: octal(uid, 8), gid: octal(gid, 8), ..self }
    }

    pub fn device(self, major: u64, minor: u64) -> Self {
        Self { device_major: octal(major, 8), device_minor: octal(minor, 8), ..self }
    }

    pub fn size(self, size: u64) -> Self {
        Self { size: Some(octal(size, 12)), ..self }
    }

    /// The header block alone.
    pub fn header(&self) -> [u8; 512] {
        let size = self.size.clone().unwrap_or_else(|| octal(self.content.len() as u64, 12));
        let flag = [self.type_flag];
        let mut block = [0; 512];
        for (start, end, bytes) in [
            (0, 100, &self.name[..]),
            (100, 108, &self.mode),
            (108, 116, &self.uid),
            (116, 124, &self.gid),
            (124, 136, &size),
            (136, 148, &self.mtime),
            (148, 156, b"        "),
            (156, 157, &flag),
            (157, 257, &self.link_name),
            (257, 265, &self.magic),
            (329, 337, &self.device_major),
            (337, 345, &self.device_minor),
            (345, 512, &self.tail),
        ] {
            assert!(bytes.len() <= end - start, "field of {} bytes at {start}", bytes.len());
            block[start..start + bytes.len()].copy_from_slice(bytes);
        }
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        let checksum = self.checksum.clone().unwrap_or_else(|| {
            let mut field = octal(sum, 7);
            field.push(b' ');
            field
        });
        block[148..148 + checksum.len()].copy_from_slice(&checksum);
        block
    }

    /// The header, the content and its padding.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header().to_vec();
        bytes.extend_from_slice(&self.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// One record of an extended header, its length counted.
pub fn record(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    let rest = [b" ", key.as_ref(), b"=", value.as_ref(), b"\n"].concat();
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &rest].concat()
}

/// An extended header of these records.
pub fn pax(records: &[(&str, &[u8])]) -> Member {
    let content: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    Member { content, ..Member::new(b'x', "PaxHeaders.0/x") }
}

/// A GNU long name (`L`) or long link (`K`) header.
pub fn gnu_long(type_flag: u8, name: impl AsRef<[u8]>) -> Member {
    let content = [name.as_ref(), b"\0"].concat();
    Member { content, ..Member::new(type_flag, "././@LongLink") }.gnu()
}

/// The members one after the other, and the two zero blocks of the end.
pub fn archive(members: &[Member]) -> Vec<u8> {
    let mut bytes = unended(members);
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// The members one after the other, without an end.
pub fn unended(members: &[Member]) -> Vec<u8> {
    members.iter().flat_map(Member::bytes).collect()
}
