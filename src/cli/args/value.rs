//! Types of flag values beyond text: pairs, git options, compression names.

use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::cli::go_values::{self, ValueError};

/// One `key=value`; the value may hold more `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Before the first `=`.
    pub key: String,
    /// After it.
    pub value: String,
}

impl FromStr for KeyValue {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (key, value) = text.split_once('=').ok_or(ValueError::KeyValue)?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

impl Serialize for KeyValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}={}", self.key, self.value))
    }
}

/// One `key=value;key=value`; a key may come many times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValues(pub Vec<KeyValue>);

impl FromStr for KeyValues {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.split(';').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// Writes all pairs of all occurrences as one list.
pub fn flat<S: Serializer>(occurrences: &[KeyValues], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(occurrences.iter().flat_map(|pairs| &pairs.0))
}

/// One `--git key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitOption(pub KeyValue);

impl FromStr for GitOption {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let pair: KeyValue = text.parse()?;
        match pair.key.as_str() {
            "single-branch" | "recurse-submodules" | "insecure-skip-tls" => {
                go_values::parse_bool(&pair.value)?;
            }
            // kaniko takes any other key too and ignores those it does not know.
            _ => {}
        }
        Ok(Self(pair))
    }
}

impl Serialize for GitOption {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The value of `--compression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CompressionName {
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl FromStr for CompressionName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(ValueError::Compression),
        }
    }
}
