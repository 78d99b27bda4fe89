//! What the headers of some layers say by themselves, whatever is below them.
//!
//! Pure, and for layers that this program has written: no parent in them is a link.

use std::collections::{BTreeMap, BTreeSet};

use snapshot::RootfsPath;

use super::{Header, HeaderEntry, HeaderIndex, HeaderKind};

/// What layers that are on top of each other say of paths.
#[derive(Debug, Clone, Default)]
pub struct LayersAlone {
    said: BTreeMap<RootfsPath, Said>,
    /// The names of each file that was given one as a hard link.
    names: BTreeMap<usize, BTreeSet<RootfsPath>>,
}

/// What they say of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It is there.
    Entry(Box<SaidEntry>),
    /// It is not, be it below or not.
    Gone,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidEntry {
    /// As its header has it.
    pub header: HeaderEntry,
    /// Tells the file from others.
    file: usize,
}

impl LayersAlone {
    /// Returns what `layers`, lowest first, say together; `None` where that depends on what is below.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a HeaderIndex>) -> Option<Self> {
        let (mut alone, mut count) = (Self::default(), 0);
        for header in layers.into_iter().flat_map(|layer| &layer.headers) {
            match header {
                Header::Entry(path, header) => {
                    count += 1;
                    let entry = SaidEntry { header: header.clone(), file: count };
                    alone.put(path, entry);
                }
                Header::HardLink { path, target } => {
                    let Some(Said::Entry(linked)) = alone.said.get(target) else { return None };
                    let linked = SaidEntry::clone(linked);
                    if linked.is_directory() || target == path {
                        return None;
                    }
                    let names = alone.names.entry(linked.file).or_default();
                    names.insert(target.clone());
                    alone.put(path, linked);
                }
                Header::Hides(path) => {
                    alone.remove(path);
                    alone.said.insert(path.clone(), Said::Gone);
                }
                Header::Opaque(_) => return None,
            }
        }
        Some(alone)
    }

    /// Returns what is said of a path, if anything is.
    pub fn get(&self, path: &RootfsPath) -> Option<&Said> {
        self.said.get(path)
    }

    /// Returns all that is said, by path, parents first.
    pub fn iter(&self) -> impl Iterator<Item = (&RootfsPath, &Said)> {
        self.said.iter()
    }

    /// Tells whether these are the names of an entry at `path`; `None`: it has no other.
    pub fn has_names(
        &self,
        path: &RootfsPath,
        entry: &SaidEntry,
        names: Option<&BTreeSet<RootfsPath>>,
    ) -> bool {
        let said = self.names.get(&entry.file).filter(|names| names.len() > 1);
        let is_alone = |names: Option<&BTreeSet<RootfsPath>>| {
            names.is_none_or(|names| names.len() == 1 && names.contains(path))
        };
        said == names || is_alone(said) && is_alone(names)
    }

    fn put(&mut self, path: &RootfsPath, entry: SaidEntry) {
        let is_directory = |said: &Said| matches!(said, Said::Entry(entry) if entry.is_directory());
        if !(entry.is_directory() && self.said.get(path).is_some_and(is_directory)) {
            self.remove(path);
        }
        if let Some(names) = self.names.get_mut(&entry.file) {
            names.insert(path.clone());
        }
        self.said.insert(path.clone(), Said::Entry(Box::new(entry)));
    }

    /// Forgets what is at a path and below it.
    fn remove(&mut self, path: &RootfsPath) {
        let below: Vec<RootfsPath> =
            path.within(&self.said).map(|(below, _)| below.clone()).collect();
        for below in below {
            if let Some(Said::Entry(entry)) = self.said.remove(&below)
                && let Some(names) = self.names.get_mut(&entry.file)
            {
                names.remove(&below);
            }
        }
    }
}

impl SaidEntry {
    fn is_directory(&self) -> bool {
        self.header.kind == HeaderKind::Directory
    }
}

#[cfg(test)]
mod tests {
    use snapshot::{Digest, Timestamp, Xattrs};

    use super::*;

    fn path(text: &str) -> RootfsPath {
        RootfsPath::new(text).expect("a path")
    }

    fn entry(name: &str, kind: HeaderKind) -> Header {
        let (mtime, xattrs) = (Timestamp::EPOCH, Xattrs::new());
        let entry =
            HeaderEntry { kind, mode: 0o644, uid: 0, gid: 0, mtime, xattrs, is_linked: false };
        Header::Entry(path(name), entry)
    }

    fn file(name: &str) -> Header {
        entry(name, HeaderKind::Regular { size: 0, content: None, digest: None })
    }

    fn directory(name: &str) -> Header {
        entry(name, HeaderKind::Directory)
    }

    fn link(name: &str, target: &str) -> Header {
        Header::HardLink { path: path(name), target: path(target) }
    }

    fn gone(name: &str) -> Header {
        Header::Hides(path(name))
    }

    fn alone(layers: Vec<Vec<Header>>) -> Option<LayersAlone> {
        let digest = Digest::of(b"");
        let index = |headers| HeaderIndex { digest, diff_id: digest, headers };
        let layers: Vec<HeaderIndex> = layers.into_iter().map(index).collect();
        LayersAlone::of(&layers)
    }

    fn listed(alone: &LayersAlone) -> Vec<String> {
        let line = |(path, said): (&RootfsPath, &Said)| match said {
            Said::Gone => format!("-{path}"),
            Said::Entry(entry) if entry.is_directory() => format!("{path}/"),
            Said::Entry(_) => path.to_string(),
        };
        alone.iter().map(line).collect()
    }

    #[test]
    fn later_layers_count() {
        let first =
            || vec![directory("d"), directory("d/e"), file("d/e/f"), file("d/g"), file("h")];
        for (second, expected) in [
            (vec![], vec!["/d/", "/d/e/", "/d/e/f", "/d/g", "/h"]),
            (vec![directory("d"), gone("d/e")], vec!["/d/", "-/d/e", "/d/g", "/h"]),
            (vec![file("d")], vec!["/d", "/h"]),
            (
                vec![directory("h"), file("h/i")],
                vec!["/d/", "/d/e/", "/d/e/f", "/d/g", "/h/", "/h/i"],
            ),
            (vec![gone("below")], vec!["-/below", "/d/", "/d/e/", "/d/e/f", "/d/g", "/h"]),
        ] {
            let found = alone(vec![first(), second.clone()]).expect("told");
            assert_eq!(listed(&found), expected, "{second:?}");
        }
        assert!(alone(vec![vec![Header::Opaque(path("d"))]]).is_none());
        assert!(alone(vec![vec![link("a", "below")]]).is_none());
    }

    #[test]
    fn names_of_one_file_are_told_from_files_that_are_equal() {
        let check = |layers: Vec<Vec<Header>>, name: &str, names: &[&str], expected: bool| {
            let alone = alone(layers).expect("told");
            let Some(Said::Entry(entry)) = alone.get(&path(name)) else { panic!("{name}") };
            let names: BTreeSet<RootfsPath> = names.iter().map(|name| path(name)).collect();
            let names = Some(&names).filter(|names| !names.is_empty());
            assert_eq!(alone.has_names(&path(name), entry, names), expected, "{name} {names:?}");
        };
        let linked = || vec![file("a"), link("b", "a"), file("c")];
        check(vec![linked()], "a", &["a", "b"], true);
        check(vec![linked()], "b", &["a", "b"], true);
        check(vec![linked()], "b", &["b"], false);
        check(vec![linked()], "b", &[], false);
        check(vec![linked()], "c", &[], true);
        check(vec![linked()], "c", &["c"], true);
        check(vec![linked()], "c", &["a", "b", "c"], false);
        check(vec![linked(), vec![file("b")]], "a", &[], true);
        check(vec![linked(), vec![file("b")]], "b", &["a", "b"], false);
        check(vec![linked(), vec![gone("a")]], "b", &["b"], true);
    }
}
