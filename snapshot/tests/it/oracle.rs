//! What a tree holds, found the slow way: standard library calls on absolute paths, everything read.
//! Shares no code with the crate's walk, index or diff.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// A path as the tests write it: relative, `""` for the root.
pub type Name = String;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: &'static str,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    pub content: Vec<u8>,
    pub device: u64,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// All names of the inode.
    pub names: BTreeSet<Name>,
}

pub type Tree = BTreeMap<Name, Entry>;

/// Reads the whole tree. Sockets are left out, as in a layer.
pub fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut inodes: HashMap<(u64, u64), BTreeSet<Name>> = HashMap::new();
    let mut pending = vec![String::new()];
    let mut ids = HashMap::new();
    while let Some(name) = pending.pop() {
        let path = root.join(&name);
        let stat = std::fs::symlink_metadata(&path).expect("exists");
        let file_type = stat.file_type();
        let (kind, content) = if file_type.is_dir() {
            for entry in std::fs::read_dir(&path).expect("lists") {
                let child = entry.expect("an entry").file_name().into_string().expect("UTF-8");
                pending.push(if name.is_empty() { child } else { format!("{name}/{child}") });
            }
            ("directory", Vec::new())
        } else if file_type.is_file() {
            ("file", std::fs::read(&path).expect("reads"))
        } else if file_type.is_symlink() {
            let target = std::fs::read_link(&path).expect("reads");
            ("link", target.as_os_str().as_bytes().to_vec())
        } else if file_type.is_fifo() {
            ("fifo", Vec::new())
        } else if file_type.is_char_device() {
            ("char", Vec::new())
        } else if file_type.is_block_device() {
            ("block", Vec::new())
        } else {
            continue;
        };
        let entry = Entry {
            kind,
            mode: if kind == "link" { 0 } else { stat.mode() & 0o7777 },
            owner: (stat.uid(), stat.gid()),
            mtime: (stat.mtime(), stat.mtime_nsec()),
            content,
            device: stat.rdev(),
            xattrs: xattrs(&path),
            names: BTreeSet::new(),
        };
        inodes.entry((stat.dev(), stat.ino())).or_default().insert(name.clone());
        ids.insert(name.clone(), (stat.dev(), stat.ino()));
        tree.insert(name, entry);
    }
    for (name, entry) in &mut tree {
        entry.names = inodes[&ids[name]].clone();
    }
    tree
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    // Not for more than a few names: clearing this is most of the work.
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).expect("lists attributes");
    names.truncate(length);
    let in_images: [&[u8]; 3] = [b"user.", b"security.capability", b"system.posix_acl_"];
    let names = names
        .split(|&byte| byte == 0)
        .filter(|name| in_images.iter().any(|prefix| name.starts_with(prefix)));
    names
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]);
            value.truncate(length.expect("reads an attribute"));
            (name.to_vec(), value)
        })
        .collect()
}

/// What a layer has to hold, after the rules as they are written down, from two whole trees.
pub fn expected(old: &Tree, new: &Tree) -> BTreeMap<Name, &'static str> {
    let mut changes = BTreeMap::new();
    for (name, entry) in new {
        let Some(before) = old.get(name) else {
            changes.insert(name.clone(), "added");
            continue;
        };
        let same = Entry { names: before.names.clone(), ..entry.clone() } == *before;
        if !same {
            changes.insert(name.clone(), "modified");
        } else if entry.names != before.names {
            changes.insert(name.clone(), "linked");
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        let parent = parent(name).expect("the root stays");
        if new.get(parent).is_some_and(|parent| parent.kind == "directory") {
            changes.insert(name.clone(), "removed");
        }
    }
    let listed: Vec<Name> = changes.keys().cloned().collect();
    for name in listed {
        let mut above = parent(&name);
        while let Some(directory) = above {
            changes.entry(directory.to_owned()).or_insert("ancestor");
            above = parent(directory);
        }
    }
    changes
}

pub fn parent(name: &str) -> Option<&str> {
    if name.is_empty() {
        return None;
    }
    Some(name.rsplit_once('/').map_or("", |(parent, _)| parent))
}
