//! What a step is made of, part by part: its key, and what a later build compares.
//!
//! The key is over every part in full. What is kept of the parts is short: enough to say which one
//! has changed, and too little to find a value out by trying.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::key::{Key, KeyWriter};

/// Hex digits of a part's digest that are kept.
const SHORT: usize = 8;

/// The same of a variable's: one in 65536 changes is not named, and of whoever tries values, 65535
/// in 65536 learn nothing.
const SHORT_PRIVATE: usize = 4;

/// Files of one step that are kept by name; of more, the directories are.
const KEPT_FILES: usize = 2000;

/// Changes that are named.
const NAMED_CHANGES: usize = 3;

/// All that a step is made of but what came before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MadeOf {
    parts: Vec<Part>,
    /// Paths, and what they are.
    files: Vec<(String, Key)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    name: String,
    key: Key,
    is_private: bool,
}

impl MadeOf {
    /// Adds a part. `domain` says what kind of part it is and belongs to the key; `name` is for
    /// people and does not.
    pub fn part(
        &mut self,
        domain: &str,
        name: impl Into<String>,
        write: impl FnOnce(&mut KeyWriter),
    ) {
        let key = key_of(domain, write);
        self.parts.push(Part { name: name.into(), key, is_private: false });
    }

    /// Adds a part whose value nobody is to find out, such as a variable's.
    pub fn private_part(
        &mut self,
        domain: &str,
        name: impl Into<String>,
        write: impl FnOnce(&mut KeyWriter),
    ) {
        let key = key_of(domain, write);
        self.parts.push(Part { name: name.into(), key, is_private: true });
    }

    /// Adds a file.
    pub fn file(&mut self, path: String, write: impl FnOnce(&mut KeyWriter)) {
        self.files.push((path, key_of("file", write)));
    }

    /// Returns the first file that is another one in `other`, or that only one of both has.
    pub fn first_other_file<'a>(&'a self, other: &'a Self) -> Option<&'a str> {
        let before: HashSet<_> = self.files.iter().collect();
        let now: HashSet<_> = other.files.iter().collect();
        let new = other.files.iter().find(|file| !before.contains(file));
        let gone = || self.files.iter().find(|file| !now.contains(file));
        new.or_else(gone).map(|(path, _)| path.as_str())
    }

    /// Returns how many files were added.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Returns the key of a step of this kind, made upon what `parent` names.
    pub fn key(&self, domain: &str, parent: Option<&Key>) -> Key {
        let mut writer = KeyWriter::new(domain);
        writer.list("parents", usize::from(parent.is_some()));
        parent.iter().for_each(|parent| writer.key("parent", parent));
        writer.list("parts", self.parts.len());
        self.parts.iter().for_each(|part| writer.key("part", &part.key));
        writer.list("files", self.files.len());
        self.files.iter().for_each(|(_, key)| writer.key("file", key));
        writer.finish()
    }

    /// Returns what names a step of this kind, made upon what `parent` names, whatever files it
    /// reads.
    pub fn ground(&self, domain: &str, parent: &Key) -> Key {
        let mut writer = KeyWriter::new("ground");
        writer.text("domain", domain);
        writer.key("parent", parent);
        writer.list("parts", self.parts.len());
        self.parts.iter().for_each(|part| writer.key("part", &part.key));
        writer.finish()
    }

    /// Returns what is kept of it.
    pub fn record(&self) -> PartsRecord {
        let depth = self.depth();
        PartsRecord { parts: self.short_parts(), files: self.short_files(depth), depth }
    }

    fn short_parts(&self) -> BTreeMap<String, String> {
        let short = |part: &Part| {
            let length = if part.is_private { SHORT_PRIVATE } else { SHORT };
            (part.name.clone(), short(&part.key, length))
        };
        self.parts.iter().map(short).collect()
    }

    /// Returns how many names of each path are kept, if there are too many paths to keep all.
    fn depth(&self) -> Option<usize> {
        if self.files.len() <= KEPT_FILES {
            return None;
        }
        let deepest = self.files.iter().map(|(path, _)| path.split('/').count()).max();
        let fits = |depth: &usize| {
            let cut: BTreeSet<&str> =
                self.files.iter().map(|(path, _)| cut_at(path, Some(*depth))).collect();
            cut.len() <= KEPT_FILES
        };
        Some((1..=deepest.unwrap_or_default()).take_while(fits).last().unwrap_or_default())
    }

    fn short_files(&self, depth: Option<usize>) -> BTreeMap<String, String> {
        let mut writers: BTreeMap<&str, KeyWriter> = BTreeMap::new();
        for (path, key) in &self.files {
            let writer = writers
                .entry(cut_at(path, depth))
                .or_insert_with(|| KeyWriter::new("kept of files"));
            writer.key("file", key);
        }
        let short =
            |(path, writer): (&str, KeyWriter)| (path.to_owned(), short(&writer.finish(), SHORT));
        writers.into_iter().map(short).collect()
    }
}

fn key_of(domain: &str, write: impl FnOnce(&mut KeyWriter)) -> Key {
    let mut writer = KeyWriter::new(domain);
    write(&mut writer);
    writer.finish()
}

fn short(key: &Key, length: usize) -> String {
    key.hex().get(..length).unwrap_or_default().to_owned()
}

/// Returns the first `depth` names of a path.
fn cut_at(path: &str, depth: Option<usize>) -> &str {
    let Some(depth) = depth else { return path };
    let end = path.match_indices('/').nth(depth.saturating_sub(1)).map(|(place, _)| place);
    match depth {
        0 => "",
        _ => end.and_then(|end| path.get(..end)).unwrap_or(path),
    }
}

/// What is kept of the parts of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartsRecord {
    parts: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
    /// How many names of each path are kept, where not all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    depth: Option<usize>,
}

impl PartsRecord {
    /// Says what is different in `now`, as text: `` `src/main.rs` changed ``.
    pub fn changes(&self, now: &MadeOf) -> Option<String> {
        let quoted = |path: &str| match path {
            "" => "the context".to_owned(),
            path => format!("`{path}`"),
        };
        let mut changes = differences(&self.parts, &now.short_parts(), &str::to_owned);
        changes.extend(differences(&self.files, &now.short_files(self.depth), &quoted));
        let more = changes.len().saturating_sub(NAMED_CHANGES);
        changes.truncate(NAMED_CHANGES);
        match (changes.is_empty(), more) {
            (true, _) => None,
            (false, 0) => Some(changes.join(", ")),
            (false, more) => Some(format!("{} and {more} more", changes.join(", "))),
        }
    }
}

fn differences(
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
    shown: &dyn Fn(&str) -> String,
) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let difference = |name: &&String| match (before.get(*name), now.get(*name)) {
        (Some(before), Some(now)) if before == now => None,
        (Some(_), Some(_)) => Some(format!("{} changed", shown(name))),
        (None, _) => Some(format!("{} is new", shown(name))),
        (Some(_), None) => Some(format!("{} is gone", shown(name))),
    };
    names.iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(parts: &[(&str, &str)], files: &[(&str, &str)]) -> MadeOf {
        let mut made = MadeOf::default();
        for (name, value) in parts {
            made.private_part("variable", *name, |writer| {
                writer.text("name", name);
                writer.text("value", value);
            });
        }
        for (path, content) in files {
            made.file((*path).to_owned(), |writer| {
                writer.text("path", path);
                writer.text("content", content);
            });
        }
        made
    }

    #[test]
    fn what_changed_is_named() {
        let before = made(&[("ARG A", "1"), ("ENV B", "1")], &[("a", "1"), ("d/b", "1")]);
        let check = |parts, files, expected: Option<&str>| {
            let now = made(parts, files);
            assert_eq!(before.record().changes(&now).as_deref(), expected);
            assert_eq!(before.key("copy", None) == now.key("copy", None), expected.is_none());
        };
        let (parts, files) = (&[("ARG A", "1"), ("ENV B", "1")], &[("a", "1"), ("d/b", "1")]);
        check(parts, files, None);
        check(&[("ARG A", "2"), ("ENV B", "1")], files, Some("ARG A changed"));
        check(&[("ENV B", "1")], files, Some("ARG A is gone"));
        check(parts, &[("a", "1"), ("d/b", "2")], Some("`d/b` changed"));
        check(parts, &[("a", "1"), ("d/c", "1")], Some("`d/b` is gone, `d/c` is new"));
        check(
            &[("ARG A", "2"), ("ENV B", "2")],
            &[("a", "2"), ("d/b", "2")],
            Some("ARG A changed, ENV B changed, `a` changed and 1 more"),
        );
    }

    #[test]
    fn of_many_files_directories_are_kept() {
        let path = |number: usize| format!("top/{}/{number}", number % 3);
        let many = |changed: usize| {
            let mut made = MadeOf::default();
            for number in 0..3 * KEPT_FILES {
                made.file(path(number), |writer| {
                    writer.text("path", &path(number));
                    writer.flag("changed", number == changed);
                });
            }
            made
        };
        let before = many(usize::MAX).record();
        assert_eq!(before.files.len(), 3);
        assert_eq!(before.changes(&many(usize::MAX)), None);
        assert_eq!(before.changes(&many(4)), Some("`top/1` changed".to_owned()));
        let mut flat = MadeOf::default();
        (0..=KEPT_FILES).for_each(|number| {
            flat.file(number.to_string(), |writer| writer.number("number", number as u64));
        });
        let mut other = flat.clone();
        other.file("more".to_owned(), |writer| writer.text("path", "more"));
        assert_eq!(flat.record().files.len(), 1);
        assert_eq!(flat.record().changes(&other), Some("the context changed".to_owned()));
    }

    #[test]
    fn no_value_is_kept() {
        let secret = "value-of-a-token";
        let record = made(&[("ARG TOKEN", secret)], &[("a", secret)]).record();
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.contains("ARG TOKEN") && !text.contains(secret), "{text}");
        assert_eq!(record.parts["ARG TOKEN"].len(), SHORT_PRIVATE);
    }
}
