use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::http::{
    DownloadError, HttpOptions, NameResolution, ProxyOptions, RootSources, Timeouts, write_blocking,
};
use crate::report::event::EventLog;

/// Runs a test with a client that knows no name.
pub fn with_means<T>(test: impl FnOnce(&Means<'_>) -> T) -> T {
    let http = HttpClient::new(&HttpOptions {
        user_agent: "zuwai-test".to_owned(),
        roots: RootSources::default(),
        proxies: ProxyOptions::default(),
        name_resolution: NameResolution {
            resolv_conf: "/nonexistent".into(),
            hosts: "/nonexistent".into(),
        },
        timeouts: Timeouts::default(),
    })
    .unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let interrupt = Interrupt::new(|_| ()).unwrap().with_grace(Duration::ZERO);
    let events = EventLog::default();
    test(&Means { http: &http, runtime: runtime.handle(), events: &events, interrupt: &interrupt })
}

/// An archive with one file `f` of so many bytes.
fn archive(bytes: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "f", vec![b'x'; bytes].as_slice()).unwrap();
    builder.into_inner().unwrap()
}

/// Sends bytes in pieces.
async fn send(sink: &mut PieceSink, bytes: &[u8]) -> Result<(), Ended> {
    for piece in bytes.chunks(1000) {
        write_blocking(sink, piece).map_err(|_| Ended::Unread)?;
    }
    Ok(())
}

fn failure() -> Ended {
    let status = reqwest::StatusCode::FORBIDDEN;
    let url = "https://h/c".to_owned();
    Ended::Failed(ContextError::Download(DownloadError::Status { url, status }))
}

/// Unpacks what `download` sends and returns the size of `f`.
fn unpacked<F>(download: impl FnOnce(PieceSink) -> F) -> Result<u64, ContextError>
where
    F: Future<Output = Result<(), Ended>> + Send + 'static,
{
    let directory = tempfile::tempdir().unwrap();
    let room = Rootfs::open(directory.path()).unwrap();
    with_means(|means| unpack_download(means, "https://h/c", &room, |sink, _| download(sink)))?;
    Ok(fs::metadata(directory.path().join("f")).unwrap().len())
}

#[test]
fn an_archive_is_unpacked_while_it_comes() {
    let size = unpacked(|mut sink| async move { send(&mut sink, &archive(1 << 20)).await });
    assert_eq!(size.unwrap(), 1 << 20);
}

#[test]
fn no_more_than_a_few_pieces_wait() {
    let sent = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = sync_channel(QUEUED_PIECES);
    let mut sink = PieceSink { sender };
    let counted = Arc::clone(&sent);
    let writer = std::thread::spawn(move || {
        while sink.write_all(&[0; 10]).is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut pieces = Pieces { receiver, piece: Vec::new(), taken: 0 };
    let mut buffer = [0; 10];
    for read in 1..100 {
        pieces.read_exact(&mut buffer).unwrap();
        assert!(sent.load(Ordering::SeqCst) <= read + QUEUED_PIECES);
    }
    drop(pieces);
    writer.join().unwrap();
}

#[test]
fn a_download_that_fails_says_why_and_not_what_it_left() {
    let error = unpacked(|mut sink| async move {
        send(&mut sink, &archive(5000)[..3000]).await?;
        Err(failure())
    });
    assert!(matches!(error.unwrap_err(), ContextError::Download(_)));
    // Even when the archive was whole.
    let error = unpacked(|mut sink| async move {
        send(&mut sink, &archive(10)).await?;
        Err(failure())
    });
    assert!(matches!(error.unwrap_err(), ContextError::Download(_)));
}

#[test]
fn what_is_no_archive_or_half_of_one_ends_the_download() {
    let error = unpacked(|mut sink| async move {
        loop {
            send(&mut sink, &[b'x'; 5000]).await?;
        }
    });
    assert!(matches!(error.unwrap_err(), ContextError::Unpack { .. }));
    let half = unpacked(|mut sink| async move { send(&mut sink, &archive(5000)[..3000]).await });
    assert!(matches!(half.unwrap_err(), ContextError::Unpack { .. }));
    let empty = unpacked(|sink| async move {
        drop(sink);
        Ok(())
    });
    assert_eq!(
        empty.unwrap_err().to_string(),
        "the build context `https://h/c` is empty: an archive is needed"
    );
}

#[test]
fn a_signal_ends_the_download() {
    let directory = tempfile::tempdir().unwrap();
    let room = Rootfs::open(directory.path()).unwrap();
    let error = with_means(|means| {
        let interrupt = means.interrupt.clone();
        unpack_download(means, "https://h/c", &room, |_sink, _| async move {
            interrupt.raise(nix::sys::signal::Signal::SIGTERM);
            std::future::pending().await
        })
    });
    assert!(matches!(error.unwrap_err(), ContextError::Interrupted(_)));
}
