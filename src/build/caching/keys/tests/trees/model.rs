//! A tree of files as a value, what an image shows of it, and how it comes to disk.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::XattrFlags;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Directory,
    File(&'static [u8]),
    Link(&'static [u8]),
    Pipe,
    /// Another name of the file that has this one.
    Same(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) what: What,
    pub(super) mode: u32,
    pub(super) attribute: Option<(&'static str, &'static [u8])>,
}

impl Node {
    pub(super) fn directory() -> Self {
        Self { what: What::Directory, mode: 0o755, attribute: None }
    }

    pub(super) fn file(content: &'static [u8]) -> Self {
        Self { what: What::File(content), mode: 0o644, attribute: None }
    }

    pub(super) fn link(target: &'static [u8]) -> Self {
        Self { what: What::Link(target), mode: 0o777, attribute: None }
    }
}

/// A tree by its paths; the first name of a file is before its others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree(pub(super) BTreeMap<Vec<u8>, Node>);

pub(super) fn parent(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    path.get(..slash)
}

impl Tree {
    pub(super) fn of(nodes: &[(&'static [u8], Node)]) -> Self {
        let mut tree = Self::default();
        nodes.iter().for_each(|(path, node)| tree.put(path.to_vec(), node.clone()));
        tree
    }

    /// Puts something to a path where there is nothing yet, and directories above it; nothing where
    /// something else is above it.
    pub(super) fn put(&mut self, path: Vec<u8>, node: Node) {
        let above = parent(&path).map(<[u8]>::to_vec);
        if let Some(above) = above {
            self.put(above.clone(), Node::directory());
            if self.0.get(&above).map(|node| &node.what) != Some(&What::Directory) {
                return;
            }
        }
        self.0.entry(path).or_insert(node);
    }

    pub(super) fn nth(&self, number: usize) -> Option<Vec<u8>> {
        let count = self.0.len();
        self.0.keys().nth(number.checked_rem(count)?).cloned()
    }

    pub(super) fn is_below(path: &[u8], top: &[u8]) -> bool {
        path == top || path.strip_prefix(top).is_some_and(|rest| rest.starts_with(b"/"))
    }

    /// Takes a path away with all below it; another name of a file that loses its first one has it
    /// from then on.
    pub(super) fn remove(&mut self, top: &[u8]) -> Vec<(Vec<u8>, Node)> {
        let (gone, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(path, _)| Self::is_below(path, top));
        self.0 = left.into_iter().collect();
        for (path, node) in gone.iter().filter(|(_, node)| matches!(node.what, What::File(_))) {
            let mut others =
                self.0.iter_mut().filter(|(_, it)| it.what == What::Same(path.clone()));
            let Some((first, heir)) = others.next() else { continue };
            let first = first.clone();
            *heir = node.clone();
            for (_, other) in others {
                other.what = What::Same(first.clone());
            }
        }
        gone
    }

    /// Moves what is at a path with all below it, if nothing is at the other one.
    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) {
        if Self::is_below(to, from) || self.0.contains_key(to) {
            return;
        }
        for (path, node) in self.remove(from) {
            let rest = path.strip_prefix(from).unwrap_or_default();
            self.put([to, rest].concat(), node);
        }
    }

    /// Follows another name of a file to it.
    pub(super) fn file<'a>(&'a self, path: &'a [u8]) -> Option<(&'a [u8], &'a Node)> {
        let (path, node) = self.0.get_key_value(path)?;
        match &node.what {
            What::Same(first) => self.file(first),
            What::File(_) => Some((path, node)),
            What::Directory | What::Link(_) | What::Pipe => None,
        }
    }

    /// Keeps a file's node at the first of its names, which is the order they are made in.
    pub(super) fn settled(mut self) -> Self {
        let names: Vec<Vec<u8>> = self.0.keys().cloned().collect();
        for name in names {
            let Some(Node { what: What::Same(first), .. }) = self.0.get(&name) else { continue };
            let first = first.clone();
            match self.0.get(&first).map(|node| &node.what) {
                Some(What::File(_)) if first < name => {}
                Some(What::File(_)) => {
                    let node = self.0.remove(&first);
                    for other in
                        self.0.values_mut().filter(|it| it.what == What::Same(first.clone()))
                    {
                        other.what = What::Same(name.clone());
                    }
                    let same = Node { what: What::Same(name.clone()), ..Node::directory() };
                    self.0.insert(first, same);
                    self.0.extend(node.map(|node| (name, node)));
                }
                // It has gone, or become something else.
                _ => {
                    self.0.remove(&name);
                }
            }
        }
        self
    }

    /// Makes the tree in a directory.
    pub(super) fn make(&self, top: &Path, checkout: Checkout) {
        let at = |path: &[u8]| top.join(OsStr::from_bytes(path));
        for path in self.0.iter().filter(|(_, it)| it.what == What::Directory).map(|(path, _)| path)
        {
            fs::create_dir_all(at(path)).unwrap();
        }
        let mut others: Vec<_> =
            self.0.iter().filter(|(_, it)| it.what != What::Directory).collect();
        if checkout.is_backwards {
            others.reverse();
        }
        let mut made: HashMap<&[u8], PathBuf> = HashMap::new();
        for (path, node) in others {
            match &node.what {
                What::Directory => {}
                What::Link(target) => symlink(OsStr::from_bytes(target), at(path)).unwrap(),
                What::Pipe => {
                    let kind = rustix::fs::FileType::Fifo;
                    let mode = rustix::fs::Mode::from_raw_mode(0o600);
                    rustix::fs::mknodat(rustix::fs::CWD, at(path), kind, mode, 0).unwrap();
                }
                What::File(_) | What::Same(_) => {
                    let (first, file) = self.file(path).unwrap();
                    let What::File(content) = file.what else { continue };
                    match made.get(first) {
                        Some(other) => fs::hard_link(other, at(path)).unwrap(),
                        None => fs::write(at(path), content).unwrap(),
                    }
                    made.insert(first, at(path));
                }
            }
        }
        for (path, node) in self.0.iter().rev() {
            if matches!(node.what, What::Link(_) | What::Same(_)) {
                continue;
            }
            if rustix::process::geteuid().is_root() {
                chown(at(path), Some(checkout.owner), Some(checkout.owner)).unwrap();
            }
            if let (Some((name, value)), What::Directory | What::File(_)) =
                (node.attribute, &node.what)
            {
                rustix::fs::setxattr(at(path), name, value, XattrFlags::empty()).unwrap();
            }
            fs::set_permissions(at(path), fs::Permissions::from_mode(node.mode)).unwrap();
            if node.what != What::Pipe {
                File::open(at(path)).unwrap().set_modified(checkout.time).unwrap();
            }
        }
    }

    /// Says what of the tree a copy of `source` shows; `None` where that is not asked here: what is
    /// not there, and links, which are followed.
    pub(super) fn shown(&self, source: &[u8]) -> Option<BTreeMap<Vec<u8>, Shown>> {
        let mut shown = BTreeMap::new();
        match self.0.get(source).map(|node| &node.what) {
            Some(What::Directory) => {
                shown.insert(source.to_vec(), Shown::of(&Node::directory()).bare());
            }
            None if source.is_empty() => {
                shown.insert(Vec::new(), Shown::of(&Node::directory()).bare());
            }
            Some(What::File(_) | What::Same(_) | What::Pipe) => {}
            Some(What::Link(_)) | None => return None,
        }
        let is_below = |path: &&Vec<u8>| {
            source.is_empty() || Self::is_below(path, source) && !shown.contains_key(*path)
        };
        let paths: Vec<&Vec<u8>> = self.0.keys().filter(is_below).collect();
        for path in &paths {
            let file = self.file(path);
            let node = file.map(|(_, node)| node).or(self.0.get(*path))?;
            let is_same = |other: &&&Vec<u8>| {
                file.is_some() && self.file(other).map(|it| it.0) == file.map(|it| it.0)
            };
            let names: Vec<Vec<u8>> = paths.iter().filter(is_same).map(|it| it.to_vec()).collect();
            shown.insert(path.to_vec(), Shown { names, ..Shown::of(node) });
        }
        Some(shown)
    }
}

/// What an image shows of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) what: What,
    pub(super) mode: Option<u32>,
    pub(super) attribute: Option<(&'static str, &'static [u8])>,
    /// All that the file has among what is copied.
    pub(super) names: Vec<Vec<u8>>,
}

impl Shown {
    pub(super) fn of(node: &Node) -> Self {
        let Node { what, mode, attribute } = node.clone();
        let mode = (!matches!(what, What::Link(_))).then_some(mode);
        let attribute = attribute.filter(|_| matches!(what, What::Directory | What::File(_)));
        Self { what, mode, attribute, names: Vec::new() }
    }

    /// Of a source that is a directory only what is in it is copied.
    pub(super) fn bare(self) -> Self {
        Self { mode: None, attribute: None, ..self }
    }
}

/// What is not to count.
#[derive(Clone, Copy)]
pub(super) struct Checkout {
    pub(super) owner: u32,
    pub(super) time: SystemTime,
    pub(super) is_backwards: bool,
    pub(super) threads: usize,
}
