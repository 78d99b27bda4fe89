//! What a directory holds, as lines that can be compared.

use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use snapshot::Digest;
use snapshot::path::Escaped;

/// Every entry of `root`, itself first: path, type and mode, owner, mtime, and then what there is
/// of content, target, device, extended attributes and other names.
pub fn tree(root: &Path) -> Vec<String> {
    let mut entries = Vec::new();
    walk(root, &mut entries);
    let mut names: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
    for path in &entries {
        let metadata = path.symlink_metadata().unwrap();
        if !metadata.is_dir() && metadata.nlink() > 1 {
            names.entry((metadata.dev(), metadata.ino())).or_default().push(shown(root, path));
        }
    }
    entries.iter().map(|path| line(root, path, &names)).collect()
}

/// The paths of everything below `root`, with a mark for what is no file: `/` for a directory, `@`
/// for a symbolic link, `|` for anything else.
pub fn names(root: &Path) -> Vec<String> {
    let mut entries = Vec::new();
    walk(root, &mut entries);
    let mark = |path: &PathBuf| match path.symlink_metadata().unwrap().file_type() {
        kind if kind.is_dir() => "/",
        kind if kind.is_symlink() => "@",
        kind if kind.is_file() => "",
        _ => "|",
    };
    entries.iter().skip(1).map(|path| shown(root, path) + mark(path)).collect()
}

fn walk(path: &Path, entries: &mut Vec<PathBuf>) {
    entries.push(path.to_owned());
    if path.symlink_metadata().unwrap().is_dir() {
        let mut names: Vec<_> =
            path.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            walk(&path.join(name), entries);
        }
    }
}

fn shown(root: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap();
    format!("/{}", Escaped(inside.as_os_str().as_bytes()))
}

fn line(root: &Path, path: &Path, names: &BTreeMap<(u64, u64), Vec<String>>) -> String {
    let metadata = path.symlink_metadata().unwrap();
    let kind = metadata.file_type();
    let mut line = format!(
        "{} {:o} {}:{} {}.{:09}",
        shown(root, path),
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        metadata.mtime(),
        metadata.mtime_nsec()
    );
    if kind.is_file() {
        let content = std::fs::read(path).unwrap();
        let start = Digest::of(&content).hex()[..12].to_owned();
        line += &format!(" {} bytes {start}", content.len());
    } else if kind.is_symlink() {
        let target = std::fs::read_link(path).unwrap().into_os_string().into_vec();
        line += &format!(" -> {}", Escaped(&target));
    } else if kind.is_char_device() || kind.is_block_device() {
        let device = metadata.rdev();
        line += &format!(" {}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    }
    for (name, value) in xattrs(path) {
        line += &format!(" {}={}", Escaped(&name), Escaped(&value));
    }
    if let Some(names) = names.get(&(metadata.dev(), metadata.ino())) {
        line += &format!(" names {} of {}", names.join(" "), metadata.nlink());
    }
    line
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    names[..length]
        .split(|&byte| byte == 0)
        .filter(|name| snapshot::xattr::belongs_in_image(name))
        .map(|name| {
            let mut value = vec![0; 1 << 16];
            let length = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}
