//! The layer writer before a registry.

use std::fs;
use std::num::NonZeroUsize;

use snapshot::layer::{Compression, Contents, GzipLevel, LayerOptions, MtimeRule, write_layer};
use snapshot::{Index, Mode, Reason, Rootfs, Scope, SnapshotOptions, Snapshotter};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_layers_bytes_arrive_before_its_last_file_is_read() {
    let sim = Arc::new(RegSim::start().await);
    let to = reference(&sim, "app:v1");
    let fixture = Fixture::new(&[&to]);
    let tree = tempfile::tempdir().unwrap();
    // Large files are read by the writer itself, one after the other.
    for name in ["a", "b"] {
        fs::write(tree.path().join(name), noise(6 << 20)).unwrap();
    }
    let rootfs = Rootfs::open(tree.path()).unwrap();
    let options = SnapshotOptions { mode: Mode::Redo, ..SnapshotOptions::default() };
    let mut snapshotter = Snapshotter::new(rootfs.clone(), Index::default(), options);
    let changeset = snapshotter.take(Scope::Everything(Reason::NoTracker)).unwrap().changeset;
    let options = LayerOptions {
        compression: Compression::Gzip { level: GzipLevel::default() },
        threads: NonZeroUsize::MIN,
        mtime: MtimeRule::Keep,
    };
    let sink = fixture.sink();
    let runtime = Handle::current();
    let registry = Arc::clone(&sim);
    let (written, sink) = tokio::task::spawn_blocking(move || {
        let contents = Contents::in_rootfs(rootfs);
        let mut read = 0;
        write_layer(&contents, &changeset, &options, sink, &mut |_: &_, _: &_| {
            read += 1;
            if read == 1 {
                // `b` is not read before this comes back.
                runtime.block_on(got_bytes(&mut registry.received()));
            }
        })
    })
    .await
    .unwrap()
    .unwrap();
    sink.commit(Some((&written.digest, written.size_bytes))).unwrap();
    assert!(fixture.arrived(&to, &written.digest).await.is_some());
    let blob = sim.blob("app", &written.digest).unwrap();
    assert_eq!(blob.len() as u64, written.size_bytes);
    assert_eq!(blob_requests(&sim), ["POST  202", "PATCH session-1 202", "PUT session-1 201"]);
}
