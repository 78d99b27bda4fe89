//! Downloads of single files, as contexts and ADD need them.

use snapshot::Digest;
use url::Url;
use zuwai::http::{Download, DownloadError, Downloaded, HttpClient, Reach};

use super::{QUICK, http_options, noise};
use crate::regsim::{Fault, RegSim, Rule};

/// Serves `bytes` under some URL.
fn serve(sim: &RegSim, bytes: &[u8]) -> Url {
    let digest = sim.put_blob("files", bytes);
    format!("{}/v2/files/blobs/{digest}?token=secret", sim.origin()).parse().unwrap()
}

async fn download(url: &Url, limit: u64) -> Result<(Downloaded, Vec<u8>), DownloadError> {
    let http = HttpClient::new(&http_options()).unwrap();
    let mut sink = Vec::new();
    let wanted = Download {
        url,
        authorization: None,
        reach: Reach::Anywhere,
        limit,
        retry: QUICK,
        gauge: None,
    };
    Ok((http.download(&wanted, &mut sink).await?, sink))
}

fn tagged(tag: &str) -> Fault {
    Fault::Headers(vec![("etag", tag.to_owned())])
}

#[tokio::test]
async fn a_file_is_downloaded_with_its_date() {
    let sim = RegSim::start().await;
    let bytes = noise(100_000);
    let url = serve(&sim, &bytes);
    let date = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
    sim.rule(Rule::new("GET", "/blobs/", Fault::Headers(vec![date])));
    let (downloaded, received) = download(&url, 100_000).await.unwrap();
    assert_eq!(received, bytes);
    let seconds = std::time::Duration::from_secs(784_111_777);
    let last_modified = Some(std::time::SystemTime::UNIX_EPOCH + seconds);
    assert_eq!(downloaded, Downloaded { url, bytes: 100_000, last_modified });
}

#[tokio::test]
async fn a_broken_download_of_a_named_version_is_resumed() {
    let sim = RegSim::start().await;
    let bytes = noise(100_000);
    let url = serve(&sim, &bytes);
    let cut = Fault::Several(vec![tagged("\"v1\""), Fault::CutResponseAfter(60_000)]);
    sim.rule(Rule::new("GET", "/blobs/", cut).times(1));
    sim.rule(Rule::new("GET", "/blobs/", tagged("\"v1\"")));
    let (downloaded, received) = download(&url, 100_000).await.unwrap();
    assert_eq!((downloaded.bytes, Digest::of(&received)), (100_000, Digest::of(&bytes)));
    let last = sim.requests().pop().unwrap();
    assert_eq!(last.header("range"), Some("bytes=60000-"));
    assert_eq!(last.header("if-range"), Some("\"v1\""));
}

#[tokio::test]
async fn parts_of_different_versions_are_never_put_together() {
    for tag in ["\"v2\"", "W/\"v1\""] {
        let sim = RegSim::start().await;
        let url = serve(&sim, &noise(100_000));
        let cut = Fault::Several(vec![tagged("\"v1\""), Fault::CutResponseAfter(60_000)]);
        sim.rule(Rule::new("GET", "/blobs/", cut).times(1));
        sim.rule(Rule::new("GET", "/blobs/", tagged(tag)));
        let error = download(&url, 100_000).await.unwrap_err();
        assert!(error.to_string().ends_with("changed while it was downloaded"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    // Without a name for the version there is no second try.
    let sim = RegSim::start().await;
    let url = serve(&sim, &noise(100_000));
    sim.rule(Rule::new("GET", "/blobs/", Fault::CutResponseAfter(60_000)).times(1));
    let error = download(&url, 100_000).await.unwrap_err();
    assert!(matches!(error, DownloadError::Http { .. }), "{error}");
    assert_eq!(sim.count("GET", "/blobs/"), 1);
}

#[tokio::test]
async fn refusals_are_retried_where_that_can_help() {
    let sim = RegSim::start().await;
    let url = serve(&sim, &noise(10));
    sim.rule(Rule::new("GET", "/blobs/", Fault::status(503)).times(3));
    download(&url, 10).await.unwrap();
    sim.rule(Rule::new("GET", "/blobs/", Fault::status(404)));
    let error = download(&url, 10).await.unwrap_err();
    let shown = url.as_str().replace("secret", "***");
    assert_eq!(
        error.to_string(),
        format!("cannot download `{shown}`: the answer is 404 Not Found")
    );
    assert_eq!(sim.count("GET", "/blobs/"), 5);
}

#[tokio::test]
async fn a_file_that_is_too_large_ends_as_soon_as_that_is_known() {
    let sim = RegSim::start().await;
    let url = serve(&sim, &noise(1000));
    assert!(matches!(download(&url, 999).await, Err(DownloadError::TooLarge { limit: 999, .. })));
    sim.rule(Rule::new("GET", "/blobs/", Fault::Endless));
    assert!(matches!(download(&url, 5_000_000).await, Err(DownloadError::TooLarge { .. })));
}

#[tokio::test]
async fn a_redirect_cannot_reach_what_the_url_itself_may() {
    let (sim, canary) = (RegSim::start().await, RegSim::start().await);
    let url = serve(&sim, &noise(10));
    sim.rule(Rule::new("GET", "/blobs/", Fault::redirect(302, canary.origin())));
    let error = download(&url, 10).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.ends_with("which a server may not send us to"), "{cause}");
    assert_eq!(canary.requests(), []);
    // What a Dockerfile names is no better than what a server names.
    let http = HttpClient::new(&http_options()).unwrap();
    let wanted = Download {
        url: &url,
        authorization: None,
        reach: Reach::PublicAndPrivate,
        limit: 10,
        retry: QUICK,
        gauge: None,
    };
    assert!(http.download(&wanted, &mut Vec::new()).await.is_err());
    assert_eq!(sim.count("GET", "/blobs/"), 1);
}
