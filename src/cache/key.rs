//! Keys: SHA-256 over fields that cannot be mistaken for one another.
//!
//! Each field is written with its kind, its name and the lengths of both its name and its value, and
//! each list with its length, so that no two sequences of fields have the same bytes: neither
//! `["ab", "c"]` and `["a", "bc"]`, nor a value that looks like the field after it.

use std::fmt;

use snapshot::{Digest, Digester};

/// Begins every key. A new number makes all entries of older versions misses: to be counted up
/// whenever the meaning of a field changes, or what this program makes of the same fields.
const VERSION: &[u8] = b"zuwai.cache.v2";

/// Names what a step makes of what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Digest);

impl Key {
    /// Returns the key as 64 hex digits, which is its tag in a repository.
    pub fn hex(&self) -> String {
        self.0.hex()
    }

    /// Reads what [`Key::hex`] gave.
    pub fn from_hex(text: &str) -> Option<Self> {
        format!("sha256:{text}").parse().ok().map(Self)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.hex())
    }
}

/// Writes the fields of one key.
#[derive(Clone)]
pub struct KeyWriter {
    digester: Digester,
}

#[derive(Clone, Copy)]
enum Kind {
    Bytes = 1,
    Number = 2,
    Flag = 3,
    Absent = 4,
    List = 5,
    Key = 6,
    Digest = 7,
}

impl KeyWriter {
    /// Starts the key of a kind of step, such as `run`; kinds share no keys.
    pub fn new(domain: &str) -> Self {
        let mut writer = Self { digester: Digester::new() };
        writer.framed(VERSION);
        writer.framed(domain.as_bytes());
        writer
    }

    /// Writes bytes.
    pub fn bytes(&mut self, name: &str, value: &[u8]) {
        self.field(Kind::Bytes, name, value);
    }

    /// Writes text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.bytes(name, value.as_bytes());
    }

    /// Writes text that may be absent, which is not the same as empty.
    pub fn optional(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.field(Kind::Absent, name, &[]),
        }
    }

    /// Writes a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.field(Kind::Number, name, &value.to_be_bytes());
    }

    /// Writes a yes or no.
    pub fn flag(&mut self, name: &str, value: bool) {
        self.field(Kind::Flag, name, &[u8::from(value)]);
    }

    /// Writes the length of a list, whose items have to follow.
    pub fn list(&mut self, name: &str, count: usize) {
        self.field(Kind::List, name, &(count as u64).to_be_bytes());
    }

    /// Writes another key: all that it is made of counts for this one too.
    pub fn key(&mut self, name: &str, value: &Key) {
        self.field(Kind::Key, name, value.0.as_bytes());
    }

    /// Writes a digest.
    pub fn digest(&mut self, name: &str, value: &Digest) {
        self.field(Kind::Digest, name, value.as_bytes());
    }

    /// Returns the key.
    pub fn finish(self) -> Key {
        Key(self.digester.finish())
    }

    fn field(&mut self, kind: Kind, name: &str, value: &[u8]) {
        self.digester.update(&[kind as u8]);
        self.framed(name.as_bytes());
        self.framed(value);
    }

    fn framed(&mut self, bytes: &[u8]) {
        self.digester.update(&(bytes.len() as u64).to_be_bytes());
        self.digester.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    enum Field {
        Bytes(String, Vec<u8>),
        Optional(String, Option<String>),
        Number(String, u64),
        Flag(String, bool),
        List(String, usize),
        Digest(String, Vec<u8>),
    }

    fn key(domain: &str, fields: &[Field]) -> Key {
        let mut writer = KeyWriter::new(domain);
        for field in fields {
            match field {
                Field::Bytes(name, value) => writer.bytes(name, value),
                Field::Optional(name, value) => writer.optional(name, value.as_deref()),
                Field::Number(name, value) => writer.number(name, *value),
                Field::Flag(name, value) => writer.flag(name, *value),
                Field::List(name, count) => writer.list(name, *count),
                Field::Digest(name, value) => writer.digest(name, &Digest::of(value)),
            }
        }
        writer.finish()
    }

    /// A small generator of its own: xorshift, so that a failure can be repeated.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }

        /// Short texts of few letters, which are what collides.
        fn text(&mut self) -> String {
            (0..self.below(4)).map(|_| ["a", "b", "\0", "\u{1}"][self.below(4) as usize]).collect()
        }

        fn field(&mut self) -> Field {
            match self.below(6) {
                0 => Field::Bytes(self.text(), self.text().into_bytes()),
                1 => Field::Optional(self.text(), (self.below(2) == 0).then(|| self.text())),
                2 => Field::Number(self.text(), self.below(3)),
                3 => Field::Flag(self.text(), self.below(2) == 0),
                4 => Field::List(self.text(), self.below(3) as usize),
                _ => Field::Digest(self.text(), self.text().into_bytes()),
            }
        }
    }

    #[test]
    fn equal_fields_give_equal_keys_and_no_two_others_do() {
        let mut random = Random(0x5eed);
        let mut seen: HashMap<Key, (String, Vec<Field>)> = HashMap::new();
        for _ in 0..20_000 {
            let domain = ["run", "copy"][random.below(2) as usize].to_owned();
            let fields: Vec<Field> = (0..random.below(4)).map(|_| random.field()).collect();
            // Text that is there is written as bytes are: that is one field, not two.
            let normal: Vec<Field> = fields
                .iter()
                .map(|field| match field {
                    Field::Optional(name, Some(value)) => {
                        Field::Bytes(name.clone(), value.clone().into_bytes())
                    }
                    other => other.clone(),
                })
                .collect();
            let made = key(&domain, &fields);
            assert_eq!(made, key(&domain, &normal));
            let known = seen.entry(made).or_insert_with(|| (domain.clone(), normal.clone()));
            assert_eq!(*known, (domain, normal));
        }
        assert!(seen.len() > 5_000, "{} different ones", seen.len());
    }

    #[test]
    fn a_key_is_its_hex() {
        let made = key("run", &[]);
        assert_eq!(Key::from_hex(&made.hex()), Some(made));
        assert_eq!(made.hex().len(), 64);
        for text in ["", "x", &made.hex()[1..]] {
            assert_eq!(Key::from_hex(text), None);
        }
    }
}
