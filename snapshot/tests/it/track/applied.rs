//! What an image holds after its layers: each layer's tar applied in memory, by the rules of the
//! image specification. Shares no code with what writes layers.

use std::collections::{BTreeMap, BTreeSet};

use crate::oracle::{Entry, Name, Tree};

/// An image's files.
#[derive(Debug, Default)]
pub struct Image {
    files: BTreeMap<Name, Entry>,
    /// Which names are one file: a number for each.
    inodes: BTreeMap<Name, u64>,
    next_inode: u64,
}

struct Header {
    name: Name,
    kind: u8,
    size: usize,
    link: String,
    entry: Entry,
}

impl Image {
    /// Begins as `tree`, as if one layer had brought it.
    pub fn of(tree: &Tree) -> Self {
        let mut image = Self { files: tree.clone(), ..Self::default() };
        for (name, entry) in tree {
            let first = entry.names.first().expect("a file has a name");
            let inode = match image.inodes.get(first) {
                Some(&inode) => inode,
                None => image.new_inode(),
            };
            image.inodes.insert(name.clone(), inode);
        }
        image
    }

    /// Applies a layer.
    pub fn apply(&mut self, tar: &[u8]) {
        let mut rest = tar;
        let mut seen = BTreeSet::new();
        while let Some(header) = take_header(&mut rest) {
            let Header { name, kind, size, link, mut entry } = header;
            assert!(seen.insert(name.clone()), "`{name}` is there twice");
            let content = take_padded(&mut rest, size);
            let (parent, last) = name.rsplit_once('/').unwrap_or(("", &name));
            assert!(
                name.is_empty() || self.files.get(parent).is_some_and(|at| at.kind == "directory"),
                "`{name}` comes before its directory"
            );
            if let Some(removed) = last.strip_prefix(".wh.") {
                let slash = if parent.is_empty() { "" } else { "/" };
                let removed = format!("{parent}{slash}{removed}");
                assert!(self.files.contains_key(&removed), "`{removed}` was not there");
                self.remove(&removed);
                continue;
            }
            entry.content = if kind == b'0' { content.to_vec() } else { entry.content };
            let is_directory = entry.kind == "directory";
            let was_directory = self.files.get(&name).is_some_and(|at| at.kind == "directory");
            if !(is_directory && was_directory) {
                self.remove(&name);
            }
            let inode = if kind == b'1' {
                entry.content = self.files[&link].content.clone();
                entry.kind = self.files[&link].kind;
                entry.device = self.files[&link].device;
                // As for the link's first name.
                entry.mode = if entry.kind == "link" { 0 } else { entry.mode };
                self.inodes[&link]
            } else {
                self.new_inode()
            };
            self.inodes.insert(name.clone(), inode);
            self.files.insert(name, entry);
        }
    }

    fn remove(&mut self, name: &str) {
        self.inodes.remove(name);
        let Some(entry) = self.files.remove(name) else { return };
        if entry.kind == "directory" {
            let below = format!("{name}/");
            let names: Vec<Name> = self
                .files
                .range(below.clone()..)
                .map(|(other, _)| other.clone())
                .take_while(|other| other.starts_with(&below))
                .collect();
            for other in names {
                self.files.remove(&other);
                self.inodes.remove(&other);
            }
        }
    }

    fn new_inode(&mut self) -> u64 {
        self.next_inode += 1;
        self.next_inode
    }

    /// Returns the files as an oracle would see them, unpacked.
    pub fn tree(&self) -> Tree {
        let mut names: BTreeMap<u64, BTreeSet<Name>> = BTreeMap::new();
        for (name, inode) in &self.inodes {
            names.entry(*inode).or_default().insert(name.clone());
        }
        let named = |(name, entry): (&Name, &Entry)| {
            let names = names[&self.inodes[name]].clone();
            (name.clone(), Entry { names, ..entry.clone() })
        };
        self.files.iter().map(named).collect()
    }
}

fn take_padded<'a>(bytes: &mut &'a [u8], size: usize) -> &'a [u8] {
    let (content, rest) = bytes.split_at(size);
    *bytes = &rest[(512 - size % 512) % 512..];
    content
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8(bytes[..end].to_vec()).expect("the tests' names are UTF-8")
}

fn octal(bytes: &[u8]) -> u64 {
    u64::from_str_radix(&text(bytes), 8).expect("an octal number")
}

/// Takes an entry's header off; `None` at the archive's end.
fn take_header(bytes: &mut &[u8]) -> Option<Header> {
    let mut records = BTreeMap::new();
    loop {
        let block = take_padded(bytes, 512);
        if block.iter().all(|&byte| byte == 0) {
            assert!(
                records.is_empty() && bytes.iter().all(|&byte| byte == 0) && bytes.len() == 512
            );
            return None;
        }
        let size = usize::try_from(octal(&block[124..136])).expect("it fits");
        if block[156] == b'x' {
            records = pax_records(take_padded(bytes, size));
            continue;
        }
        return Some(header_of(block, size, &records));
    }
}

fn pax_records(mut body: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut records = BTreeMap::new();
    while !body.is_empty() {
        let space = body.iter().position(|&byte| byte == b' ').expect("a length");
        let length: usize = text(&body[..space]).parse().expect("a number");
        let record = &body[space + 1..length - 1];
        let equals = record.iter().position(|&byte| byte == b'=').expect("a value");
        records.insert(text(&record[..equals]), record[equals + 1..].to_vec());
        body = &body[length..];
    }
    records
}

fn header_of(block: &[u8], size: usize, records: &BTreeMap<String, Vec<u8>>) -> Header {
    let record = |key: &str| records.get(key).map(|value| text(value));
    let short_name = match text(&block[345..500]) {
        prefix if prefix.is_empty() => text(&block[..100]),
        prefix => format!("{prefix}/{}", text(&block[..100])),
    };
    let name = record("path").unwrap_or(short_name);
    let link = record("linkpath").unwrap_or_else(|| text(&block[157..257]));
    let kind = block[156];
    let (kind_name, content) = match kind {
        b'5' => ("directory", ""),
        b'2' => ("link", link.as_str()),
        b'3' => ("char", ""),
        b'4' => ("block", ""),
        b'6' => ("fifo", ""),
        _ => ("file", ""),
    };
    let device = rustix::fs::makedev(
        u32::try_from(octal(&block[329..337])).expect("it fits"),
        u32::try_from(octal(&block[337..345])).expect("it fits"),
    );
    let mtime = match record("mtime") {
        Some(mtime) => decimal(&mtime),
        None => (octal(&block[136..148]).cast_signed(), 0),
    };
    let xattrs = records
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("SCHILY.xattr.")?, value)))
        .map(|(key, value)| (key.as_bytes().to_vec(), value.clone()));
    let entry = Entry {
        kind: kind_name,
        mode: if kind == b'2' { 0 } else { u32::try_from(octal(&block[100..108])).expect("fits") },
        owner: (
            u32::try_from(octal(&block[108..116])).expect("it fits"),
            u32::try_from(octal(&block[116..124])).expect("it fits"),
        ),
        mtime,
        content: content.as_bytes().to_vec(),
        device,
        xattrs: xattrs.collect(),
        names: BTreeSet::new(),
    };
    let name = if name == "./" { "" } else { name.trim_end_matches('/') }.to_owned();
    Header { name, kind, size, link, entry }
}

fn decimal(text: &str) -> (i64, i64) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds: i64 = format!("{fraction:0<9}").parse().expect("digits");
    let seconds: i64 = whole.parse().expect("digits");
    assert!(seconds >= 0 && !text.starts_with('-'), "the tests' times are after 1970");
    (seconds, nanoseconds)
}
