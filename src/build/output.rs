//! What becomes of the finished image: tarball, layout, push, and digest files once all is true.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use futures_util::future::join;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::Semaphore;

use super::bases::{Bases, Origin};
use super::error::BuildError;
use super::options::{Destination, DigestSink, Push, Timestamps};
use super::session::Session;
use super::timed;
use crate::export::{self, DestinationDigest};
use crate::image::{
    Descriptor, EncodedImage, Image, Reference, digest_of, is_foreign_layer, size_of,
};
use crate::registry::{BlobUpload, OpenBlob, Presence, PushedBlob, TransferStats};
use crate::report::event::{Background, BlobRoute, Event, Gauge, LongWork, Phase, Transfer};
use crate::uploads::Arrival;

/// Blobs of one image that are uploaded at once.
const PARALLEL_PUSHES: usize = 4;

/// Blobs that a registry is asked for at once.
const PARALLEL_QUESTIONS: usize = 16;

/// Writes and pushes the image as the options say.
///
/// Digest files come last and name only what is true: when some destinations fail, they list the
/// others, and the first failure is returned.
pub(super) fn deliver(
    session: &Session<'_>,
    bases: &Bases<'_>,
    image: &Image,
) -> Result<EncodedImage, BuildError> {
    let encoded = image.encode().map_err(BuildError::Encode)?;
    session.events.send(Event::ImageBuilt { digest: encoded.digest.to_string() });
    timed(session.events, Phase::Export, || write_files(session, bases, &encoded))?;

    let output = &session.options.output;
    let mut named = Vec::new();
    let mut failure = None;
    if output.push == Push::No {
        session.events.send(Event::PushSkipped);
        named.clone_from(&output.destinations);
    } else {
        for destination in &output.destinations {
            if let Err(interrupted) = session.interrupt.check() {
                failure.get_or_insert(interrupted.into());
                break;
            }
            match timed(session.events, Phase::Push, || push(session, bases, &encoded, destination))
            {
                Ok(()) => named.push(destination.clone()),
                Err(error) if failure.is_none() => failure = Some(error),
                Err(error) => {
                    tracing::error!(destination = %destination.typed, %error, "push failed too");
                }
            }
        }
    }
    match failure {
        None => write_digest_files(session, &encoded, &named)?,
        Some(error) if named.is_empty() => return Err(error),
        Some(error) => {
            write_digest_files(session, &encoded, &named)?;
            return Err(error);
        }
    }
    Ok(encoded)
}

fn write_files(
    session: &Session<'_>,
    bases: &Bases<'_>,
    encoded: &EncodedImage,
) -> Result<(), BuildError> {
    let output = &session.options.output;
    let references: Vec<Reference> =
        output.destinations.iter().map(|one| one.reference.clone()).collect();
    let written = |kind, path: &std::path::Path| {
        session.events.send(Event::OutputWritten { kind, path: path.display().to_string() });
    };
    if output.oci_layout_path.is_none() && output.tar_path.is_none() {
        return Ok(());
    }
    let layers = bases.blobs(&encoded.layers)?;
    if let Some(path) = &output.oci_layout_path {
        let mut tags: Vec<String> =
            references.iter().filter_map(Reference::tag).map(str::to_owned).collect();
        tags.sort();
        tags.dedup();
        export::write_layout(path, encoded, &layers, &tags)?;
        written("OCI layout", path);
    }
    if let Some(path) = &output.tar_path {
        export::write_tarball(path, encoded, &layers, &references)?;
        written("docker tarball", path);
    }
    Ok(())
}

/// Pushes blobs, the config among them, then the manifest, to one destination.
fn push(
    session: &Session<'_>,
    bases: &Bases<'_>,
    encoded: &EncodedImage,
    destination: &Destination,
) -> Result<(), BuildError> {
    let reference = &destination.reference;
    session.events.send(Event::PushStarted { destination: destination.typed.clone() });
    session.runtime.block_on(async {
        push_blobs(session, bases, encoded, reference, Presence::Believed).await?;
        let manifest = encoded.manifest.as_slice();
        let pushed =
            session.registry.push_manifest(reference, encoded.manifest_type, manifest).await;
        match pushed {
            Ok(_) => Ok(()),
            // A registry that said it had a blob and then misses it is not believed again.
            Err(error) if !error.missing_blobs().is_empty() => {
                push_blobs(session, bases, encoded, reference, Presence::Doubted).await?;
                session
                    .registry
                    .push_manifest(reference, encoded.manifest_type, manifest)
                    .await
                    .map(drop)
                    .map_err(BuildError::from)
            }
            Err(error) => Err(error.into()),
        }
    })?;
    let name = export::image_names(&[DestinationDigest {
        reference: reference.clone(),
        digest: encoded.digest,
    }]);
    session.events.send(Event::Pushed { reference: name.trim_end().to_owned() });
    Ok(())
}

async fn push_blobs(
    session: &Session<'_>,
    bases: &Bases<'_>,
    encoded: &EncodedImage,
    reference: &Reference,
    presence: Presence,
) -> Result<(), BuildError> {
    let mut layers: Vec<&Descriptor> = Vec::with_capacity(encoded.layers.len());
    for layer in &encoded.layers {
        let seen = layers.iter().any(|other| other.digest == layer.digest);
        if !seen && !is_foreign_layer(&layer.media_type) {
            layers.push(layer);
        }
    }
    let permits = &Semaphore::new(PARALLEL_PUSHES);
    let uploads = layers
        .into_iter()
        .map(|layer| push_layer(session, bases, reference, layer, (presence, permits)));
    let layers = stream::iter(uploads).buffer_unordered(PARALLEL_QUESTIONS).try_collect::<()>();
    // Beside them, and to its end whatever becomes of them, so that no session of it stays.
    let (layers, config) = join(layers, push_config(session, encoded, reference, presence)).await;
    layers.and(config)
}

async fn push_config(
    session: &Session<'_>,
    encoded: &EncodedImage,
    reference: &Reference,
    presence: Presence,
) -> Result<(), BuildError> {
    let output = &session.options.output;
    let first =
        output.destinations.iter().map(|destination| &destination.reference).find(|other| {
            other.registry() == reference.registry() && other.repository() == reference.repository()
        });
    // One that says when it was made was nowhere before.
    let is_new = session.options.layers.timestamps == Timestamps::Kept
        && first.is_some_and(|first| std::ptr::eq(first, reference));
    let config = encoded.config.clone();
    let upload = BlobUpload {
        descriptor: encoded.config_descriptor.clone(),
        mount_from: Vec::new(),
        open: Arc::new(move |offset| from_offset(io::Cursor::new(config.clone()), offset)),
        presence: if is_new { Presence::Doubted } else { presence },
        gauge: upload_gauge(session, &encoded.config_descriptor)?,
    };
    let pushed = session.registry.push_blob(reference, &upload).await?;
    tell(session, reference, &encoded.config_descriptor, &pushed, None);
    Ok(())
}

/// Pushes one layer, unless that was done in the background; a base's layer is downloaded only when
/// the destination can neither find nor mount it.
async fn push_layer(
    session: &Session<'_>,
    bases: &Bases<'_>,
    reference: &Reference,
    layer: &Descriptor,
    (presence, permits): (Presence, &Semaphore),
) -> Result<(), BuildError> {
    let digest = digest_of(layer)?;
    if presence == Presence::Believed
        && let Some(arrival) = session.uploads.arrived(reference, &digest).await
    {
        let Arrival { pushed, started, elapsed } = arrival;
        session.events.send(Event::PhaseTimed { phase: Phase::Upload, elapsed });
        tell(session, reference, layer, &pushed, Some(Background { started, elapsed }));
        return Ok(());
    }
    let mount_from = match bases.origin_of(&digest) {
        Some(Origin::Registry(source)) => vec![source],
        Some(Origin::Layout(_)) | None => Vec::new(),
    };
    let gauge = upload_gauge(session, layer)?;
    if presence == Presence::Believed
        && let Some(pushed) = session.registry.find_blob(reference, layer, &mount_from).await?
    {
        tell(session, reference, layer, &pushed, None);
        return Ok(());
    }
    // Whoever waits for this holds nothing that others need.
    let _permit = permits.acquire().await;
    let blob = bases.blob(layer).await?;
    let open: OpenBlob = Arc::new(move |offset| {
        let file = blob.open().map_err(io::Error::other)?;
        from_offset(file, offset)
    });
    let descriptor = layer.clone();
    // It was asked for just now.
    let presence = Presence::Doubted;
    let upload = BlobUpload { descriptor, mount_from, open, presence, gauge };
    let pushed = session.registry.push_blob(reference, &upload).await?;
    tell(session, reference, layer, &pushed, None);
    Ok(())
}

/// Says that a blob is sent, if need be.
fn upload_gauge(session: &Session<'_>, blob: &Descriptor) -> Result<Gauge, BuildError> {
    let gauge = Gauge::new(LongWork::Upload, &blob.digest, Some(size_of(blob)?));
    session.events.send(Event::WorkStarted(gauge.clone()));
    Ok(gauge)
}

/// Says how a blob came into a repository.
fn tell(
    session: &Session<'_>,
    reference: &Reference,
    blob: &Descriptor,
    pushed: &PushedBlob,
    background: Option<Background>,
) {
    let route = match pushed {
        PushedBlob::Existed => BlobRoute::Existed,
        PushedBlob::Mounted { .. } => BlobRoute::Mounted,
        PushedBlob::Uploaded(stats) => BlobRoute::Uploaded(transfer(stats)),
    };
    let repository = format!("{}/{}", reference.registry(), reference.repository());
    let digest = blob.digest.clone();
    session.events.send(Event::BlobPushed { repository, digest, route, background });
}

/// Returns a transfer's counts as events have them.
pub(super) fn transfer(stats: &TransferStats) -> Transfer {
    let TransferStats { bytes, requests, resumed } = *stats;
    Transfer { bytes, requests, resumed }
}

fn from_offset<R: Read + Seek + Send + 'static>(
    mut reader: R,
    offset: u64,
) -> io::Result<Box<dyn Read + Send>> {
    reader.seek(SeekFrom::Start(offset))?;
    Ok(Box::new(reader))
}

fn write_digest_files(
    session: &Session<'_>,
    encoded: &EncodedImage,
    named: &[Destination],
) -> Result<(), BuildError> {
    let pushed: Vec<DestinationDigest> = named
        .iter()
        .map(|one| DestinationDigest { reference: one.reference.clone(), digest: encoded.digest })
        .collect();
    let output = &session.options.output;
    let files = [
        (&output.digest_file, encoded.digest.to_string()),
        (&output.image_name_with_digest_file, export::image_names(&pushed)),
        (&output.image_name_tag_with_digest_file, export::image_tags(&pushed)),
    ];
    for (sink, text) in files {
        match sink {
            Some(DigestSink::File(path)) => export::write_text(path, &text)?,
            Some(DigestSink::Put(url)) => session.put_text(url, text)?,
            None => {}
        }
    }
    if let (Some(directory), Push::Yes) = (&output.builder_output, output.push) {
        let typed = named.iter().map(|one| one.typed.as_str());
        let text = export::builder_output(typed, &encoded.digest);
        export::write_text(&directory.join("images"), &text)?;
    }
    Ok(())
}
