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

/// A size in bytes, as Kubernetes and Docker write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize {
    /// The size.
    pub bytes: u64,
}

impl FromStr for ByteSize {
    type Err = ValueError;

    /// Reads a whole number and perhaps a unit: `k`, `M`, `G`, `T` are powers of 1000, `Ki`, `Mi`,
    /// `Gi`, `Ti` of 1024; a `B` may follow.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let number: u64 = digits.parse().map_err(|_| ValueError::Size)?;
        let unit = unit.strip_suffix('B').unwrap_or(unit);
        let (letter, base) = match unit.strip_suffix('i') {
            Some(letter) => (letter, 1024_u64),
            None => (unit, 1000),
        };
        let power = match letter {
            "" if base == 1000 => 0,
            "k" | "K" => 1,
            "M" => 2,
            "G" => 3,
            "T" => 4,
            _ => return Err(ValueError::Size),
        };
        let bytes = number.checked_mul(base.pow(power)).ok_or(ValueError::Size)?;
        Ok(Self { bytes })
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_with_a_unit_or_without() {
        for (text, expected) in [
            ("0", Some(0)),
            ("12", Some(12)),
            ("12B", Some(12)),
            ("5k", Some(5_000)),
            ("5Ki", Some(5 * 1024)),
            ("20G", Some(20_000_000_000)),
            ("20GB", Some(20_000_000_000)),
            ("20Gi", Some(20 << 30)),
            ("20GiB", Some(20 << 30)),
            ("1T", Some(1_000_000_000_000)),
            ("", None),
            ("G", None),
            ("1.5G", None),
            ("-1", None),
            ("1i", None),
            ("1X", None),
            ("99999999999T", None),
        ] {
            let found = text.parse::<ByteSize>().ok().map(|size| size.bytes);
            assert_eq!(found, expected, "{text}");
        }
    }
}
