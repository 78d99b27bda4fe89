//! What the cache holds of one step: an OCI manifest, so that any registry keeps it and any tool can
//! look at it, whose annotations say what it is good for.
//!
//! The manifest alone is enough to use an entry, so that a lookup is one request. It names itself
//! (key), what it was made upon (parent) and its layer, and a seal over all of that: a document that
//! was torn, edited or put under another name does not fit any more.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use snapshot::Digest;

use super::key::{Key, KeyWriter};
use super::signing::Trust;
use crate::image::{
    Descriptor, History, ImageConfig, ImageFormat, Layer, LayerCompression, Manifest, Platform,
    RootFs, descriptor, digest_of, size_of,
};

/// Largest entry that is read, in bytes.
pub(super) const LIMIT_BYTES: u64 = 1 << 20;

pub(super) const VERSION: &str = "zuwai.cache.version";
pub(super) const KEY: &str = "zuwai.cache.key";
pub(super) const PARENT: &str = "zuwai.cache.parent";
pub(super) const DIFF_ID: &str = "zuwai.cache.diff-id";
pub(super) const CREATED: &str = "org.opencontainers.image.created";
pub(super) const THIS_VERSION: &str = "2";

/// Of entries with more than one layer, which earlier programs do not understand.
pub(super) const STACKED_VERSION: &str = "3";

/// What a layer's headers say, in the form in which they are kept on disk.
pub(super) const HEADERS_TYPE: &str = "application/vnd.zuwai.layer.headers.v1";

/// Stands for the layer of a step that changed nothing: image-spec wants one.
const NO_LAYER_TYPE: &str = "application/vnd.oci.empty.v1+json";
pub(super) const NO_LAYER: &[u8] = b"{}";

/// What a step has made.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What the step was made of.
    pub key: Key,
    /// Names the very layers that it was made upon, not only what those were made of: what two
    /// builders made of the same does not mix.
    pub parent: Key,
    /// Its layer; `None`: it changed nothing.
    pub layer: Option<Layer>,
    /// Where it is said what the layer's headers say, so that who only has to know that need not
    /// fetch the layer.
    pub headers: Option<Descriptor>,
    /// Layers of earlier builds that its layer goes on from, lowest first; none without a layer.
    pub below: Vec<StoredLayer>,
    /// When it was made.
    pub created: Timestamp,
}

/// A layer that the cache has.
#[derive(Clone, Debug)]
pub struct StoredLayer {
    /// Which.
    pub layer: Layer,
    /// As [`Entry::headers`].
    pub headers: Option<Descriptor>,
}

/// Why an entry cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// It is no manifest.
    #[error("it is no OCI manifest: {0}")]
    Manifest(String),
    /// An annotation is missing or malformed.
    #[error("its annotation `{0}` is missing or malformed")]
    Annotation(&'static str),
    /// It is that of another step.
    #[error("it is the entry of `{found}`")]
    Key {
        /// The key that it names.
        found: String,
    },
    /// Its layers are not one, or of a kind that nobody can read.
    #[error("its layer cannot be used: {0}")]
    Layer(String),
    /// Its parts are not from one hand.
    #[error("its seal is broken")]
    Seal,
    /// It has no signature, and only what is signed is believed.
    #[error("it is not signed")]
    Unsigned,
    /// Its signature is of somebody else, or of something else.
    #[error("its signature is not by the key of `--cache-signing-key`")]
    Signature,
}

/// A manifest with the small blobs that it names.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) manifest: Vec<u8>,
    pub(super) blobs: Vec<(Descriptor, Vec<u8>)>,
}

impl Document {
    /// Makes an image's manifest of one config.
    pub(super) fn new(
        (config_descriptor, config): (Descriptor, Vec<u8>),
        layers: &[Descriptor],
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, serde_json::Error> {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": ImageFormat::Oci.manifest_type(),
            "config": config_descriptor,
            "layers": layers,
            "annotations": annotations,
        });
        let manifest = serde_json::to_vec(&manifest)?;
        Ok(Self { manifest, blobs: vec![(config_descriptor, config)] })
    }
}

impl Entry {
    /// Returns the documents; `created_by` and `platform` are for people and tools that look at
    /// them.
    pub(super) fn encode(
        &self,
        created_by: &str,
        platform: &Platform,
        trust: &Trust,
    ) -> Result<Document, serde_json::Error> {
        let history = History {
            created: Some(self.created.to_string()),
            created_by: Some(created_by.to_owned()),
            empty_layer: self.layer.is_none(),
            ..History::default()
        };
        let stored = self.layers();
        let diff_ids = stored.iter().map(|stored| stored.layer.diff_id.to_string()).collect();
        let config = ImageConfig {
            created: Some(self.created.to_string()),
            os: platform.os.clone(),
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            history: vec![history; stored.len().max(1)],
            rootfs: RootFs { diff_ids, ..RootFs::default() },
            ..ImageConfig::default()
        };
        let config = serde_json::to_vec(&config)?;
        let format = ImageFormat::Oci;
        let config_descriptor =
            descriptor(format.config_type(), &Digest::of(&config), config.len() as u64);
        let mut annotations = BTreeMap::from([
            (VERSION.to_owned(), version(std::slice::from_ref(self)).to_owned()),
            (KEY.to_owned(), self.key.hex()),
            (PARENT.to_owned(), self.parent.hex()),
            (CREATED.to_owned(), self.created.to_string()),
        ]);
        trust.seal(&self.seal(), &mut annotations);
        if let Some(layer) = &self.layer {
            annotations.insert(DIFF_ID.to_owned(), layer.diff_id.to_string());
        }
        let mut layers: Vec<Descriptor> = self.below.iter().flat_map(StoredLayer::named).collect();
        layers.push(layer_descriptor(self.layer.as_ref()));
        layers.extend(self.headers.clone());
        Document::new((config_descriptor, config), &layers, &annotations)
    }

    /// Reads the entry of `key`.
    ///
    /// # Errors
    /// [`EntryError`] when it is not that, or not whole, or nobody's who is believed.
    pub(super) fn decode(manifest: &[u8], key: &Key, trust: &Trust) -> Result<Self, EntryError> {
        let manifest: Manifest = serde_json::from_slice(manifest)
            .map_err(|error| EntryError::Manifest(error.to_string()))?;
        let annotations = manifest.annotations.unwrap_or_default();
        let part = Part(&annotations);
        part.check_key(key)?;
        let (its_key, its_parent) = (*key, part.key(PARENT)?);
        let created = part.time()?;
        let (lower, layer, headers) = match manifest.layers.as_slice() {
            [lower @ .., layer, headers] if headers.media_type == HEADERS_TYPE => {
                kind_of(headers, HEADERS_TYPE)?;
                (lower, layer, Some(bare(headers)))
            }
            [lower @ .., layer] => (lower, layer, None),
            [] => return Err(EntryError::Layer("there is none".to_owned())),
        };
        let layer = parse_layer(layer, part)?;
        let mut below: Vec<StoredLayer> = Vec::new();
        for found in lower {
            put_below(&mut below, found)?;
        }
        if layer.is_none() && !below.is_empty() {
            return Err(EntryError::Layer("it is none, on top of others".to_owned()));
        }
        let entry = Self { key: its_key, parent: its_parent, layer, headers, below, created };
        trust.check(&entry.seal(), &annotations)?;
        Ok(entry)
    }

    /// Returns all its layers, lowest first.
    pub fn layers(&self) -> Vec<StoredLayer> {
        let top =
            self.layer.clone().map(|layer| StoredLayer { layer, headers: self.headers.clone() });
        self.below.iter().cloned().chain(top).collect()
    }

    /// Returns a digest of all that counts. Whoever can write to a cache can compute it: it tells
    /// damage, not intent, and is what a signature is over.
    pub(super) fn seal(&self) -> Key {
        let mut writer = KeyWriter::new("entry");
        writer.key("key", &self.key);
        writer.key("parent", &self.parent);
        writer.text("created", &self.created.to_string());
        writer.list("layers", usize::from(self.layer.is_some()));
        self.layer.iter().for_each(|layer| seal_layer(&mut writer, layer));
        seal_headers(&mut writer, self.headers.as_ref());
        // Entries of one layer have the seal that they had when there were no others.
        if !self.below.is_empty() {
            writer.list("below", self.below.len());
        }
        for StoredLayer { layer, headers } in &self.below {
            seal_layer(&mut writer, layer);
            seal_headers(&mut writer, headers.as_ref());
        }
        writer.finish()
    }
}

fn seal_layer(writer: &mut KeyWriter, Layer { descriptor, diff_id }: &Layer) {
    writer.text("media type", &descriptor.media_type);
    writer.text("digest", &descriptor.digest);
    writer.bytes("size", &descriptor.size.to_be_bytes());
    writer.digest("diff id", diff_id);
}

fn seal_headers(writer: &mut KeyWriter, headers: Option<&Descriptor>) {
    writer.list("headers", usize::from(headers.is_some()));
    if let Some(headers) = headers {
        writer.text("digest", &headers.digest);
        writer.bytes("size", &headers.size.to_be_bytes());
    }
}

/// The annotations of a document, or of one of its layers.
#[derive(Clone, Copy)]
pub(super) struct Part<'a>(pub(super) &'a BTreeMap<String, String>);

impl<'a> Part<'a> {
    fn get(self, name: &'static str) -> Result<&'a str, EntryError> {
        self.0.get(name).map(String::as_str).ok_or(EntryError::Annotation(name))
    }

    /// Checks that it is of a version that is understood, and of this key.
    pub(super) fn check_key(self, key: &Key) -> Result<(), EntryError> {
        let (THIS_VERSION | STACKED_VERSION) = self.get(VERSION)? else {
            return Err(EntryError::Annotation(VERSION));
        };
        match self.key(KEY)? {
            its_key if its_key == *key => Ok(()),
            its_key => Err(EntryError::Key { found: its_key.hex() }),
        }
    }

    pub(super) fn key(self, name: &'static str) -> Result<Key, EntryError> {
        Key::from_hex(self.get(name)?).ok_or(EntryError::Annotation(name))
    }

    pub(super) fn time(self) -> Result<Timestamp, EntryError> {
        self.get(CREATED)?.parse().map_err(|_| EntryError::Annotation(CREATED))
    }
}

impl StoredLayer {
    /// Names the layer, with its DiffID, and what its headers say.
    pub(super) fn named(&self) -> Vec<Descriptor> {
        let diff_id = (DIFF_ID.to_owned(), self.layer.diff_id.to_string());
        let annotations = Some(BTreeMap::from([diff_id]));
        let layer = Descriptor { annotations, ..self.layer.descriptor.clone() };
        std::iter::once(layer).chain(self.headers.clone()).collect()
    }
}

/// Reads what names one of the lower layers of an entry, or what the last one's headers say.
pub(super) fn put_below(
    below: &mut Vec<StoredLayer>,
    found: &Descriptor,
) -> Result<(), EntryError> {
    if found.media_type == HEADERS_TYPE {
        kind_of(found, HEADERS_TYPE)?;
        let owner = below.last_mut().filter(|last| last.headers.is_none());
        let owner = owner.ok_or_else(|| EntryError::Layer("headers of none".to_owned()))?;
        owner.headers = Some(bare(found));
        return Ok(());
    }
    let none = BTreeMap::new();
    let part = Part(found.annotations.as_ref().unwrap_or(&none));
    let layer = parse_layer(found, part)?;
    let layer = layer.ok_or_else(|| EntryError::Layer("a lower one is none".to_owned()))?;
    below.push(StoredLayer { layer, headers: None });
    Ok(())
}

/// Returns the version of a document with these entries: the first that can say what they are.
pub(super) fn version(entries: &[Entry]) -> &'static str {
    match entries.iter().all(|entry| entry.below.is_empty()) {
        true => THIS_VERSION,
        false => STACKED_VERSION,
    }
}

/// Reads the layer of an entry, whose DiffID is among `part`; `None` where it has none.
pub(super) fn parse_layer(layer: &Descriptor, part: Part<'_>) -> Result<Option<Layer>, EntryError> {
    if layer.media_type == NO_LAYER_TYPE {
        return Ok(None);
    }
    let unusable = |why: &dyn std::fmt::Display| EntryError::Layer(why.to_string());
    digest_of(layer).map_err(|error| unusable(&error))?;
    size_of(layer).map_err(|error| unusable(&error))?;
    LayerCompression::of_layer(&layer.media_type).map_err(|error| unusable(&error))?;
    let diff_id = part.get(DIFF_ID)?.parse().map_err(|_| EntryError::Annotation(DIFF_ID))?;
    Ok(Some(Layer { descriptor: bare(layer), diff_id }))
}

/// Checks what a small blob is.
pub(super) fn kind_of(found: &Descriptor, media_type: &str) -> Result<(), EntryError> {
    let unusable = |why: &dyn std::fmt::Display| EntryError::Layer(why.to_string());
    if found.media_type != media_type {
        return Err(unusable(&format!("`{}` is not `{media_type}`", found.media_type)));
    }
    digest_of(found).map_err(|error| unusable(&error))?;
    size_of(found).map_err(|error| unusable(&error)).map(drop)
}

/// Returns what counts of a descriptor: of what else one can say (URLs, data), nothing is taken over.
pub(super) fn bare(found: &Descriptor) -> Descriptor {
    Descriptor {
        media_type: found.media_type.clone(),
        digest: found.digest.clone(),
        size: found.size,
        ..Descriptor::default()
    }
}

/// Returns what names a layer, or that there is none.
pub(super) fn layer_descriptor(layer: Option<&Layer>) -> Descriptor {
    layer.map_or_else(no_layer, |layer| layer.descriptor.clone())
}

/// Returns what names the headers of a layer.
pub(super) fn headers_descriptor(stored: &[u8]) -> Descriptor {
    descriptor(HEADERS_TYPE, &Digest::of(stored), stored.len() as u64)
}

/// Returns the blob that stands for no layer.
pub(super) fn no_layer() -> Descriptor {
    descriptor(NO_LAYER_TYPE, &Digest::of(NO_LAYER), NO_LAYER.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        KeyWriter::new(text).finish()
    }

    fn entry(has_layer: bool) -> Entry {
        let kind = ImageFormat::Oci.layer_type(LayerCompression::Gzip).unwrap();
        let layer = Layer {
            descriptor: descriptor(kind, &Digest::of(b"blob"), 4),
            diff_id: Digest::of(b"tar"),
        };
        Entry {
            key: key("a"),
            parent: key("b"),
            layer: has_layer.then_some(layer),
            headers: has_layer.then(|| headers_descriptor(b"headers")),
            below: Vec::new(),
            created: "2026-01-02T03:04:05Z".parse().unwrap(),
        }
    }

    /// With two lower layers, of which one has headers.
    fn stacked() -> Entry {
        let mut entry = entry(true);
        let layer = |name: &[u8]| Layer {
            descriptor: Descriptor {
                digest: Digest::of(name).to_string(),
                ..entry.layer.clone().unwrap().descriptor
            },
            diff_id: Digest::of(&[name, name].concat()),
        };
        let lowest =
            StoredLayer { layer: layer(b"one"), headers: Some(headers_descriptor(b"more")) };
        entry.below = vec![lowest, StoredLayer { layer: layer(b"two"), headers: None }];
        entry
    }

    fn encoded(entry: &Entry) -> Vec<u8> {
        entry.encode("RUN x", &Platform::of_this_machine(), &Trust::Writers).unwrap().manifest
    }

    #[test]
    fn an_entry_is_read_back_as_it_was_written() {
        for written in [entry(true), entry(false), stacked()] {
            let read = Entry::decode(&encoded(&written), &key("a"), &Trust::Writers).unwrap();
            assert_eq!(format!("{read:?}"), format!("{written:?}"));
        }
    }

    #[test]
    fn an_entry_of_something_else_is_refused() {
        let written = encoded(&entry(true));
        let found = key("a").hex();
        let refused = Entry::decode(&written, &key("x"), &Trust::Writers).unwrap_err();
        assert_eq!(refused, EntryError::Key { found });
    }

    #[test]
    fn no_damaged_byte_gives_another_entry() {
        for entry in [entry(true), entry(false), stacked()] {
            let written = encoded(&entry);
            let whole = format!("{entry:?}");
            for at in 0..written.len() {
                for damage in [1, 0x20, 0x80] {
                    let mut damaged = written.clone();
                    damaged[at] ^= damage;
                    if let Ok(read) = Entry::decode(&damaged, &key("a"), &Trust::Writers) {
                        assert_eq!(format!("{read:?}"), whole, "byte {at}");
                    }
                }
                let torn = &written[..at];
                assert!(Entry::decode(torn, &key("a"), &Trust::Writers).is_err(), "torn at {at}");
            }
        }
    }

    #[test]
    fn a_swapped_layer_breaks_the_seal() {
        let text = String::from_utf8(encoded(&entry(true))).unwrap();
        for (from, to) in [
            (Digest::of(b"blob").hex(), Digest::of(b"other").hex()),
            (Digest::of(b"tar").hex(), Digest::of(b"other").hex()),
            ("2026-01-02T03".to_owned(), "2027-01-02T03".to_owned()),
        ] {
            let forged = text.replace(&from, &to);
            assert_ne!(forged, text);
            let read = Entry::decode(forged.as_bytes(), &key("a"), &Trust::Writers);
            assert_eq!(read.unwrap_err(), EntryError::Seal);
        }
    }
}
