//! What a build took, for `--benchmark-file`: phases, overlap, and counts of every byte's way.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::Traffic;
use crate::report::event::{
    Background, BlobRoute, Event, EventSink, LayerCounts, Phase, SnapshotTotals, SnapshotWork,
    Transfer,
};

/// Passes events on and remembers what they say of time and bytes.
pub(super) struct Recorder<'a> {
    next: &'a dyn EventSink,
    started: Instant,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    phases: BTreeMap<Phase, Duration>,
    /// When each piece of work was done.
    spans: Vec<(Instant, Instant)>,
    trackers: Vec<(String, String)>,
    snapshots: Vec<SnapshotWork>,
    layers: Vec<LayerCounts>,
    unpacks: Vec<Value>,
    headers: Vec<Value>,
    pulls: Vec<(String, Transfer)>,
    pushes: Vec<Pushed>,
}

struct Pushed {
    repository: String,
    digest: String,
    route: BlobRoute,
    background: Option<Background>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(next: &'a dyn EventSink) -> Self {
        Self { next, started: Instant::now(), seen: Mutex::default() }
    }

    /// Returns everything so far as JSON. Programs read it: names and units stay as they are.
    pub(super) fn json(&self, traffic: Traffic) -> Value {
        let total = self.started.elapsed();
        let seen = self.seen();
        let phases: BTreeMap<&str, Value> = seen
            .phases
            .iter()
            .map(|(phase, elapsed)| (phase.name(), milliseconds(*elapsed)))
            .collect();
        let worked: Duration = seen.phases.values().sum();
        let overlap = worked.saturating_sub(covered(&seen.spans));
        let trackers: Vec<Value> = seen.trackers.iter().map(tracker).collect();
        let snapshots: Vec<Value> = seen.snapshots.iter().map(snapshot).collect();
        let mut totals = SnapshotTotals::default();
        seen.snapshots.iter().for_each(|work| totals.add(work));
        let layers: Vec<Value> = seen.layers.iter().map(layer).collect();
        let pulls: Vec<Value> = seen.pulls.iter().map(pull).collect();
        let pushes: Vec<Value> = seen.pushes.iter().map(push).collect();
        json!({
            "total_ms": milliseconds(total),
            "phases_ms": phases,
            "overlap_ms": milliseconds(overlap),
            "trackers": trackers,
            "snapshots": snapshots,
            "snapshot_totals": total_of_snapshots(&totals),
            "unpacks": seen.unpacks,
            "headers": seen.headers,
            "layers": layers,
            "pulls": pulls,
            "pushes": pushes,
            "network": {"requests": traffic.requests, "connections": traffic.connections},
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing is half-done while the lock is held.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn add(&mut self, phase: Phase, started: Instant, elapsed: Duration) {
        self.spend(phase, elapsed);
        self.spans.push((started, started + elapsed));
    }

    fn spend(&mut self, phase: Phase, elapsed: Duration) {
        let total = self.phases.entry(phase).or_default();
        *total = total.saturating_add(elapsed);
    }

    fn note(&mut self, event: &Event) {
        match event {
            // The spans of background work come with what was done.
            Event::PhaseTimed { phase: Phase::Upload, .. } => {}
            Event::PhaseTimed { phase: Phase::Pull, elapsed } => self.spend(Phase::Pull, *elapsed),
            Event::PhaseTimed { phase, elapsed } => {
                let now = Instant::now();
                self.add(*phase, now.checked_sub(*elapsed).unwrap_or(now), *elapsed);
            }
            Event::TrackerChosen { tracker, reason } => {
                self.trackers.push((tracker.clone(), reason.clone()));
            }
            Event::SnapshotTaken(work) => self.snapshots.push(work.clone()),
            Event::UnpackFinished { entry_count, bytes, .. } => {
                self.unpacks.push(json!({"entries": entry_count, "tar_bytes": bytes}));
            }
            Event::HeadersRead { layer_count, known_count, entry_count, .. } => {
                let layers = json!({"read": layer_count, "known": known_count});
                self.headers.push(json!({"layers": layers, "entries": entry_count}));
            }
            Event::LayerCounted(counts) => self.layers.push(counts.clone()),
            Event::BlobPulled { digest, transfer, background } => {
                self.spans.push((background.started, background.started + background.elapsed));
                self.pulls.push((digest.clone(), *transfer));
            }
            Event::BlobPushed { repository, digest, route, background } => {
                // One upload serves all tags of a repository, and each of them tells of it.
                let is_known =
                    |other: &Pushed| other.repository == *repository && other.digest == *digest;
                if background.is_some() && self.pushes.iter().any(is_known) {
                    return;
                }
                if let Some(Background { started, elapsed }) = *background {
                    self.add(Phase::Upload, started, elapsed);
                }
                self.pushes.push(Pushed {
                    repository: repository.clone(),
                    digest: digest.clone(),
                    route: route.clone(),
                    background: *background,
                });
            }
            _ => {}
        }
    }
}

impl EventSink for Recorder<'_> {
    fn send(&self, event: Event) {
        self.seen().note(&event);
        self.next.send(event);
    }
}

/// Returns how much time spans cover together.
fn covered(spans: &[(Instant, Instant)]) -> Duration {
    let mut spans = spans.to_vec();
    spans.sort_unstable();
    let mut covered = Duration::ZERO;
    let mut until: Option<Instant> = None;
    for (start, end) in spans {
        let from = until.map_or(start, |until| until.max(start));
        covered += end.saturating_duration_since(from);
        until = Some(until.map_or(end, |until| until.max(end)));
    }
    covered
}

fn tracker((tracker, reason): &(String, String)) -> Value {
    json!({"tracker": tracker, "reason": reason})
}

fn snapshot(work: &SnapshotWork) -> Value {
    json!({
        "changed": work.changed_count,
        "tracker": work.tracker,
        "tracked": work.is_tracked,
        "fallback": work.fallback,
        "content_because": work.content_because,
        "scope": work.scope_count,
        "known": work.known_count,
        "examined": work.examined_count,
        "listed": work.listed_count,
        "opened": work.opened_count,
        "hashed_bytes": work.hashed_bytes,
        "elapsed_ms": milliseconds(work.elapsed),
    })
}

fn total_of_snapshots(totals: &SnapshotTotals) -> Value {
    json!({
        "snapshots": totals.snapshot_count,
        "tracked": totals.tracked_count,
        "changed": totals.changed_count,
        "known": totals.known_count,
        "examined": totals.examined_count,
        "opened": totals.opened_count,
        "hashed_bytes": totals.hashed_bytes,
        "fallbacks": totals.fallbacks,
    })
}

fn layer(counts: &LayerCounts) -> Value {
    json!({
        "digest": counts.digest,
        "entries": counts.entry_count,
        "opened": counts.opened_count,
        "read_bytes": counts.read_bytes,
        "hashed_bytes": counts.hashed_bytes,
        "compressed_bytes": counts.compressed_bytes,
        "spooled_bytes": counts.spooled_bytes,
        "restarts": counts.restart_count,
    })
}

fn pull((digest, transfer): &(String, Transfer)) -> Value {
    json!({
        "digest": digest,
        "bytes": transfer.bytes,
        "requests": transfer.requests,
        "resumed": transfer.resumed,
    })
}

fn push(pushed: &Pushed) -> Value {
    let (route, transfer) = match &pushed.route {
        BlobRoute::Existed => ("existed", Transfer::default()),
        BlobRoute::Mounted => ("mounted", Transfer::default()),
        BlobRoute::Uploaded(transfer) => ("uploaded", *transfer),
    };
    json!({
        "repository": pushed.repository,
        "digest": pushed.digest,
        "route": route,
        "bytes": transfer.bytes,
        "requests": transfer.requests,
        "resumed": transfer.resumed,
        "background_ms": pushed.background.map(|background| milliseconds(background.elapsed)),
    })
}

fn milliseconds(elapsed: Duration) -> Value {
    json!(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::event::EventLog;

    #[test]
    fn spans_that_overlap_are_covered_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(covered(&[]), Duration::ZERO);
        assert_eq!(covered(&[(at(4), at(6)), (at(0), at(2))]), Duration::from_secs(4));
        assert_eq!(
            covered(&[(at(0), at(5)), (at(1), at(2)), (at(4), at(7)), (at(7), at(8))]),
            Duration::from_secs(8)
        );
    }

    #[test]
    fn snapshots_are_listed_and_added_up() {
        let log = EventLog::default();
        let recorder = Recorder::new(&log);
        let work = SnapshotWork {
            changed_count: 1,
            tracker: Some("inotify".to_owned()),
            is_tracked: true,
            scope_count: Some(2),
            known_count: 100,
            examined_count: 3,
            elapsed: Duration::from_millis(4),
            ..SnapshotWork::default()
        };
        let (tracker, reason) = ("inotify".to_owned(), "asked for".to_owned());
        recorder.send(Event::TrackerChosen { tracker, reason });
        recorder.send(Event::SnapshotTaken(work.clone()));
        let because = Some("the event queue overflowed".to_owned());
        let walk = Some("walk".to_owned());
        recorder.send(Event::SnapshotTaken(SnapshotWork {
            tracker: walk,
            is_tracked: false,
            fallback: because,
            scope_count: None,
            ..work
        }));
        let json = recorder.json(Traffic { requests: 0, connections: 0 });
        assert_eq!(json["trackers"], json!([{"tracker": "inotify", "reason": "asked for"}]));
        let common = json!({
            "changed": 1, "content_because": [], "known": 100, "examined": 3, "listed": 0,
            "opened": 0, "hashed_bytes": 0, "elapsed_ms": 4,
        });
        let with = |more: Value| {
            let mut all = common.clone();
            let fields = all.as_object_mut().expect("an object");
            fields.extend(more.as_object().expect("an object").clone());
            all
        };
        let tracked = json!({"tracker": "inotify", "tracked": true, "fallback": null, "scope": 2});
        let overflow = "the event queue overflowed";
        let walked =
            json!({"tracker": "walk", "tracked": false, "fallback": overflow, "scope": null});
        assert_eq!(json["snapshots"], json!([with(tracked), with(walked)]));
        assert_eq!(
            json["snapshot_totals"],
            json!({
                "snapshots": 2, "tracked": 1, "changed": 2, "known": 200, "examined": 6,
                "opened": 0, "hashed_bytes": 0, "fallbacks": {overflow: 1},
            })
        );
    }

    #[test]
    fn an_upload_is_counted_once_however_many_tags_it_serves() {
        let log = EventLog::default();
        let recorder = Recorder::new(&log);
        let started = Instant::now();
        let background = Some(Background { started, elapsed: Duration::from_millis(7) });
        let transfer = Transfer { bytes: 5, requests: 1, resumed: 0 };
        let pushed = Event::BlobPushed {
            repository: "r/app".to_owned(),
            digest: "sha256:1".to_owned(),
            route: BlobRoute::Uploaded(transfer),
            background,
        };
        recorder.send(pushed.clone());
        recorder.send(pushed.clone());
        let json = recorder.json(Traffic { requests: 3, connections: 2 });
        assert_eq!(
            json["pushes"],
            json!([{
                "repository": "r/app", "digest": "sha256:1", "route": "uploaded",
                "bytes": 5, "requests": 1, "resumed": 0, "background_ms": 7,
            }])
        );
        assert_eq!(json["phases_ms"], json!({"upload": 7}));
        assert_eq!(json["network"], json!({"requests": 3, "connections": 2}));
        assert_eq!(log.take(), [pushed.clone(), pushed]);
    }
}
