//! Layers that go to a scripted registry while they are written.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use snapshot::Digest;
use snapshot::layer::BlobSink;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::watch;
use zuwai::image::Reference;
use zuwai::registry::{PushedBlob, RegistryOptions};
use zuwai::report::event::{Event, EventLog, LongWork, Reading};
use zuwai::store::Store;
use zuwai::uploads::{LayerSink, Uploads};

use crate::registry::{noise, options, reference, registry};
use crate::regsim::{Auth, Fault, RegSim, Rule, shortened};

mod builds;
mod compressions;
mod faults;
mod layers;
mod signals;

/// More than the buffers of a loopback connection hold.
const HUGE: usize = 48 << 20;

/// A store, and uploads from it to some repositories.
struct Fixture {
    uploads: Uploads,
    store: Store,
    _work: TempDir,
}

impl Fixture {
    fn new(destinations: &[&Reference]) -> Self {
        Self::with(destinations, options())
    }

    fn with(destinations: &[&Reference], options: RegistryOptions) -> Self {
        let work = tempfile::tempdir().unwrap();
        let store = Store::open(work.path()).unwrap();
        let uploads = Uploads::new(Handle::current(), registry(options), destinations);
        Self { uploads, store, _work: work }
    }

    fn sink(&self) -> LayerSink {
        self.uploads.sink(&self.store, &EventLog::default()).unwrap()
    }

    /// Waits for a layer and returns how it came.
    async fn arrived(&self, to: &Reference, digest: &Digest) -> Option<PushedBlob> {
        self.uploads.arrived(to, digest).await.map(|arrival| arrival.pushed)
    }

    /// Closes the uploads as the end of a build does.
    async fn close(self) {
        let uploads = self.uploads.clone();
        tokio::task::spawn_blocking(move || uploads.close()).await.unwrap();
    }
}

/// Ends a layer as the layer writer does.
fn commit(sink: LayerSink, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    let blob = sink.commit(Some((&digest, bytes.len() as u64))).unwrap();
    assert_eq!(blob.size_bytes, bytes.len() as u64);
    digest
}

/// Waits until the registry was asked `method` for a path that contains `path`.
async fn asked(sim: &RegSim, method: &str, path: &str) {
    while sim.count(method, path) == 0 {
        tokio::task::yield_now().await;
    }
}

async fn got_bytes(received: &mut watch::Receiver<usize>) {
    received.wait_for(|bytes| *bytes > 0).await.unwrap();
}

/// Returns the requests for blobs, shortened.
fn blob_requests(sim: &RegSim) -> Vec<String> {
    sim.log()
        .into_iter()
        .filter(|line| line.contains("/blobs/"))
        .map(|line| shortened(&line))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_arrive_before_the_layer_is_finished() {
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    let fixture = Fixture::new(&[&to]);
    let bytes = noise(3 << 20);
    let mut sink = fixture.sink();
    sink.write_all(&bytes[..2 << 20]).unwrap();
    got_bytes(&mut sim.received()).await;
    sink.write_all(&bytes[2 << 20..]).unwrap();
    let digest = commit(sink, &bytes);
    let pushed = fixture.arrived(&to, &digest).await;
    assert!(
        matches!(pushed, Some(PushedBlob::Uploaded(stats))
            if (stats.bytes, stats.requests, stats.resumed) == (3 << 20, 1, 0)),
        "{pushed:?}"
    );
    assert_eq!(sim.blob("app", &digest), Some(bytes));
    assert_eq!(blob_requests(&sim), ["POST  202", "PATCH session-1 202", "PUT session-1 201"]);
    let patch = sim.requests().into_iter().find(|request| request.method == "PATCH").unwrap();
    assert_eq!(patch.header("transfer-encoding"), Some("chunked"));
    assert_eq!((patch.header("content-range"), patch.header("content-length")), (None, None));
    // A second tag of the repository needs no further request.
    assert_eq!(fixture.arrived(&reference(&sim, "app:v2"), &digest).await, pushed);
    assert_eq!(fixture.arrived(&reference(&sim, "other"), &digest).await, None);
    fixture.close().await;
    assert_eq!((sim.open_sessions(), blob_requests(&sim).len()), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_layer_is_looked_for_before_it_is_sent() {
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    let fixture = Fixture::new(&[&to]);
    let (known, new) = (noise(1000), noise(2000));
    sim.put_blob("app", &known);
    for bytes in [&known, &new] {
        let mut sink = fixture.sink();
        sink.write_all(bytes).unwrap();
        let digest = commit(sink, bytes);
        assert!(fixture.arrived(&to, &digest).await.is_some());
    }
    assert_eq!(
        blob_requests(&sim),
        ["HEAD blob 200", "HEAD blob 404", "POST  202", "PATCH session-1 202", "PUT session-1 201"]
    );
    let patch = sim.requests().into_iter().find(|request| request.method == "PATCH").unwrap();
    assert_eq!(patch.header("content-length"), Some("2000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_takes_nothing_does_not_keep_the_writer_waiting() {
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    let (gate, closed) = watch::channel(false);
    sim.rule(Rule::new("PATCH", "", Fault::Hold(closed)));
    let fixture = Fixture::new(&[&to]);
    let bytes = noise(HUGE);
    let mut sink = fixture.sink();
    for piece in bytes.chunks(1 << 20) {
        sink.write_all(piece).unwrap();
    }
    let digest = commit(sink, &bytes);
    assert_eq!(*sim.received().borrow(), 0);
    gate.send_replace(true);
    assert!(fixture.arrived(&to, &digest).await.is_some());
    assert_eq!(sim.blob("app", &digest).map(|there| there == bytes), Some(true));
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_turns_out_to_be_there_costs_a_cancelled_session() {
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    let bytes = noise(HUGE);
    sim.put_blob("app", &bytes);
    let (gate, closed) = watch::channel(false);
    sim.rule(Rule::new("PATCH", "", Fault::Hold(closed)));
    let fixture = Fixture::new(&[&to]);
    let mut sink = fixture.sink();
    sink.write_all(&bytes).unwrap();
    asked(&sim, "POST", "/uploads/").await;
    let digest = commit(sink, &bytes);
    asked(&sim, "HEAD", "/blobs/").await;
    gate.send_replace(true);
    assert_eq!(fixture.arrived(&to, &digest).await, Some(PushedBlob::Existed));
    assert_eq!(
        blob_requests(&sim),
        ["POST  202", "HEAD blob 200", "PATCH session-1 202", "DELETE session-1 204"]
    );
    assert!(*sim.received().borrow() < bytes.len(), "the rest was not sent");
    assert_eq!(sim.open_sessions(), 0);

    // One that was almost sent when it ended is completed: that costs less than to ask.
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    sim.put_blob("app", &bytes[..2 << 20]);
    let fixture = Fixture::new(&[&to]);
    let mut sink = fixture.sink();
    sink.write_all(&bytes[..2 << 20]).unwrap();
    got_bytes(&mut sim.received()).await;
    let digest = commit(sink, &bytes[..2 << 20]);
    assert!(matches!(fixture.arrived(&to, &digest).await, Some(PushedBlob::Uploaded(_))));
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_begins_again_begins_another_session() {
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    let fixture = Fixture::new(&[&to]);
    let bytes = noise(3 << 20);
    let mut sink = fixture.sink();
    sink.write_all(&[7; 2 << 20]).unwrap();
    got_bytes(&mut sim.received()).await;
    sink.restart().unwrap();
    asked(&sim, "DELETE", "session-1").await;
    sink.write_all(&bytes).unwrap();
    let digest = commit(sink, &bytes);
    assert!(fixture.arrived(&to, &digest).await.is_some());
    assert_eq!(sim.blob("app", &digest), Some(bytes));
    fixture.close().await;
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_ends_early_leaves_no_session() {
    // While the layer is written.
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    let fixture = Fixture::new(&[&to]);
    let mut sink = fixture.sink();
    sink.write_all(&noise(2 << 20)).unwrap();
    got_bytes(&mut sim.received()).await;
    assert_eq!(sim.open_sessions(), 1);
    drop(sink);
    fixture.close().await;
    assert_eq!(sim.open_sessions(), 0, "{:#?}", sim.log());
    assert_eq!(
        blob_requests(&sim),
        ["POST  202", "PATCH session-1 202", "DELETE session-1 204"],
        "the broken layer's request was brought to its end"
    );

    // While a stopped executor still holds its sink.
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    let fixture = Fixture::new(&[&to]);
    let mut sink = fixture.sink();
    sink.write_all(&noise(2 << 20)).unwrap();
    got_bytes(&mut sim.received()).await;
    fixture.close().await;
    assert_eq!(sim.open_sessions(), 0, "{:#?}", sim.log());
    sink.write_all(&[1; 1 << 20]).unwrap();

    // After the layer, between two tries.
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    sim.rule(Rule::new("PATCH", "", Fault::status(503)));
    let mut patient = options();
    patient.push_retry.first_wait = Duration::from_secs(3600);
    patient.push_retry.longest_wait = Duration::from_secs(3600);
    let fixture = Fixture::with(&[&to], patient);
    let bytes = noise(2 << 20);
    let mut sink = fixture.sink();
    sink.write_all(&bytes).unwrap();
    let digest = commit(sink, &bytes);
    asked(&sim, "PATCH", "session-1").await;
    fixture.close().await;
    assert_eq!(sim.open_sessions(), 0, "{:#?}", sim.log());
    assert_eq!(sim.blob("app", &digest), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_upload_serves_all_repositories_of_a_registry() {
    let (sim, other) = (RegSim::start().await, RegSim::start().await);
    let destinations = [
        reference(&sim, "app:v1"),
        reference(&sim, "team/app:v1"),
        reference(&sim, "app:v2"),
        reference(&other, "app:v1"),
    ];
    let fixture = Fixture::new(&destinations.iter().collect::<Vec<_>>());
    let bytes = noise(2 << 20);
    let mut sink = fixture.sink();
    sink.write_all(&bytes).unwrap();
    let digest = commit(sink, &bytes);
    for to in &destinations {
        let pushed = fixture.arrived(to, &digest).await;
        match to.repository() {
            "team/app" => assert_eq!(pushed, Some(PushedBlob::Mounted { from: "app".into() })),
            _ => assert!(matches!(pushed, Some(PushedBlob::Uploaded(_))), "{to} {pushed:?}"),
        }
    }
    assert_eq!((sim.count("PATCH", ""), other.count("PATCH", "")), (1, 1));
    assert!(sim.blob("team/app", &digest).is_some());
    assert_eq!((sim.open_sessions(), other.open_sessions()), (0, 0));

    // Where nothing can be mounted, it is sent twice.
    let sim = RegSim::start().await;
    sim.rule(Rule::new("POST", "/v2/team/app/", Fault::status(401)).times(1));
    let destinations = [reference(&sim, "app:v1"), reference(&sim, "team/app:v1")];
    let fixture = Fixture::new(&destinations.iter().collect::<Vec<_>>());
    let mut sink = fixture.sink();
    sink.write_all(&bytes).unwrap();
    let digest = commit(sink, &bytes);
    for to in &destinations {
        assert!(fixture.arrived(to, &digest).await.is_some());
    }
    assert_eq!((sim.count("PATCH", ""), sim.open_sessions()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_layers_wait_for_their_turn() {
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    let (gate, closed) = watch::channel(false);
    sim.rule(Rule::new("PATCH", "", Fault::Hold(closed)));
    let fixture = Fixture::new(&[&to]);
    let layers: Vec<Vec<u8>> = (0..9).map(|index| noise((2 << 20) + index)).collect();
    let digests: Vec<Digest> = layers
        .iter()
        .map(|bytes| {
            let mut sink = fixture.sink();
            sink.write_all(bytes).unwrap();
            commit(sink, bytes)
        })
        .collect();
    while sim.open_sessions() < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(sim.count("POST", ""), 4);
    gate.send_replace(true);
    for (digest, bytes) in digests.iter().zip(&layers) {
        assert!(fixture.arrived(&to, digest).await.is_some());
        assert_eq!(sim.blob("app", digest).as_ref(), Some(bytes));
    }
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_destination_layers_are_only_kept() {
    let fixture = Fixture::new(&[]);
    let bytes = noise(2 << 20);
    let mut sink = fixture.sink();
    sink.write_all(&bytes).unwrap();
    let digest = commit(sink, &bytes);
    assert_eq!(fixture.store.stored(&digest).unwrap().size_bytes, 2 << 20);
    let mut kept = LayerSink::kept(&fixture.store).unwrap();
    kept.write_all(b"one").unwrap();
    kept.restart().unwrap();
    kept.write_all(b"two").unwrap();
    let digest = commit(kept, b"two");
    assert_eq!(fixture.store.stored(&digest).unwrap().size_bytes, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_between_two_requests_is_renewed() {
    let sim = RegSim::start_with(Auth::Bearer(None)).await;
    sim.policy(|policy| policy.uses = Some(1));
    let to = reference(&sim, "app:v1");
    let fixture = Fixture::new(&[&to]);
    let bytes = noise(3 << 20);
    let mut sink = fixture.sink();
    sink.write_all(&bytes).unwrap();
    let digest = commit(sink, &bytes);
    assert!(fixture.arrived(&to, &digest).await.is_some(), "{:#?}", sim.log());
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_cancelled_and_what_comes_after_it_not_begun() {
    let sim = RegSim::start().await;
    let to = reference(&sim, "app:v1");
    let fixture = Fixture::new(&[&to]);
    let bytes = noise(3 << 20);
    let mut sink = fixture.sink();
    sink.write_all(&bytes[..2 << 20]).unwrap();
    got_bytes(&mut sim.received()).await;
    fixture.uploads.give_up();
    while sim.open_sessions() > 0 {
        tokio::task::yield_now().await;
    }
    // Whoever writes the layer has not heard of it yet.
    sink.write_all(&bytes[2 << 20..]).unwrap();
    let first = commit(sink, &bytes);
    let after = noise(4 << 20);
    let mut sink = fixture.sink();
    sink.write_all(&after).unwrap();
    let second = commit(sink, &after);
    for digest in [&first, &second] {
        assert_eq!(fixture.arrived(&to, digest).await, None);
    }
    assert_eq!((sim.count("POST", "/uploads/"), sim.open_sessions()), (1, 0), "{:#?}", sim.log());
}
