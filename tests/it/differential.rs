//! The tar reader against GNU tar and Python's `tarfile`, on archives made at random: what it takes
//! the others have to take and read alike. It may refuse what they take.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use snapshot::Digest;
use zuwai::archive::{EntryKind, Limits, Reader, TarError};

use super::tarball::{Member, archive, base256, gnu_long, octal, pax, record, unended};

/// One member as a reader sees it: what it is, its path's components, its mode, owner, size, time,
/// target and content.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    kind: char,
    path: Vec<Vec<u8>>,
    mode: u32,
    owner: (u64, u64),
    size: u64,
    seconds: i64,
    target: Vec<u8>,
    content: String,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, path, mode, owner, size, seconds, target, content } = self;
        let (path, target) = (path.join(&b'/'), target.escape_ascii());
        let path = path.escape_ascii();
        let content = content.get(..8).unwrap_or_default();
        write!(
            formatter,
            "{kind} `{path}` {mode:o} {owner:?} {size} {seconds} `{target}` {content}"
        )
    }
}

/// Numbers that look random and are the same for the same seed (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    pub accepted: usize,
    pub refused: usize,
    /// A description of each archive on which a reader saw something else.
    pub differences: Vec<String>,
}

/// Makes `count` archives from `seed` and has all three read them. `None` where a reader is missing.
pub fn run(seed: u64, count: usize, directory: &Path) -> Option<Outcome> {
    let has = |program: &str| {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !has("tar") || !has("python3") {
        return None;
    }
    let mut outcome = Outcome::default();
    let mut accepted = Vec::new();
    for index in 0..count {
        let bytes = random_archive(&mut Random::new(seed + index as u64));
        match ours(&bytes) {
            Err(_) => outcome.refused += 1,
            Ok(seen) => {
                let file = directory.join(format!("{index}.tar"));
                fs::write(&file, bytes).unwrap();
                accepted.push((index, file, seen));
            }
        }
    }
    outcome.accepted = accepted.len();
    let pythons = python(directory);
    for (index, file, seen) in accepted {
        let gnu = gnu(&file);
        let python = pythons.get(&index).cloned().unwrap_or_else(|| Err("no answer".to_owned()));
        for (reader, theirs) in [("GNU tar", gnu), ("Python", python)] {
            if theirs.as_ref() != Ok(&seen) {
                outcome.differences.push(format!(
                    "seed {}: we see {seen:?}\n{reader} sees {theirs:?}",
                    seed + index as u64
                ));
            }
        }
    }
    Some(outcome)
}

fn random_name(random: &mut Random) -> Vec<u8> {
    let parts = ["a", "b", "dir", ".", "..", "", "x y", "\u{e4}\u{f6}", "...", "-n", "a\nb", "@"];
    let mut name = Vec::new();
    for index in 0..=random.below(3) {
        if index > 0 {
            name.push(b'/');
        }
        if random.one_in(12) {
            name.extend([b'\xff', b'\x80', b'\\', b'\t'].iter().take(1 + random.below(4)));
        } else if random.one_in(20) {
            name.extend(vec![b'l'; 90 + random.below(30)]);
        } else {
            // Climbing and empty names are refused at once; most should not be.
            let part = random.pick(&parts);
            name.extend(
                if matches!(part, ".." | "") && !random.one_in(6) { "c" } else { part }.bytes(),
            );
        }
    }
    if random.one_in(20) {
        name.push(b'/');
    }
    if random.one_in(12) {
        name.insert(0, b'/');
    }
    name
}

fn random_number(random: &mut Random, width: usize) -> Vec<u8> {
    let number = match random.below(5) {
        0 => 0,
        1 => random.next() & 0o7777,
        _ => random.next() & ((1 << (3 * (width - 1)).min(31)) - 1),
    };
    match random.below(40) {
        0 => base256(i128::from(number), width),
        1 => base256(-i128::from(number & 0xffff), width),
        2 => format!("{number:o}").into_bytes(),
        3 => format!(" {number:o} ").into_bytes(),
        4 => vec![b' '; width],
        5 => Vec::new(),
        6 => format!("+{number:o}").into_bytes(),
        7 => format!("-{number:o}").into_bytes(),
        8 => format!("\0{number:o}").into_bytes(),
        9 => format!("{number:o}\x009").into_bytes(),
        10 => format!("{number:o}_7").into_bytes(),
        11 => format!("0o{number:o}").into_bytes(),
        12 => format!("{number:o}8").into_bytes(),
        13 => vec![b'7'; width],
        14 => (0..width).map(|_| random.next() as u8).collect(),
        _ => octal(number & ((1 << (3 * (width - 1)).min(33)) - 1), width),
    }
    .into_iter()
    .take(width)
    .collect()
}

fn random_member(random: &mut Random) -> Member {
    let mut name = random_name(random);
    name.truncate(100);
    let mut target = random_name(random);
    target.truncate(100);
    let content = vec![b'A' + random.below(26) as u8; random.below(1200)];
    let mut member = match random.below(12) {
        0..4 => Member::file(name, content),
        4 => Member { content, ..Member::new(0, name) },
        5 => Member { content, ..Member::new(b'7', name) },
        6 => Member::link(b'1', name, target),
        7 => Member::link(b'2', name, target),
        8 => Member::new(b'3', name).device(1, random.next() & 0o1777),
        9 => Member::new(b'4', name).device(random.next() & 0o17777, 2),
        10 => Member::new(b'6', name),
        _ => Member::new(b'5', name).mode(random.next() & 0o7777).owner(7, random.next() & 0o7777),
    };
    if random.one_in(20) {
        member.type_flag = random.next() as u8;
    }
    if random.one_in(20) {
        member.link_name = b"garbage".to_vec();
    }
    if random.one_in(20) {
        member = member.size(random.next() & 0o1777);
    }
    if random.one_in(4) {
        member = if random.one_in(2) { member.gnu() } else { member.v7() };
    }
    if random.one_in(12) {
        member.tail = random_name(random);
        member.tail.truncate(155);
    }
    if random.one_in(6) {
        member.mode = random_number(random, 8);
    }
    if random.one_in(4) {
        member.uid = random_number(random, 8);
    }
    if random.one_in(6) {
        member.gid = random_number(random, 8);
    }
    if random.one_in(4) {
        member.mtime = random_number(random, 12);
    }
    if random.one_in(16) {
        member.size = Some(random_number(random, 12));
    }
    if random.one_in(30) {
        member.checksum = Some(random_number(random, 8));
    }
    if random.one_in(30) {
        member.magic =
            random.pick(&[&b"ustar\0\0\0"[..], b"ustar\0  ", b"ustar 00", b"ustar"]).to_vec();
    }
    member
}

fn random_extended(random: &mut Random, before: &mut Member) -> Vec<u8> {
    let mut content = Vec::new();
    for _ in 0..random.below(4) {
        let size = before.content.len().to_string();
        let time = format!(
            "{}{}.{}",
            if random.one_in(4) { "-" } else { "" },
            random.below(1 << 30),
            random.below(1 << 30)
        );
        let name = random_name(random);
        let (key, value): (&str, Vec<u8>) = match random.below(14) {
            0 | 1 => ("path", name),
            2 => ("linkpath", name),
            3 => ("size", size.clone().into_bytes()),
            4 => ("uid", random.below(1 << 24).to_string().into_bytes()),
            5 => ("gid", random.below(1 << 24).to_string().into_bytes()),
            6 => ("mtime", time.into_bytes()),
            7 => ("comment", name),
            8 => ("SCHILY.xattr.user.a", [&name[..], b"\n9 size=1\n"].concat()),
            9 if random.one_in(3) => ("size", random_number(random, 12)),
            10 if random.one_in(3) => ("uid", random_number(random, 8)),
            11 if random.one_in(3) => ("mtime", random_number(random, 12)),
            12 => (
                "hdrcharset",
                random.pick(&[&b"BINARY"[..], b"ISO-IR 10646 2000 UTF-8", b"x"]).to_vec(),
            ),
            13 if random.one_in(3) => ("atime", random_number(random, 12)),
            _ => ("SCHILY.dev", size.into_bytes()),
        };
        content.extend(record(key, value));
    }
    if random.one_in(3) && !before.content.is_empty() {
        // Only the extended header tells the size.
        content.extend(record("size", before.content.len().to_string()));
        before.size = Some(octal(if random.one_in(2) { 0 } else { 3 }, 12));
    }
    if random.one_in(10) && !content.is_empty() {
        let index = random.below(content.len());
        content[index] = random.next() as u8;
    }
    if random.one_in(20) {
        content.extend(random.pick(&[&b"\0\0"[..], b"x", b"5 a=\n", b" 6 a=b\n", b"6 a=b\n"]));
    }
    content
}

/// The archive of a seed.
fn random_archive(random: &mut Random) -> Vec<u8> {
    let mut members = Vec::new();
    for _ in 0..1 + random.below(4) {
        let mut member = random_member(random);
        if random.one_in(4) {
            let content = random_extended(random, &mut member);
            members.push(Member { content, ..pax(&[]) });
        }
        if random.one_in(8) {
            let mut long =
                gnu_long(b'L', [random_name(random), vec![b'L'; random.below(120)]].concat());
            if random.one_in(6) {
                long.content.extend(random.pick(&[&b"x"[..], b"\0", b"\0x"]));
            }
            members.push(long);
        }
        if random.one_in(12) {
            members.push(gnu_long(b'K', random_name(random)));
        }
        if random.one_in(16) {
            let key = random.pick(&["comment", "path", "uid", "size", "mtime"]);
            members.push(Member { type_flag: b'g', ..pax(&[(key, b"1")]) });
        }
        if random.one_in(10) {
            random_sparse(random, &mut members);
        }
        members.push(member);
        if random.one_in(24) {
            let last = members.len() - 1;
            members.swap(last / 2, last);
        }
    }
    let mut bytes = if random.one_in(8) { unended(&members) } else { archive(&members) };
    match random.below(24) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 => bytes.truncate(random.below(bytes.len() / 512 + 1) * 512),
        2 => bytes.extend([&[0; 512][..], b"trailing"].concat()),
        3 => bytes.extend(archive(&[random_member(random)])),
        4 => {
            let at = random.below(bytes.len() / 512 + 1) * 512;
            bytes.splice(at..at, [0; 512]);
        }
        5 | 6 => flip_in_a_header(random, &mut bytes),
        _ => {}
    }
    bytes
}

/// How the names of sparse files start, and no others.
const SPARSE: &str = "sparse-";

/// Adds a sparse file in one of three formats, its map mostly right.
fn random_sparse(random: &mut Random, members: &mut Vec<Member>) {
    let name = format!("{SPARSE}{}", members.len());
    let (mut pairs, mut size) = (Vec::new(), 0);
    for _ in 0..random.below(5) {
        let offset = size + random.below(2000);
        let length = if random.one_in(10) { random.below(700) } else { 512 * random.below(3) };
        size = offset + length;
        pairs.push((offset, length));
    }
    if !random.one_in(20) {
        size += random.below(1000);
        pairs.push((size, 0));
    }
    let mut data = vec![b's'; pairs.iter().map(|(_, length)| length).sum()];
    match random.below(20) {
        0 => size = random.below(2000),
        1 => data.push(b'x'),
        2 => pairs.reverse(),
        _ => {}
    }
    let (size_text, count) = (size.to_string(), pairs.len().to_string());
    let numbers: Vec<_> = pairs
        .iter()
        .flat_map(|(offset, length)| [offset.to_string(), length.to_string()])
        .collect();
    match random.below(3) {
        0 if pairs.len() <= 4 => {
            let pair = |&(offset, length): &(usize, usize)| {
                [octal(offset as u64, 12), octal(length as u64, 12)].concat()
            };
            let mut map: Vec<u8> = pairs.iter().flat_map(pair).collect();
            map.resize(96, 0);
            let tail = [vec![0; 41], map, vec![0], octal(size as u64, 12)].concat();
            members.push(Member { tail, content: data, ..Member::new(b'S', name).gnu() });
        }
        1 => {
            members.push(pax(&[
                ("GNU.sparse.size", size_text.as_bytes()),
                ("GNU.sparse.numblocks", count.as_bytes()),
                ("GNU.sparse.name", name.as_bytes()),
                ("GNU.sparse.map", numbers.join(",").as_bytes()),
            ]));
            members.push(Member::file("GNUSparseFile.1/x", data));
        }
        _ => {
            members.push(pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", name.as_bytes()),
                ("GNU.sparse.realsize", size_text.as_bytes()),
            ]));
            let mut content = format!("{count}\n").into_bytes();
            content.extend(numbers.iter().flat_map(|number| format!("{number}\n").into_bytes()));
            content.resize(content.len().next_multiple_of(512), 0);
            content.extend(data);
            members.push(Member::file("GNUSparseFile.1/x", content));
        }
    }
}

/// Changes a byte of the first header and makes its checksum right again.
fn flip_in_a_header(random: &mut Random, bytes: &mut [u8]) {
    let at = random.below(500);
    let Some(header) = bytes.get_mut(..512) else { return };
    header[at] = random.next() as u8;
    header[148..156].copy_from_slice(b"        ");
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    header[148..155].copy_from_slice(&octal(sum, 7));
}

fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
        .map(<[u8]>::to_vec)
        .collect()
}

fn ours(bytes: &[u8]) -> Result<Vec<Seen>, TarError> {
    let mut reader = Reader::new(bytes, Limits::default());
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let content = reader.read_content(1 << 30)?;
        let (kind, target) = match &entry.kind {
            EntryKind::Directory => ('d', Vec::new()),
            EntryKind::Regular => ('-', Vec::new()),
            EntryKind::Symlink(target) => ('l', target.clone()),
            EntryKind::HardLink(target) => ('h', target.as_bytes().to_vec()),
            EntryKind::CharDevice { major, minor } => {
                ('c', format!("{major},{minor}").into_bytes())
            }
            EntryKind::BlockDevice { major, minor } => {
                ('b', format!("{major},{minor}").into_bytes())
            }
            EntryKind::Fifo => ('p', Vec::new()),
        };
        all.push(Seen {
            kind,
            path: components(entry.path.as_bytes()),
            mode: entry.mode,
            owner: (entry.uid.into(), entry.gid.into()),
            size: entry.size,
            seconds: entry.mtime.seconds,
            target,
            content: if kind == '-' { Digest::of(&content).hex() } else { String::new() },
        });
    }
    Ok(all)
}

/// Reads one member from the words that both scripts below print for it.
fn parse(line: &str) -> Seen {
    let words: Vec<&str> = line.split(' ').collect();
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len() / 2)
            .map(|index| u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).unwrap())
            .collect()
    };
    let kind = words[0].chars().next().unwrap();
    let target = bytes(words[7]);
    Seen {
        kind,
        path: components(&bytes(words[1])),
        mode: u32::from_str_radix(words[2], 8).unwrap(),
        owner: (words[3].parse().unwrap(), words[4].parse().unwrap()),
        size: words[5].parse().unwrap(),
        seconds: words[6].parse().unwrap(),
        // A hard link's target is a member's name, a symbolic link's is not looked at.
        target: if kind == 'h' { components(&target).join(&b'/') } else { target },
        content: words[8].to_owned(),
    }
}

const PYTHON: &str = r#"
import hashlib, math, os, sys, tarfile
kinds = {tarfile.REGTYPE: '-', tarfile.AREGTYPE: '-', tarfile.CONTTYPE: '-', tarfile.DIRTYPE: 'd',
         tarfile.SYMTYPE: 'l', tarfile.LNKTYPE: 'h', tarfile.CHRTYPE: 'c', tarfile.BLKTYPE: 'b',
         tarfile.FIFOTYPE: 'p', tarfile.GNUTYPE_SPARSE: '-'}
def hexed(text):
    return text.encode('utf-8', 'surrogateescape').hex()
for file in sorted(os.listdir(sys.argv[1])):
    if not file.endswith('.tar'):
        continue
    lines = []
    try:
        with tarfile.open(os.path.join(sys.argv[1], file), 'r:', encoding='utf-8', errors='surrogateescape') as archive:
            for member in archive:
                kind = kinds[member.type]
                content = hashlib.sha256(archive.extractfile(member).read()).hexdigest() if kind == '-' else ''
                target = hexed(member.linkname) if kind in 'lh' else ''
                if kind in 'cb':
                    target = hexed('%d,%d' % (member.devmajor, member.devminor))
                lines.append('%s %s %o %d %d %d %d %s %s' % (kind, hexed(member.name), member.mode & 0o7777,
                    member.uid, member.gid, member.size, math.floor(member.mtime), target, content))
        print(file[:-4], 'ok')
        for line in lines:
            print(' ' + line)
    except Exception as error:
        print(file[:-4], 'error', repr(error))
"#;

type Answer = Result<Vec<Seen>, String>;

fn python(directory: &Path) -> std::collections::BTreeMap<usize, Answer> {
    let output = Command::new("python3").args(["-c", PYTHON]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut answers = std::collections::BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(member) = line.strip_prefix(' ') {
            let answer: &mut Answer = answers.get_mut(&current.unwrap()).unwrap();
            answer.as_mut().unwrap().push(parse(member));
        } else {
            let (index, answer) = line.split_once(' ').unwrap();
            let index: usize = index.parse().unwrap();
            current = Some(index);
            answers.insert(
                index,
                if answer == "ok" { Ok(Vec::new()) } else { Err(answer.to_owned()) },
            );
        }
    }
    answers
}

/// What GNU tar lists, names escaped, and the contents it gives.
fn gnu(file: &Path) -> Answer {
    let tar = |arguments: &[&str]| {
        let mut command = Command::new("tar");
        command
            .arg(format!("--file={}", file.display()))
            .args(arguments)
            .env("LC_ALL", "C")
            .env("TZ", "UTC");
        let output = command.output().unwrap();
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    };
    let listing = tar(&[
        "--list",
        "--verbose",
        "--numeric-owner",
        "--full-time",
        "--absolute-names",
        "--quoting-style=c",
    ])?;
    // A command gets each content, but not that of sparse files: it has to be able to seek.
    let exclude = format!("--exclude={SPARSE}*");
    let hashes = tar(&["--extract", "--absolute-names", "--to-command=sha256sum", &exclude])?;
    let hashes = String::from_utf8(hashes).unwrap();
    let mut hashes = hashes.lines().map(|line| line.split(' ').next().unwrap().to_owned());
    let sparse = tempfile::tempdir().unwrap();
    let into = format!("--directory={}", sparse.path().display());
    let listing = String::from_utf8_lossy(&listing).into_owned();
    if listing.contains(SPARSE) {
        let only = format!("{SPARSE}*");
        tar(&["--extract", "--no-same-owner", "--wildcards", &into, &only])?;
    }
    let mut all = Vec::new();
    for line in listing.lines() {
        let mut content = |name: &[u8]| {
            if !name.starts_with(SPARSE.as_bytes()) {
                return hashes.next();
            }
            let content = fs::read(sparse.path().join(OsStr::from_bytes(name)));
            content.ok().map(|content| Digest::of(&content).hex())
        };
        all.push(parse_listing(line, &mut content).ok_or_else(|| format!("lists {line:?}"))?);
    }
    Ok(all)
}

fn parse_listing(line: &str, content: &mut dyn FnMut(&[u8]) -> Option<String>) -> Option<Seen> {
    let mut rest = line;
    let mut word = || {
        rest = rest.trim_start_matches(' ');
        let (word, after) = rest.split_once(' ')?;
        rest = after;
        Some(word)
    };
    let (permissions, owner, size, date, time) = (word()?, word()?, word()?, word()?, word()?);
    let (name, rest) = quoted(rest)?;
    let kind = match permissions.chars().next()? {
        // A contiguous file.
        'C' => '-',
        kind => kind,
    };
    let mode = permissions.bytes().skip(1).enumerate().fold(0u32, |mode, (index, letter)| {
        let bit = 0o400 >> index;
        let special = 0o4000 >> (index / 3);
        match letter {
            b'-' => mode,
            b's' | b't' => mode | bit | special,
            b'S' | b'T' => mode | special,
            _ => mode | bit,
        }
    });
    let (uid, gid) = owner.split_once('/')?;
    let target = match kind {
        'l' => quoted(rest.strip_prefix(" ->")?)?.0,
        'h' => quoted(rest.strip_prefix(" link to")?)?.0,
        'c' | 'b' => size.as_bytes().to_vec(),
        _ => Vec::new(),
    };
    Some(Seen {
        kind,
        path: components(&name),
        mode,
        owner: (uid.parse().ok()?, gid.parse().ok()?),
        size: if matches!(kind, 'c' | 'b') { 0 } else { size.parse().ok()? },
        seconds: seconds(date, time)?,
        target: if kind == 'h' { components(&target).join(&b'/') } else { target },
        content: if kind == '-' { content(&name)? } else { String::new() },
    })
}

/// Undoes GNU's `--quoting-style=c`, in which names may begin with anything; returns the rest too.
fn quoted(text: &str) -> Option<(Vec<u8>, &str)> {
    let text = text.trim_start_matches(' ').strip_prefix('"')?;
    let mut bytes = Vec::new();
    let mut rest = text.bytes().enumerate().peekable();
    loop {
        match rest.next()? {
            (end, b'"') => return Some((bytes, text.get(end + 1..)?)),
            (_, b'\\') => {}
            (_, byte) => {
                bytes.push(byte);
                continue;
            }
        }
        match rest.next()?.1 {
            digit @ b'0'..=b'7' => {
                let mut value = u32::from(digit - b'0');
                for _ in 0..2 {
                    if let Some((_, digit @ b'0'..=b'7')) = rest.peek().copied() {
                        value = value * 8 + u32::from(digit - b'0');
                        rest.next();
                    }
                }
                bytes.push(value as u8);
            }
            letter => bytes.push(match letter {
                b'n' => b'\n',
                b't' => b'\t',
                b'a' => 7,
                b'b' => 8,
                b'f' => 12,
                b'r' => b'\r',
                b'v' => 11,
                other => other,
            }),
        }
    }
}

/// Seconds since 1970 of a date and time in UTC, a fraction cut off. Years may have five digits.
fn seconds(date: &str, time: &str) -> Option<i64> {
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    let part = |text: Option<&str>| text?.parse::<i64>().ok();
    let mut parts = date.split('-');
    let (year, month, day) = (part(parts.next())?, part(parts.next())?, part(parts.next())?);
    let mut parts = whole.split(':');
    let (hour, minute, second) = (part(parts.next())?, part(parts.next())?, part(parts.next())?);
    // Days since 1970, by years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 719_469;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    // Before 1970 GNU tar lists whole seconds towards it and the fraction away from it, though
    // what it extracts is right.
    Some(if seconds < 0 && !fraction.is_empty() { seconds - 1 } else { seconds })
}

/// Prints what a run came to, for whoever runs many.
pub fn summary(outcome: &Outcome) -> String {
    let mut text = Vec::new();
    let Outcome { accepted, refused, differences } = outcome;
    writeln!(text, "{accepted} accepted, {refused} refused, {} differences", differences.len())
        .unwrap();
    for difference in differences.iter().take(5) {
        writeln!(text, "{difference}").unwrap();
    }
    String::from_utf8(text).unwrap()
}
