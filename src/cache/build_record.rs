//! What a whole build has taken from the cache and put there: one document that is enough for the
//! next build of the same, so that a lookup of all its steps is one request.
//!
//! It lists entries as they are on their own; those stay, for other builds that share some of them.
//! Its config is not an image's: it says what every step was made of, for whoever wants to know why
//! the next build differs, and is fetched only then.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapshot::Digest;

use super::entry::{
    CREATED, DIFF_ID, Document, Entry, EntryError, HEADERS_TYPE, KEY, PARENT, Part, StoredLayer,
    VERSION, bare, kind_of, layer_descriptor, parse_layer, put_below, version,
};
use super::key::{Key, KeyWriter};
use super::made_of::PartsRecord;
use super::signing::Trust;
use crate::image::{Descriptor, Manifest, descriptor, digest_of};

/// The config's type.
const PARTS_TYPE: &str = "application/vnd.zuwai.cache.parts.v1+zstd";

/// Most steps that are listed.
const STEP_COUNT: usize = 2000;

/// Largest list of parts that is read, in bytes, decompressed.
const PARTS_LIMIT_BYTES: usize = 64 << 20;

/// What a build has in the cache.
#[derive(Clone, Debug)]
pub struct BuildRecord {
    /// Which build.
    pub key: Key,
    /// Its steps' entries.
    pub entries: Vec<Entry>,
    /// What all its steps were made of.
    pub parts: Descriptor,
}

/// What all steps of a build were made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildParts {
    /// By stage.
    pub stages: Vec<StageParts>,
}

/// What the steps of a stage were made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageParts {
    /// What it starts from.
    pub base: Option<StepParts>,
    /// By step; `None` for those without a key.
    pub steps: Vec<Option<StepParts>>,
}

/// What a step was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepParts {
    /// Its key.
    pub key: String,
    /// What names it whatever files it reads, where it reads some ([`super::MadeOf::ground`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground: Option<String>,
    /// Its parts.
    #[serde(flatten)]
    pub parts: PartsRecord,
}

impl BuildParts {
    /// Returns the form that is stored.
    pub(super) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let text = serde_json::to_vec(self)?;
        zstd::bulk::compress(&text, 0).map_err(serde_json::Error::io)
    }

    /// Reads the stored form; `None` when it is none.
    pub(super) fn decode(stored: &[u8]) -> Option<Self> {
        let text = zstd::bulk::decompress(stored, PARTS_LIMIT_BYTES).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// Names the layer of an entry in the list of a build.
fn layer(entry: &Entry) -> Descriptor {
    let mut annotations = BTreeMap::from([
        (KEY.to_owned(), entry.key.hex()),
        (PARENT.to_owned(), entry.parent.hex()),
        (CREATED.to_owned(), entry.created.to_string()),
    ]);
    if let Some(layer) = &entry.layer {
        annotations.insert(DIFF_ID.to_owned(), layer.diff_id.to_string());
    }
    Descriptor { annotations: Some(annotations), ..layer_descriptor(entry.layer.as_ref()) }
}

/// Returns the document of a build that has these entries, and the descriptor of what they are made
/// of.
pub(super) fn encode(
    key: &Key,
    entries: &[Entry],
    parts: &BuildParts,
    trust: &Trust,
) -> Result<Document, serde_json::Error> {
    let config = parts.encode()?;
    let config_descriptor = descriptor(PARTS_TYPE, &Digest::of(&config), config.len() as u64);
    let created = Timestamp::now();
    let listed = entries.get(..STEP_COUNT).unwrap_or(entries);
    let mut annotations = BTreeMap::from([
        (VERSION.to_owned(), version(listed).to_owned()),
        (KEY.to_owned(), key.hex()),
        (CREATED.to_owned(), created.to_string()),
    ]);
    trust.seal(&seal(key, &created, entries, &config_descriptor), &mut annotations);
    let mut layers = Vec::new();
    for entry in listed {
        layers.push(layer(entry));
        layers.extend(entry.headers.clone());
        layers.extend(entry.below.iter().flat_map(StoredLayer::named));
    }
    Document::new((config_descriptor, config), &layers, &annotations)
}

impl BuildRecord {
    /// Reads the document of the build `key`.
    ///
    /// # Errors
    /// [`EntryError`] when it is not that, or not whole, or nobody's who is believed.
    pub(super) fn decode(manifest: &[u8], key: &Key, trust: &Trust) -> Result<Self, EntryError> {
        let manifest: Manifest = serde_json::from_slice(manifest)
            .map_err(|error| EntryError::Manifest(error.to_string()))?;
        let annotations = manifest.annotations.unwrap_or_default();
        let of_build = Part(&annotations);
        of_build.check_key(key)?;
        let created = of_build.time()?;
        let mut entries: Vec<Entry> = Vec::new();
        let none = BTreeMap::new();
        for found in &manifest.layers {
            let has_key =
                found.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(KEY));
            if let Some(entry) = entries.last_mut()
                && !has_key
                && (found.media_type != HEADERS_TYPE || !entry.below.is_empty())
            {
                put_below(&mut entry.below, found)?;
                continue;
            }
            if found.media_type == HEADERS_TYPE {
                digest_of(found).map_err(|error| EntryError::Layer(error.to_string()))?;
                let owner = entries.last_mut().filter(|entry| entry.headers.is_none());
                let owner = owner.ok_or_else(|| EntryError::Layer("headers of none".to_owned()))?;
                owner.headers = Some(bare(found));
                continue;
            }
            let annotations = found.annotations.as_ref().unwrap_or(&none);
            let part = Part(annotations);
            entries.push(Entry {
                key: part.key(KEY)?,
                parent: part.key(PARENT)?,
                layer: parse_layer(found, part)?,
                headers: None,
                below: Vec::new(),
                created: part.time()?,
            });
        }
        kind_of(&manifest.config, PARTS_TYPE)?;
        let parts = bare(&manifest.config);
        trust.check(&seal(key, &created, &entries, &parts), &annotations)?;
        Ok(Self { key: *key, entries, parts })
    }

    /// Tells whether it lists these entries and no others.
    pub fn lists(&self, entries: &[Entry]) -> bool {
        let seals = |entries: &[Entry]| entries.iter().map(Entry::seal).collect::<BTreeSet<_>>();
        seals(&self.entries) == seals(entries)
    }
}

fn seal(key: &Key, created: &Timestamp, entries: &[Entry], parts: &Descriptor) -> Key {
    let mut writer = KeyWriter::new("build record");
    writer.key("key", key);
    writer.text("created", &created.to_string());
    writer.list("entries", entries.len());
    entries.iter().for_each(|entry| writer.key("entry", &entry.seal()));
    writer.text("parts", &parts.digest);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::MadeOf;
    use crate::image::ImageFormat;
    use crate::image::{Layer, LayerCompression};

    fn entry(name: &str, has_layer: bool, has_headers: bool) -> Entry {
        let kind = ImageFormat::Oci.layer_type(LayerCompression::Gzip).unwrap();
        let layer = Layer {
            descriptor: descriptor(kind, &Digest::of(name.as_bytes()), 4),
            diff_id: Digest::of(b"tar"),
        };
        let headers = descriptor(HEADERS_TYPE, &Digest::of(b"headers"), 7);
        Entry {
            key: KeyWriter::new(name).finish(),
            parent: KeyWriter::new("parent").finish(),
            layer: has_layer.then_some(layer),
            headers: has_headers.then_some(headers),
            below: Vec::new(),
            created: "2026-01-02T03:04:05Z".parse().unwrap(),
        }
    }

    fn parts() -> BuildParts {
        let mut made_of = MadeOf::default();
        made_of.file("a".to_owned(), |writer| writer.text("content", "a"));
        let step = StepParts {
            key: made_of.key("copy", None).hex(),
            ground: Some("ground".to_owned()),
            parts: made_of.record(),
        };
        let stage = StageParts { base: None, steps: vec![None, Some(step)] };
        BuildParts { stages: vec![stage] }
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let key = KeyWriter::new("it").finish();
        let mut entries =
            vec![entry("a", true, true), entry("b", false, false), entry("c", true, false)];
        let lower = |name, has_headers| entry(name, true, has_headers).layers();
        entries[0].below = [lower("lowest", true), lower("lower", false)].concat();
        entries[2].below = lower("lower", true);
        let document = encode(&key, &entries, &parts(), &Trust::Writers).unwrap();
        let read = BuildRecord::decode(&document.manifest, &key, &Trust::Writers).unwrap();
        assert_eq!(format!("{:?}", read.entries), format!("{entries:?}"));
        let (descriptor, config) = &document.blobs[0];
        assert_eq!(read.parts.digest, descriptor.digest);
        assert_eq!(BuildParts::decode(config), Some(parts()));
        assert_eq!(BuildParts::decode(b"x"), None);
        let other = KeyWriter::new("other").finish();
        let refused = BuildRecord::decode(&document.manifest, &other, &Trust::Writers).unwrap_err();
        assert_eq!(refused, EntryError::Key { found: key.hex() });
    }

    #[test]
    fn no_damaged_byte_gives_another_record() {
        let key = KeyWriter::new("it").finish();
        let mut entries = vec![entry("a", true, true), entry("b", false, false)];
        entries[0].below = entry("lower", true, true).layers();
        let written = encode(&key, &entries, &parts(), &Trust::Writers).unwrap().manifest;
        let whole = format!("{entries:?}");
        for place in 0..written.len() {
            let mut damaged = written.clone();
            damaged[place] ^= 1;
            if let Ok(read) = BuildRecord::decode(&damaged, &key, &Trust::Writers) {
                assert_eq!(format!("{:?}", read.entries), whole, "{place}");
            }
        }
    }
}
