//! Writes the changes of a step as a layer into the store, followed by its uploads.

use std::collections::HashSet;
use std::time::Instant;

use snapshot::layer::{WrittenLayer, write_layer};
use snapshot::{Changeset, FileKind};

use super::error::StepError;
use super::session::Session;
use super::steps::Files;
use crate::execute::ExecuteError;
use crate::image::{Layer, descriptor};
use crate::report::event::{Event, Gauge, LayerCounts, LongWork, Phase};
use crate::uploads::LayerSink;

/// Writes `changeset` into `sink` and tells what it took.
pub(super) fn write(
    session: &Session<'_>,
    files: &mut Files,
    changeset: &Changeset,
    sink: LayerSink,
) -> Result<Layer, StepError> {
    let start = Instant::now();
    let options = session.layer_options()?;
    let contents = files.home.contents(&files.rootfs, changeset).map_err(ExecuteError::from)?;
    let gauge = Gauge::new(LongWork::Layer, "", Some(file_bytes(changeset)));
    session.events.send(Event::WorkStarted(gauge.clone()));
    let contents = contents.counted_by(gauge.counter());
    let snapshotter = &mut files.snapshotter;
    let (written, sink) =
        write_layer(&contents, changeset, &options, sink, &mut |path, digest| {
            snapshotter.record_content(path, digest);
        })?;
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
    Ok(Layer { descriptor: descriptor(media_type, &digest, size_bytes), diff_id })
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
