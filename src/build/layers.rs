//! Changes to layers: written, compressed and kept, and on their way to registries where they are
//! part of the image.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use snapshot::layer::{Contents, Listener, WrittenLayer, write_layer};
use snapshot::{Changeset, Digest, FileKind, RootfsPath, Stamp};

use super::error::StepError;
use super::options::UnchangedSteps;
use super::session::Session;
use crate::cache::StoredLayer;
use crate::context::Known;
use crate::image::{Image, Layer, descriptor};
use crate::plan::Step;
use crate::report::event::{Event, Gauge, LayerCounts, LongWork, Phase};
use crate::unpack::{HeaderIndex, HeaderNotes, UnpackOptions};
use crate::uploads::LayerSink;

/// Whether a stage's changes become layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layers {
    /// One a step, or one a stage with `--single-snapshot`; they go to registries while the build
    /// goes on.
    Pushed,
    /// As many, for stages that start from this one.
    Kept,
    /// Only its files are read, by later stages.
    NotNeeded,
}

impl Layers {
    /// Returns where a layer goes.
    pub(super) fn sink(self, session: &Session<'_>) -> Result<LayerSink, StepError> {
        let sink = match self {
            Self::Pushed => session.uploads.sink(&session.store, session.events),
            Self::Kept | Self::NotNeeded => LayerSink::kept(&session.store),
        };
        sink.map_err(StepError::Store)
    }
}

/// A layer that this build has written.
#[derive(Clone, Debug)]
pub(super) struct NewLayer {
    pub(super) layer: Layer,
    /// What its headers say, where a cache keeps that.
    pub(super) headers: Option<Arc<HeaderIndex>>,
}

/// What is made of a layer's headers while it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headers {
    /// They are noted, for the layer cache.
    Noted,
    /// Nothing.
    NotNeeded,
}

/// Who is told of a layer while it is written.
pub(super) struct Told<'a> {
    pub(super) headers: Headers,
    /// Told the digest of each regular file's bytes and of each link's target.
    pub(super) on_content: &'a mut dyn FnMut(&RootfsPath, &Digest),
}

/// What a step has made.
#[derive(Default)]
pub(super) struct Made {
    /// Layers of an earlier build that it goes on from, lowest first.
    pub(super) earlier: Vec<StoredLayer>,
    /// Its own layer; `None`: it changed nothing more.
    pub(super) new: Option<NewLayer>,
    /// What is in files of a context that went there, by what these were like.
    pub(super) known: HashMap<Stamp, Known>,
}

impl Made {
    /// Returns all its layers, lowest first.
    pub(super) fn into_layers(self) -> Vec<Layer> {
        let earlier = self.earlier.into_iter().map(|stored| stored.layer);
        earlier.chain(self.new.map(|new| new.layer)).collect()
    }
}

/// Adds the layers of a step to an image, each with the same words.
pub(super) fn append(
    session: &Session<'_>,
    kind: Layers,
    image: Image,
    layers: Vec<Layer>,
    step: &Step,
) -> Result<Image, StepError> {
    let history = || session.history(step.history.as_ref().unwrap_or(&step.text));
    Ok(match layers.is_empty() {
        true if step.history.is_none() => image,
        true => image.append(or_empty(session, kind, None)?, history()),
        false => {
            layers.into_iter().fold(image, |image, layer| image.append(Some(layer), history()))
        }
    })
}

/// Writes changes as a layer.
pub(super) fn write(
    session: &Session<'_>,
    changeset: &Changeset,
    contents: Contents,
    sink: LayerSink,
    told: Told<'_>,
) -> Result<NewLayer, StepError> {
    let start = Instant::now();
    let options = session.layer_options()?;
    let gauge = Gauge::new(LongWork::Layer, "", Some(file_bytes(changeset)));
    session.events.send(Event::WorkStarted(gauge.clone()));
    let contents = contents.counted_by(gauge.counter());
    let Told { headers, on_content } = told;
    let notes = match headers {
        Headers::Noted => Some(HeaderNotes::new(UnpackOptions::default().limits)),
        Headers::NotNeeded => None,
    };
    let mut listeners = Listeners { notes, on_content };
    let (written, sink) = write_layer(&contents, changeset, &options, sink, &mut listeners)?;
    let notes = listeners.notes;
    let WrittenLayer { digest, diff_id, size_bytes, tar_bytes, stats, .. } = written;
    sink.commit(Some((&digest, size_bytes))).map_err(StepError::Store)?;
    let elapsed = start.elapsed();
    session.events.send(Event::PhaseTimed { phase: Phase::Layer, elapsed });
    session.events.send(Event::LayerWritten {
        digest: digest.to_string(),
        size_bytes,
        tar_bytes,
        elapsed,
    });
    session.events.send(Event::LayerCounted(LayerCounts {
        digest: digest.to_string(),
        entry_count: stats.entry_count,
        opened_count: stats.opened_count,
        read_bytes: stats.read_bytes,
        hashed_bytes: stats.hashed_bytes,
        compressed_bytes: tar_bytes,
        spooled_bytes: size_bytes,
        restart_count: stats.restart_count,
    }));
    let media_type = session.layer_media_type();
    let layer = Layer { descriptor: descriptor(media_type, &digest, size_bytes), diff_id };
    let headers = notes.and_then(|notes| notes.finish(digest, diff_id)).map(Arc::new);
    Ok(NewLayer { layer, headers })
}

/// Both who listens to what a layer holds and what notes its headers.
struct Listeners<'a> {
    notes: Option<HeaderNotes>,
    on_content: &'a mut dyn FnMut(&RootfsPath, &Digest),
}

impl Listener for Listeners<'_> {
    fn begin(&mut self) {
        self.notes.iter_mut().for_each(Listener::begin);
    }

    fn header(&mut self, header: &[u8]) {
        self.notes.iter_mut().for_each(|notes| notes.header(header));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.notes.iter_mut().for_each(|notes| notes.bytes(bytes));
    }

    fn content(&mut self, path: &RootfsPath, digest: &Digest) {
        self.notes.iter_mut().for_each(|notes| notes.content(path, digest));
        (self.on_content)(path, digest);
    }
}

/// Returns a step's layer, or where it has none and each step shall have one, a layer without
/// entries.
pub(super) fn or_empty(
    session: &Session<'_>,
    layers: Layers,
    layer: Option<Layer>,
) -> Result<Option<Layer>, StepError> {
    match session.options.layers.unchanged {
        UnchangedSteps::EmptyLayer if layer.is_none() => {
            let (sink, nothing) = (layers.sink(session)?, Changeset::default());
            let told = Told { headers: Headers::NotNeeded, on_content: &mut |_, _| {} };
            let new = write(session, &nothing, Contents::none(), sink, told)?;
            Ok(Some(new.layer))
        }
        UnchangedSteps::EmptyLayer | UnchangedSteps::NoLayer => Ok(layer),
    }
}

/// Returns how many bytes of files are to be read for a layer.
fn file_bytes(changeset: &Changeset) -> u64 {
    let mut inodes = HashSet::new();
    let files = changeset.iter().filter_map(|change| change.metadata.as_ref());
    files
        .filter(|metadata| metadata.kind == FileKind::Regular)
        .filter(|metadata| metadata.nlink < 2 || inodes.insert(metadata.inode()))
        .map(|metadata| metadata.size)
        .sum()
}
