//! Trees at random, and changes to them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rustix::fs::XattrFlags;
use tempfile::TempDir;

use super::model::{Node, Tree, What, parent};

/// Names that could be taken for one another by whoever writes them one after the other, or as text.
const NAMES: &[&[u8]] = &[b"a", b"b", b"ab", b"a\nb", b"\x01", b"\xff", b"\xfe", b"a."];

const CONTENTS: &[&[u8]] = &[b"", b"a", b"b", b"ab", b"a/b", b"\0", b"a\0b", b"\x01\0\0\0a"];
const TARGETS: &[&[u8]] = &[b"a", b"b", b"ab", b"a/b", b"\xff", b"a\nb"];
const MODES: &[u32] = &[0o644, 0o755, 0o600, 0o4755, 0o1777];
pub(super) const ATTRIBUTES: &[(&str, &[u8])] = &[
    ("user.a", b"a"),
    ("user.a", b""),
    ("user.ab", b""),
    // One after the other without their lengths they are the same.
    ("user.a", b"\x01valueb"),
    ("user.a\x01value", b"b"),
];

/// Tells whether files here can have attributes.
pub(super) fn has_attributes() -> bool {
    let folder = TempDir::new().unwrap();
    rustix::fs::setxattr(folder.path(), "user.a", b"a", XattrFlags::empty()).is_ok()
}

pub(super) fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        2 => Just(What::Directory),
        5 => select(CONTENTS).prop_map(What::File),
        2 => select(TARGETS).prop_map(What::Link),
        1 => Just(What::Pipe),
    ]
}

pub(super) fn node() -> impl Strategy<Value = Node> {
    let attribute = prop_oneof![4 => Just(None), 1 => select(ATTRIBUTES).prop_map(Some)];
    (
        what(),
        select(MODES),
        attribute.prop_filter("files here can have none", |it| it.is_none() || has_attributes()),
    )
        .prop_map(|(what, mode, attribute)| Node { what, mode, attribute })
}

pub(super) fn path() -> impl Strategy<Value = Vec<u8>> {
    vec(select(NAMES), 1..4).prop_map(|names| names.join(&b'/'))
}

pub(super) fn tree() -> impl Strategy<Value = Tree> {
    vec((path(), node()), 0..8).prop_map(|nodes| {
        let mut tree = Tree::default();
        nodes.into_iter().for_each(|(path, node)| tree.put(path, node));
        tree
    })
}

/// A change to a tree, of what is at the place of this number.
#[derive(Clone, Debug)]
pub(super) enum Change {
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

pub(super) fn change() -> impl Strategy<Value = Change> {
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
    pub(super) fn make(&self, tree: &mut Tree) {
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
