//! Trees as text: one line an entry, made and listed in the same form.
//!
//! `d PATH`, `f PATH=CONTENT`, `l PATH>TARGET`, `h PATH<EXISTING` (another name), `p PATH` (named
//! pipe), `c PATH` (the device null), `s PATH` (socket); when making, ` @MODE:UID:GID` may follow.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use snapshot::{Extent, Rootfs, RootfsPath};
use tempfile::TempDir;
use zuwai::execute::{Copied, ExecuteError, Source, copy};
use zuwai::plan::{
    Archives, CopyItem, CopySource, CopyStep, Destination, FileMode, Footing, InlineFile,
};

/// Makes the entries in a new directory.
pub fn tree(entries: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    for line in entries.lines().map(str::trim).filter(|line| !line.is_empty()) {
        make(directory.path(), line);
    }
    directory
}

fn make(root: &Path, line: &str) {
    let (entry, attributes) = line.split_once(" @").unwrap_or((line, ""));
    let (kind, rest) = entry.split_once(' ').expect("a kind");
    let cut = |at: char| rest.split_once(at).unwrap_or((rest, ""));
    let (path, value) = match kind {
        "f" => cut('='),
        "l" => cut('>'),
        "h" => cut('<'),
        _ => (rest, ""),
    };
    let place = root.join(path);
    fs::create_dir_all(place.parent().expect("below the root")).expect("mkdir");
    match kind {
        "d" => fs::create_dir_all(&place).expect("mkdir"),
        "f" => fs::write(&place, value).expect("write"),
        "l" => symlink(value, &place).expect("symlink"),
        "h" => fs::hard_link(root.join(value), &place).expect("link"),
        "s" => drop(UnixListener::bind(&place).expect("bind")),
        "p" => node(&place, rustix::fs::FileType::Fifo, 0),
        "c" => node(&place, rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        other => panic!("kind {other}"),
    }
    let mut attributes = attributes.split(':');
    let mode = attributes.next().filter(|mode| !mode.is_empty());
    if let Some(uid) = attributes.next() {
        let gid = attributes.next().expect("a group");
        lchown(&place, uid.parse().ok(), gid.parse().ok()).expect("chown");
    }
    if let Some(mode) = mode {
        let mode = u32::from_str_radix(mode, 8).expect("a mode");
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).expect("chmod");
    } else if matches!(kind, "d" | "f") {
        // Whatever the umask of whoever runs the tests.
        let mode = if kind == "d" { 0o755 } else { 0o644 };
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).expect("chmod");
    }
}

fn node(place: &Path, kind: rustix::fs::FileType, device: u64) {
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, place, kind, mode, device).expect("mknod");
}

/// Lists the entries below a directory, sorted.
pub fn list(root: &Path) -> Vec<String> {
    entries(root, &|_, _| String::new())
}

/// Lists the entries with mode, owner and group.
pub fn list_metadata(root: &Path) -> Vec<String> {
    entries(root, &|_, metadata| {
        format!(" @{:o}:{}:{}", metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
    })
}

fn entries(root: &Path, describe: &dyn Fn(&Path, &fs::Metadata) -> String) -> Vec<String> {
    let mut found = Vec::new();
    let mut names: BTreeMap<u64, String> = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        let mut paths: Vec<_> = fs::read_dir(&directory)
            .expect("list")
            .map(|entry| entry.expect("entry").path())
            .collect();
        paths.sort();
        for path in paths {
            let name = path.strip_prefix(root).expect("below").to_str().expect("text").to_owned();
            let metadata = fs::symlink_metadata(&path).expect("stat");
            let kind = metadata.file_type();
            let line = if kind.is_dir() {
                pending.push(path.clone());
                format!("d {name}")
            } else if kind.is_symlink() {
                format!("l {name}>{}", fs::read_link(&path).expect("readlink").display())
            } else if kind.is_fifo() {
                format!("p {name}")
            } else if kind.is_char_device() {
                format!("c {name}")
            } else if let Some(first) = names.get(&metadata.ino()).filter(|_| metadata.nlink() > 1)
            {
                format!("h {name}<{first}")
            } else {
                names.insert(metadata.ino(), name.clone());
                format!("f {name}={}", fs::read_to_string(&path).expect("read"))
            };
            found.push(line + &describe(&path, &metadata));
        }
    }
    found.sort_by(|left, right| left[2..].cmp(&right[2..]));
    found
}

/// A `COPY` in the Dockerfile's words, after expansion: sources and a destination.
pub fn step(words: &str) -> CopyStep {
    let mut sources: Vec<&str> = words.split(' ').collect();
    let destination = sources.pop().expect("a destination");
    CopyStep {
        from: CopySource::Context,
        sources: sources.into_iter().map(|source| CopyItem::Path(path(source))).collect(),
        inline: Vec::new(),
        destination: Destination {
            path: path(destination),
            is_directory: destination.ends_with('/') || destination.ends_with("/."),
        },
        owner: None,
        mode: None,
        archives: Archives::Copied,
        exclude: Vec::new(),
        footing: Footing::Stage,
    }
}

pub fn path(text: &str) -> RootfsPath {
    RootfsPath::new(text).expect("a path")
}

pub fn mode(text: &str) -> Option<FileMode> {
    Some(FileMode::parse(text).expect("a mode"))
}

pub fn inline(name: &str, content: &str) -> InlineFile {
    InlineFile { name: name.to_owned(), content: content.as_bytes().to_vec() }
}

/// Copies out of a context of which everything is kept.
pub fn copy_context(step: &CopyStep, from: &TempDir, to: &TempDir) -> Result<Copied, ExecuteError> {
    let (from, to) = (rootfs(from), rootfs(to));
    copy(step, &Source::context(&from, &|_| true), &to)
}

pub fn rootfs(directory: &TempDir) -> Rootfs {
    Rootfs::open(directory.path()).expect("open")
}

/// Names what a copy touched.
pub fn touched(copied: &Copied) -> Vec<String> {
    copied
        .touched
        .iter()
        .map(|(path, extent)| {
            assert_eq!(extent, Extent::Entry);
            path.to_string()
        })
        .collect()
}
