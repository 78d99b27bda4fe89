//! Trees at random: two that differ in anything that an image can show never have one key, and a
//! tree has one key wherever, whenever, and by whomever it was checked out.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use rustix::fs::XattrFlags;
use snapshot::Rootfs;
use tempfile::TempDir;

use super::*;
use crate::execute::{ContentDigests, Source};
use crate::plan::CopyItem;

/// Names that could be taken for one another by whoever writes them one after the other, or as text.
const NAMES: &[&[u8]] = &[b"a", b"b", b"ab", b"a\nb", b"\x01", b"\xff", b"\xfe", b"a."];

const CONTENTS: &[&[u8]] = &[b"", b"a", b"b", b"ab", b"a/b", b"\0", b"a\0b", b"\x01\0\0\0a"];
const TARGETS: &[&[u8]] = &[b"a", b"b", b"ab", b"a/b", b"\xff", b"a\nb"];
const MODES: &[u32] = &[0o644, 0o755, 0o600, 0o4755, 0o1777];
const ATTRIBUTES: &[(&str, &[u8])] = &[
    ("user.a", b"a"),
    ("user.a", b""),
    ("user.ab", b""),
    // One after the other without their lengths they are the same.
    ("user.a", b"\x01valueb"),
    ("user.a\x01value", b"b"),
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Directory,
    File(&'static [u8]),
    Link(&'static [u8]),
    Pipe,
    /// Another name of the file that has this one.
    Same(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    what: What,
    mode: u32,
    attribute: Option<(&'static str, &'static [u8])>,
}

impl Node {
    fn directory() -> Self {
        Self { what: What::Directory, mode: 0o755, attribute: None }
    }

    fn file(content: &'static [u8]) -> Self {
        Self { what: What::File(content), mode: 0o644, attribute: None }
    }

    fn link(target: &'static [u8]) -> Self {
        Self { what: What::Link(target), mode: 0o777, attribute: None }
    }
}

/// A tree by its paths; the first name of a file is before its others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tree(BTreeMap<Vec<u8>, Node>);

fn parent(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    path.get(..slash)
}

impl Tree {
    fn of(nodes: &[(&'static [u8], Node)]) -> Self {
        let mut tree = Self::default();
        nodes.iter().for_each(|(path, node)| tree.put(path.to_vec(), node.clone()));
        tree
    }

    /// Puts something to a path where there is nothing yet, and directories above it; nothing where
    /// something else is above it.
    fn put(&mut self, path: Vec<u8>, node: Node) {
        let above = parent(&path).map(<[u8]>::to_vec);
        if let Some(above) = above {
            self.put(above.clone(), Node::directory());
            if self.0.get(&above).map(|node| &node.what) != Some(&What::Directory) {
                return;
            }
        }
        self.0.entry(path).or_insert(node);
    }

    fn nth(&self, number: usize) -> Option<Vec<u8>> {
        let count = self.0.len();
        self.0.keys().nth(number.checked_rem(count)?).cloned()
    }

    fn is_below(path: &[u8], top: &[u8]) -> bool {
        path == top || path.strip_prefix(top).is_some_and(|rest| rest.starts_with(b"/"))
    }

    /// Takes a path away with all below it; another name of a file that loses its first one has it
    /// from then on.
    fn remove(&mut self, top: &[u8]) -> Vec<(Vec<u8>, Node)> {
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
    fn rename(&mut self, from: &[u8], to: &[u8]) {
        if Self::is_below(to, from) || self.0.contains_key(to) {
            return;
        }
        for (path, node) in self.remove(from) {
            let rest = path.strip_prefix(from).unwrap_or_default();
            self.put([to, rest].concat(), node);
        }
    }

    /// Follows another name of a file to it.
    fn file<'a>(&'a self, path: &'a [u8]) -> Option<(&'a [u8], &'a Node)> {
        let (path, node) = self.0.get_key_value(path)?;
        match &node.what {
            What::Same(first) => self.file(first),
            What::File(_) => Some((path, node)),
            What::Directory | What::Link(_) | What::Pipe => None,
        }
    }

    /// Keeps a file's node at the first of its names, which is the order they are made in.
    fn settled(mut self) -> Self {
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
    fn make(&self, top: &Path, checkout: Checkout) {
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
    fn shown(&self, source: &[u8]) -> Option<BTreeMap<Vec<u8>, Shown>> {
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
struct Shown {
    what: What,
    mode: Option<u32>,
    attribute: Option<(&'static str, &'static [u8])>,
    /// All that the file has among what is copied.
    names: Vec<Vec<u8>>,
}

impl Shown {
    fn of(node: &Node) -> Self {
        let Node { what, mode, attribute } = node.clone();
        let mode = (!matches!(what, What::Link(_))).then_some(mode);
        let attribute = attribute.filter(|_| matches!(what, What::Directory | What::File(_)));
        Self { what, mode, attribute, names: Vec::new() }
    }

    /// Of a source that is a directory only what is in it is copied.
    fn bare(self) -> Self {
        Self { mode: None, attribute: None, ..self }
    }
}

/// What is not to count.
#[derive(Clone, Copy)]
struct Checkout {
    owner: u32,
    time: SystemTime,
    is_backwards: bool,
    threads: usize,
}

const OURS: Checkout =
    Checkout { owner: 0, time: SystemTime::UNIX_EPOCH, is_backwards: false, threads: 1 };

fn theirs() -> Checkout {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    Checkout { owner: 4321, time, is_backwards: true, threads: 7 }
}

fn key(tree: &Tree, sources: &[Vec<u8>], checkout: Checkout) -> Key {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join(format!("checkout-{}", checkout.owner));
    fs::create_dir(&top).unwrap();
    tree.make(&top, checkout);
    key_of(&top, sources, checkout.threads)
}

fn key_of(top: &Path, sources: &[Vec<u8>], threads: usize) -> Key {
    let root = Rootfs::open(top).unwrap();
    let mut step = CopyStep::whole(CopySource::Context, RootfsPath::root());
    let path = |path: &Vec<u8>| CopyItem::Path(RootfsPath::new(path).unwrap());
    step.sources = sources.iter().map(path).collect();
    let digests = ContentDigests::new(NonZeroUsize::new(threads).unwrap());
    let mut made_of = MadeOf::default();
    copy_parts(&mut made_of, &step);
    add_files(&mut made_of, &inputs(&step, &Source::context(&root, &|_| true), &digests).unwrap());
    made_of.key("copy", None)
}

/// Tells whether files here can have attributes.
fn has_attributes() -> bool {
    let folder = TempDir::new().unwrap();
    rustix::fs::setxattr(folder.path(), "user.a", b"a", XattrFlags::empty()).is_ok()
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        2 => Just(What::Directory),
        5 => select(CONTENTS).prop_map(What::File),
        2 => select(TARGETS).prop_map(What::Link),
        1 => Just(What::Pipe),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    let attribute = prop_oneof![4 => Just(None), 1 => select(ATTRIBUTES).prop_map(Some)];
    (
        what(),
        select(MODES),
        attribute.prop_filter("files here can have none", |it| it.is_none() || has_attributes()),
    )
        .prop_map(|(what, mode, attribute)| Node { what, mode, attribute })
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    vec(select(NAMES), 1..4).prop_map(|names| names.join(&b'/'))
}

fn tree() -> impl Strategy<Value = Tree> {
    vec((path(), node()), 0..8).prop_map(|nodes| {
        let mut tree = Tree::default();
        nodes.into_iter().for_each(|(path, node)| tree.put(path, node));
        tree
    })
}

/// A change to a tree, of what is at the place of this number.
#[derive(Clone, Debug)]
enum Change {
    Put(Vec<u8>, Node),
    Remove(usize),
    /// Moves it, with what is below it.
    Rename(usize, Vec<u8>),
    /// Gives it another name where it is.
    Name(usize, &'static [u8]),
    Mode(usize, u32),
    What(usize, What),
    Attribute(usize, Option<(&'static str, &'static [u8])>),
    /// Exchanges what is at two paths.
    Swap(usize, usize),
    /// Makes one file another name of the other, which has to be the same for that not to show.
    Join(usize, usize),
    /// Makes a copy of what was another name.
    Part(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let number = || 0..16_usize;
    prop_oneof![
        2 => (path(), node()).prop_map(|(path, node)| Change::Put(path, node)),
        1 => number().prop_map(Change::Remove),
        1 => (number(), path()).prop_map(|(number, path)| Change::Rename(number, path)),
        3 => (number(), select(NAMES)).prop_map(|(number, name)| Change::Name(number, name)),
        1 => (number(), select(MODES)).prop_map(|(number, mode)| Change::Mode(number, mode)),
        3 => (number(), what()).prop_map(|(number, what)| Change::What(number, what)),
        1 => (number(), select(ATTRIBUTES))
            .prop_map(|(number, it)| Change::Attribute(number, has_attributes().then_some(it))),
        2 => (number(), number()).prop_map(|(one, other)| Change::Swap(one, other)),
        2 => (number(), number()).prop_map(|(one, other)| Change::Join(one, other)),
        1 => number().prop_map(Change::Part),
    ]
}

impl Change {
    fn make(&self, tree: &mut Tree) {
        match self {
            Self::Put(path, node) => tree.put(path.clone(), node.clone()),
            Self::Remove(number) => {
                if let Some(path) = tree.nth(*number) {
                    tree.remove(&path);
                }
            }
            Self::Rename(number, to) => {
                let Some(from) = tree.nth(*number) else { return };
                tree.rename(&from, to);
            }
            Self::Name(number, name) => {
                let Some(from) = tree.nth(*number) else { return };
                let above = parent(&from).map(|above| [above, b"/"].concat()).unwrap_or_default();
                tree.rename(&from, &[above.as_slice(), name].concat());
            }
            Self::Mode(number, mode) => {
                let node = tree.nth(*number).and_then(|path| tree.0.get_mut(&path));
                node.into_iter().for_each(|node| node.mode = *mode);
            }
            Self::What(number, what) => {
                let Some(path) = tree.nth(*number) else { return };
                let before: Option<Node> =
                    tree.remove(&path).into_iter().next().map(|(_, node)| node);
                let node = Node { what: what.clone(), ..before.unwrap_or_else(Node::directory) };
                tree.put(path, node);
            }
            Self::Attribute(number, attribute) => {
                let node = tree.nth(*number).and_then(|path| tree.0.get_mut(&path));
                node.into_iter().for_each(|node| node.attribute = *attribute);
            }
            Self::Swap(one, other) => {
                let Some((one, other)) = tree.nth(*one).zip(tree.nth(*other)) else { return };
                let is_leaf = |path: &Vec<u8>| {
                    tree.0
                        .get(path)
                        .is_some_and(|node| !matches!(node.what, What::Directory | What::Same(_)))
                };
                if one == other || !is_leaf(&one) || !is_leaf(&other) {
                    return;
                }
                let first = tree.0.get(&one).cloned();
                let second = tree.0.get(&other).cloned();
                tree.0.extend(second.map(|node| (one, node)));
                tree.0.extend(first.map(|node| (other, node)));
            }
            Self::Join(one, other) => {
                let Some((one, other)) = tree.nth(*one).zip(tree.nth(*other)) else { return };
                let (Some((first, _)), Some(_)) = (tree.file(&one), tree.file(&other)) else {
                    return;
                };
                let first = first.to_vec();
                if first != other {
                    tree.remove(&other);
                    tree.put(other, Node { what: What::Same(first), ..Node::directory() });
                }
            }
            Self::Part(number) => {
                let Some(path) = tree.nth(*number) else { return };
                let file = tree.file(&path).map(|(_, node)| node.clone());
                if let Some(node) = file {
                    tree.remove(&path);
                    tree.put(path, node);
                }
            }
        }
    }
}

#[test]
fn no_two_trees_have_one_key_and_no_tree_has_two() {
    let cases = (tree(), vec(change(), 0..4), vec(change(), 0..3), vec(0..16_usize, 0..3));
    let (mut runner, seen) = (
        TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() }),
        RefCell::new(HashMap::new()),
    );
    let same_count = RefCell::new(0);
    let outcome = runner.run(&cases, |(tree, first, second, numbers)| {
        let mut tree = tree;
        first.iter().for_each(|change| change.make(&mut tree));
        let tree = tree.settled();
        let mut changed = tree.clone();
        second.iter().for_each(|change| change.make(&mut changed));
        let changed = changed.settled();
        let mut sources: Vec<Vec<u8>> = numbers.iter().filter_map(|it| tree.nth(*it)).collect();
        if sources.is_empty() {
            sources.push(Vec::new());
        }
        let shown = |tree: &Tree| {
            sources.iter().map(|source| tree.shown(source)).collect::<Option<Vec<_>>>()
        };
        let mut keys = Vec::new();
        for tree in [&tree, &changed] {
            let Some(shown) = shown(tree) else { continue };
            let made = key(tree, &sources, OURS);
            prop_assert_eq!(made, key(tree, &sources, theirs()), "{:?}", tree);
            let mut seen = seen.borrow_mut();
            let known = seen.entry(made).or_insert_with(|| (sources.clone(), shown.clone()));
            prop_assert_eq!(&*known, &(sources.clone(), shown.clone()));
            keys.push((made, shown));
        }
        if let [(one, shown), (other, other_shown)] = keys.as_slice() {
            prop_assert_eq!(one == other, shown == other_shown, "{:?} {:?}", tree, changed);
            *same_count.borrow_mut() += usize::from(one == other && tree != changed);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let (seen, same_count) = (seen.borrow().len(), same_count.into_inner());
    assert!(seen > 300 && same_count > 5, "{seen} keys, {same_count} changes that do not show");
}

#[test]
fn trees_that_could_be_taken_for_one_another_are_told_apart() {
    let file = |path: &'static [u8], content: &'static [u8]| (path, Node::file(content));
    let directory = |path: &'static [u8]| (path, Node::directory());
    let link = |path: &'static [u8], target: &'static [u8]| (path, Node::link(target));
    let with_mode = |mode: u32| Node { mode, ..Node::file(b"a") };
    let same = |of: &[u8]| Node { what: What::Same(of.to_vec()), ..Node::directory() };
    let pipe = Node { what: What::Pipe, mode: 0o644, attribute: None };
    let attributes: &[_] = if has_attributes() { ATTRIBUTES } else { &[] };
    let mut trees = vec![
        Tree::of(&[]),
        Tree::of(&[directory(b"a")]),
        Tree::of(&[directory(b"b")]),
        Tree::of(&[directory(b"a"), directory(b"b")]),
        Tree::of(&[directory(b"a/b")]),
        Tree::of(&[file(b"a", b"")]),
        Tree::of(&[file(b"a", b"b")]),
        Tree::of(&[link(b"a", b"b")]),
        Tree::of(&[(b"a", pipe)]),
        Tree::of(&[file(b"a/b", b""), file(b"c", b"")]),
        Tree::of(&[file(b"a", b""), file(b"b/c", b"")]),
        Tree::of(&[file(b"a", b"b"), file(b"c", b"")]),
        Tree::of(&[file(b"a", b""), file(b"c", b"b")]),
        Tree::of(&[file(b"a", b""), file(b"bc", b"")]),
        Tree::of(&[file(b"ab", b""), file(b"c", b"")]),
        Tree::of(&[file(b"a", b"1"), file(b"b", b"2")]),
        Tree::of(&[file(b"a", b"2"), file(b"b", b"1")]),
        Tree::of(&[file(b"a\nb", b"")]),
        Tree::of(&[file(b"a", b""), file(b"b", b"")]),
        Tree::of(&[file(b"\xff", b"")]),
        Tree::of(&[file(b"\xfe", b"")]),
        Tree::of(&[file(b"\xef\xbf\xbd", b"")]),
        Tree::of(&[file(b"\xc3\xa4", b"")]),
        Tree::of(&[file(b"a\xcc\x88", b"")]),
        Tree::of(&[(b"a", with_mode(0o600))]),
        Tree::of(&[(b"a", with_mode(0o644))]),
        Tree::of(&[(b"a", with_mode(0o4755))]),
        Tree::of(&[file(b"a", b"x"), file(b"b", b"x")]),
        Tree::of(&[file(b"a", b"x"), (b"b", same(b"a"))]),
        Tree::of(&[file(b"a", b"x"), file(b"b", b"x"), file(b"c", b"x")]),
        Tree::of(&[file(b"a", b"x"), file(b"b", b"x"), (b"c", same(b"a"))]),
        Tree::of(&[file(b"a", b"x"), file(b"b", b"x"), (b"c", same(b"b"))]),
        Tree::of(&[file(b"a", b"x"), (b"b", same(b"a")), file(b"c", b"x")]),
        Tree::of(&[file(b"a", b"x"), (b"b", same(b"a")), (b"c", same(b"a"))]),
    ];
    trees.extend(attributes.iter().map(|attribute| {
        Tree::of(&[(b"a", Node { attribute: Some(*attribute), ..Node::file(b"") })])
    }));
    let mut seen: HashMap<Key, Tree> = HashMap::new();
    for tree in trees {
        let made = key(&tree, &[Vec::new()], OURS);
        assert_eq!(made, key(&tree, &[Vec::new()], theirs()), "{tree:?}");
        if let Some(other) = seen.insert(made, tree.clone()) {
            panic!("{tree:?} and {other:?}");
        }
    }
}

#[test]
fn sources_are_told_apart_from_what_is_in_them() {
    let tree = Tree::of(&[
        (b"a/b", Node::file(b"x")),
        (b"a/c", Node::file(b"x")),
        (b"b", Node::file(b"x")),
        (b"c", Node::file(b"x")),
    ]);
    let lists: &[&[&[u8]]] = &[
        &[b""],
        &[b"a"],
        &[b"b"],
        &[b"a", b"b"],
        &[b"b", b"a"],
        &[b"a/b"],
        &[b"a/b", b"c"],
        &[b"a/c", b"b"],
        &[b"b", b"c"],
        &[b"b", b"b"],
    ];
    let mut seen: HashMap<Key, &[&[u8]]> = HashMap::new();
    for list in lists {
        let sources: Vec<Vec<u8>> = list.iter().map(|path| path.to_vec()).collect();
        if let Some(other) = seen.insert(key(&tree, &sources, OURS), list) {
            panic!("{list:?} and {other:?}");
        }
    }
}

#[test]
fn a_source_that_is_a_link_is_what_it_leads_to_by_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path();
    fs::write(top.join("real"), "x").unwrap();
    symlink("real", top.join("name")).unwrap();
    let through_link = key_of(top, &[b"name".to_vec()], 1);
    assert_ne!(through_link, key_of(top, &[b"real".to_vec()], 1));
    fs::remove_file(top.join("name")).unwrap();
    fs::write(top.join("name"), "x").unwrap();
    assert_eq!(through_link, key_of(top, &[b"name".to_vec()], 1));
}
