//! The files of `examples/`: each is what its tool takes, and zuwai takes every word for it in them.
//!
//! Kubernetes' objects are read as the types of its API and written again: a field that the API does
//! not know is lost on the way. GitLab, GitHub and Google Cloud Build have JSON schemas. Scripts are
//! run, with `docker` and `kubectl` that write down what they were called with.

mod containers;
mod kubernetes;
mod scripts;
mod tools;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Returns where an example lies.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// Reads the documents of a YAML file; a key given twice is an error.
fn documents(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path(name)).expect(name);
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Reads a YAML file of one document.
fn document(name: &str) -> Value {
    let [document] = <[Value; 1]>::try_from(documents(name)).expect(name);
    document
}

/// Reads a value as a type of which every field must be known.
fn typed<T: DeserializeOwned + Serialize>(value: &Value) -> T {
    let typed: T =
        serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"));
    let written = serde_json::to_value(&typed).expect("what was read");
    assert_eq!(&written, value, "a field is not known");
    typed
}

#[test]
fn every_example_is_tested() {
    let mut found = Vec::new();
    let mut directories = vec![path("")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap().path();
            match entry.is_dir() {
                true => directories.push(entry),
                false => found.push(entry),
            }
        }
    }
    let mut found: Vec<String> = found
        .iter()
        .map(|file| file.strip_prefix(path("")).unwrap().display().to_string())
        // Cargo's own, and the context that the demo builds.
        .filter(|name| !name.ends_with(".rs") && !name.starts_with("hello/"))
        .collect();
    found.sort();
    let tested = [kubernetes::FILES, scripts::FILES, tools::FILES, &["README.md"]].concat();
    let mut tested: Vec<&str> = tested;
    tested.sort();
    assert_eq!(found, tested);
    let readme = std::fs::read_to_string(path("README.md")).unwrap();
    for name in tested.into_iter().filter(|name| *name != "README.md") {
        assert!(readme.contains(&format!("]({name})")), "README.md does not name {name}");
    }
}
