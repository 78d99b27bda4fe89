//! Trees at random: two that differ in anything that an image can show never have one key, and a
//! tree has one key wherever, whenever, and by whomever it was checked out.

mod model;
mod random;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use snapshot::Rootfs;

use super::*;
use crate::execute::{ContentDigests, Source};
use crate::plan::CopyItem;
use model::{Checkout, Node, Tree, What};
use random::{ATTRIBUTES, change, has_attributes, tree};

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
