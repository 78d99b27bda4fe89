//! Looking at a part only.

use snapshot::{PathSet, Scope, Snapshot};

use crate::fixture::{Fixture, named, path};

fn take(fixture: &mut Fixture, scope: PathSet) -> Snapshot {
    fixture.snapshotters[3].take(Scope::Only(scope)).expect("taken")
}

fn only(names: &[&str]) -> PathSet {
    names.iter().map(|name| path(name)).collect()
}

#[test]
fn only_what_the_scope_names_is_looked_at() {
    let mut fixture = Fixture::with(|f| {
        for directory in ["a", "a/b", "c"] {
            f.mkdir(directory);
            for number in 0..50 {
                f.write(&format!("{directory}/{number}"), "x");
            }
        }
    });
    let trusted = fixture.is_trusted();
    fixture.begin();
    fixture.write("a/b/7", "changed");
    fixture.write("c/7", "changed");
    let snapshot = take(&mut fixture, only(&["a/b/7", "a/b/8", "a/b/missing"]));
    let expected =
        [("", "ancestor"), ("a", "ancestor"), ("a/b", "ancestor"), ("a/b/7", "modified")];
    assert_eq!(
        named(&snapshot.changeset).into_iter().collect::<Vec<_>>(),
        expected.map(|(name, kind)| (name.to_owned(), kind))
    );
    let stats = snapshot.stats;
    assert_eq!((stats.scope_path_count, stats.directories_listed), (Some(6), 0));
    assert_eq!(stats.entries_stated, 5);
    if trusted {
        assert_eq!((stats.files_opened, stats.bytes_hashed), (0, 0));
    }
    let mut subtree = PathSet::new();
    subtree.insert_subtree(path("c"));
    let snapshot = take(&mut fixture, subtree);
    assert_eq!(snapshot.stats.directories_listed, 1);
    assert_eq!(named(&snapshot.changeset).get("c/7"), Some(&"modified"));
}

#[test]
fn a_directory_that_came_is_walked_whole() {
    let mut fixture = Fixture::with(|f| {
        f.mkdir("was/deep");
        f.write("was/deep/file", "x");
        f.mkdir("stays");
    });
    fixture.begin();
    fixture.rename("was", "stays/now");
    fixture.mkdir("new/deep");
    fixture.write("new/deep/file", "x");
    let snapshot = take(&mut fixture, only(&["was", "stays/now", "new"]));
    let expected = [
        ("", "modified"),
        ("new", "added"),
        ("new/deep", "added"),
        ("new/deep/file", "added"),
        ("stays", "modified"),
        ("stays/now", "added"),
        ("stays/now/deep", "added"),
        ("stays/now/deep/file", "added"),
        ("was", "removed"),
    ];
    assert_eq!(
        named(&snapshot.changeset).into_iter().collect::<Vec<_>>(),
        expected.map(|(name, kind)| (name.to_owned(), kind))
    );
}

#[test]
fn a_directory_that_became_a_link_is_not_followed() {
    let mut fixture = Fixture::with(|f| {
        f.mkdir("d/sub");
        f.write("d/sub/file", "x");
        f.mkdir("elsewhere/sub");
        f.write("elsewhere/sub/file", "y");
    });
    fixture.begin();
    fixture.keep_mtime("", || {
        fixture.remove("d");
        fixture.symlink("elsewhere", "d");
    });
    let snapshot = take(&mut fixture, only(&["d", "d/sub", "d/sub/file"]));
    let expected = [("", "ancestor"), ("d", "modified")];
    assert_eq!(
        named(&snapshot.changeset).into_iter().collect::<Vec<_>>(),
        expected.map(|(name, kind)| (name.to_owned(), kind))
    );
}

#[test]
fn other_names_of_an_inode_are_looked_at_too() {
    let mut fixture = Fixture::with(|f| {
        f.mkdir("far/away");
        f.write("far/away/one", "x");
        f.mkdir("near");
        f.link("far/away/one", "near/two");
        f.write("single", "x");
    });
    fixture.begin();
    fixture.write("near/two", "changed");
    let changes = named(&take(&mut fixture, only(&["near/two"])).changeset);
    assert_eq!(changes.get("far/away/one"), Some(&"modified"));
    // A new name of an inode that had one only: nothing but the inode leads to the old name.
    fixture.begin();
    fixture.link("single", "near/three");
    fixture.write("near/three", "changed");
    let changes = named(&take(&mut fixture, only(&["near/three"])).changeset);
    assert_eq!(changes.get("single"), Some(&"modified"));
    assert_eq!(changes.get("near/three"), Some(&"added"));
}

#[test]
fn an_empty_scope_finds_nothing() {
    let mut fixture = Fixture::with(|f| f.write("a", "x"));
    fixture.begin();
    fixture.write("a", "changed");
    let snapshot = take(&mut fixture, PathSet::new());
    assert!(snapshot.changeset.is_empty());
    assert_eq!(snapshot.stats.entries_stated, 1, "the root");
}
