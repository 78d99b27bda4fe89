//! What is said of each event: kaniko's words where it has some. Pure.

use serde_json::json;

use super::event::{BlobRoute, Event, SnapshotReach, SnapshotTotals, SnapshotWork, Step};
use super::line::Message;
use super::settings::Level;

/// Returns the line for an event; `None` for events that are not lines of the log.
pub fn narrate(event: &Event) -> Option<Message> {
    let message = match event {
        Event::ResolvingImage { reference } => {
            info(format!("Retrieving image manifest {reference}"))
        }
        Event::ImageRemembered { reference, digest, place } => Message {
            fields: vec![("digest", json!(digest))],
            ..info(format!("Found {reference} in {place}"))
        },
        // kaniko's words.
        Event::ImageKept { reference, digest, downloaded_count: 0 } => Message {
            fields: vec![("digest", json!(digest))],
            ..info(format!("Image already in cache: {reference}"))
        },
        Event::ImageKept { reference, digest, downloaded_count } => Message {
            fields: vec![("digest", json!(digest)), ("layers", json!(downloaded_count))],
            ..info(format!("Wrote {reference} to cache"))
        },
        Event::StageStarted { index, base, base_index } => info(format!(
            "Building stage '{base}' [idx: '{index}', base-idx: '{}']",
            base_index.map_or_else(|| "-1".to_owned(), |index| index.to_string())
        )),
        Event::UnpackSkipped => info("Skipping unpacking as no commands require it."),
        Event::HeadersRead { layer_count, known_count, entry_count, elapsed } => Message {
            fields: vec![
                ("layers", json!(layer_count)),
                ("known", json!(known_count)),
                ("entries", json!(entry_count)),
                ("elapsed_ms", milliseconds(*elapsed)),
            ],
            ..debug("headers of the base read")
        },
        Event::TreeUsed { path } => info(format!("Using the image unpacked in {}", path.display())),
        Event::UnpackStarted { because_of } => {
            info(format!("Unpacking rootfs as cmd {because_of} requires it."))
        }
        Event::UnpackFinished { entry_count, bytes, elapsed } => Message {
            fields: vec![
                ("entries", json!(entry_count)),
                ("bytes", json!(bytes)),
                ("elapsed_ms", milliseconds(*elapsed)),
            ],
            ..debug("rootfs unpacked")
        },
        Event::StepStarted(step) => Message { fields: place(step), ..info(step.text.clone()) },
        Event::StepFinished { step, elapsed } => {
            let mut fields = place(step);
            fields.push(("elapsed_ms", milliseconds(*elapsed)));
            Message { fields, ..debug("step finished") }
        }
        Event::SnapshotStarted { reach: SnapshotReach::FullFilesystem } => {
            info("Taking snapshot of full filesystem...")
        }
        Event::SnapshotStarted { reach: SnapshotReach::Files } => {
            info("Taking snapshot of files...")
        }
        Event::TrackerChosen { tracker, reason } => Message {
            fields: vec![("tracker", json!(tracker)), ("reason", json!(reason))],
            ..info("Change tracker chosen")
        },
        Event::SnapshotTaken(work) => snapshot_taken(work),
        Event::NothingChanged => {
            info("No files were changed, appending empty layer to config. No layer added to image.")
        }
        Event::LayerGoesOn { layer_count } => Message {
            fields: vec![("layers", json!(layer_count))],
            ..info("Going on from layers of the last build")
        },
        Event::LayerWritten { digest, size_bytes, tar_bytes, elapsed } => Message {
            fields: vec![
                ("digest", json!(digest)),
                ("size_bytes", json!(size_bytes)),
                ("tar_bytes", json!(tar_bytes)),
                ("elapsed_ms", milliseconds(*elapsed)),
            ],
            ..info("Layer written")
        },
        // kaniko's own words, down to the dots: pipelines look for them.
        Event::CacheChecked { name } => info(format!("Checking for cached layer {name}...")),
        Event::CacheHit { text, key } => Message {
            fields: vec![("key", json!(key))],
            ..info(format!("Using caching version of cmd: {text}"))
        },
        Event::CacheMissed { text, key, because } => Message {
            fields: std::iter::once(("key", json!(key)))
                .chain(because.as_ref().map(|because| ("because", json!(because))))
                .collect(),
            ..info(format!("No cached layer found for cmd {text}"))
        },
        Event::CacheExpired { name } => info(format!("Cache entry expired: {name}")),
        Event::CachePushed { name } => info(format!("Pushing layer {name} to cache now")),
        Event::PushStarted { destination } => info(format!("Pushing image to {destination}")),
        Event::Pushed { reference } => info(format!("Pushed {reference}")),
        Event::PushSkipped => info("Skipping push to container registry due to --no-push flag"),
        Event::OutputWritten { kind, path } => {
            Message { fields: vec![("path", json!(path))], ..info(format!("Wrote {kind}")) }
        }
        Event::ImageBuilt { digest } => {
            Message { fields: vec![("digest", json!(digest))], ..info("Image built") }
        }
        Event::Warning { text } => Message { level: Level::Warn, ..info(text.clone()) },
        Event::BlobPushed { repository, digest, route, .. } => {
            let mut fields = vec![("repository", json!(repository)), ("digest", json!(digest))];
            let text = match route {
                BlobRoute::Existed => "blob is there already",
                BlobRoute::Mounted => "blob mounted",
                BlobRoute::Uploaded(transfer) => {
                    fields.push(("bytes", json!(transfer.bytes)));
                    fields.push(("requests", json!(transfer.requests)));
                    "blob uploaded"
                }
            };
            Message { fields, ..debug(text) }
        }
        Event::BlobPulled { digest, transfer, .. } => Message {
            fields: vec![("digest", json!(digest)), ("bytes", json!(transfer.bytes))],
            ..debug("blob downloaded")
        },
        Event::LayerCounted(_)
        | Event::RootReady { .. }
        | Event::RunOutput { .. }
        | Event::WorkStarted(_)
        | Event::PhaseTimed { .. } => return None,
    };
    Some(message)
}

fn snapshot_taken(work: &SnapshotWork) -> Message {
    let text = match work.is_tracked {
        true => format!(
            "Snapshot taken, tracked: {} of {} paths looked at",
            grouped(work.examined_count),
            grouped(work.known_count)
        ),
        false => "Snapshot taken".to_owned(),
    };
    let mut fields = vec![("changed", json!(work.changed_count))];
    fields.extend(work.tracker.as_ref().map(|tracker| ("tracker", json!(tracker))));
    fields.extend(work.scope_count.map(|count| ("scope", json!(count))));
    fields.push(("known", json!(work.known_count)));
    fields.push(("examined", json!(work.examined_count)));
    fields.push(("listed", json!(work.listed_count)));
    fields.push(("opened", json!(work.opened_count)));
    fields.push(("hashed_bytes", json!(work.hashed_bytes)));
    fields.extend(work.fallback.as_ref().map(|reason| ("fallback", json!(reason))));
    if !work.content_because.is_empty() {
        fields.push(("content_because", json!(work.content_because.join("; "))));
    }
    fields.push(("elapsed_ms", milliseconds(work.elapsed)));
    Message { fields, ..info(text) }
}

/// Returns the line about all snapshots of a build; `None` when there was nothing to find out.
pub fn snapshot_totals(totals: &SnapshotTotals) -> Option<Message> {
    if totals.snapshot_count == 0 {
        return None;
    }
    let text = format!(
        "All snapshots{}: {} of {} paths looked at",
        if totals.tracked_count > 0 { ", tracked" } else { "" },
        grouped(totals.examined_count),
        grouped(totals.known_count)
    );
    let mut fields = vec![
        ("snapshots", json!(totals.snapshot_count)),
        ("tracked", json!(totals.tracked_count)),
        ("changed", json!(totals.changed_count)),
        ("known", json!(totals.known_count)),
        ("examined", json!(totals.examined_count)),
        ("opened", json!(totals.opened_count)),
        ("hashed_bytes", json!(totals.hashed_bytes)),
    ];
    if !totals.fallbacks.is_empty() {
        fields.push(("fallbacks", json!(totals.fallbacks)));
    }
    Some(Message { fields, ..info(text) })
}

/// Writes a number with a comma after every third digit from its end.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn info(text: impl Into<String>) -> Message {
    Message { level: Level::Info, text: text.into(), fields: Vec::new() }
}

fn debug(text: &str) -> Message {
    Message { level: Level::Debug, ..info(text) }
}

/// Returns where a step stands: in its stage, and in the Dockerfile.
fn place(step: &Step) -> Vec<(&'static str, serde_json::Value)> {
    let mut fields = vec![
        ("stage", json!(step.stage)),
        ("step", json!(format!("{}/{}", step.number, step.total))),
    ];
    fields.extend(step.line.map(|line| ("line", json!(line))));
    fields
}

fn milliseconds(elapsed: std::time::Duration) -> serde_json::Value {
    json!(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (48_730, "48,730"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), expected);
        }
    }
}
