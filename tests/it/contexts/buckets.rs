//! Archives behind URLs and in buckets: kaniko's recipes, and what can be wrong with them.

use super::server::{Answer, Asked, Web, tunnel_to};
use super::{Build, HELLO, Tls, archive, archive_below, gzip};

const DENIED: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code>\
                      <Message>Access Denied</Message><RequestId>17</RequestId></Error>";

/// An S3 server with one object, for whoever shows this key.
fn s3(asked: &Asked) -> Answer {
    if !asked.header("authorization").contains("Credential=AKIATEST/") {
        return Answer::new(403, DENIED).header("content-type", "application/xml");
    }
    match asked.path.as_str() {
        "/bucket/path/to/context.tar.gz" | "/bucket/context.tar.gz" => object(archive()),
        _ => Answer::new(
            404,
            "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message>\
             </Error>",
        ),
    }
}

fn object(bytes: Vec<u8>) -> Answer {
    Answer::new(200, bytes)
        .header("etag", "\"one\"")
        .header("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT")
}

fn with_keys(build: Build, server: &Web) -> Build {
    build
        .env("S3_ENDPOINT", server.url())
        .env("S3_FORCE_PATH_STYLE", "true")
        .env("AWS_ACCESS_KEY_ID", "AKIATEST")
        .env("AWS_SECRET_ACCESS_KEY", "hunter2")
        .env("AWS_REGION", "eu-west-1")
}

#[tokio::test]
async fn s3_with_an_endpoint_path_style_and_static_keys() {
    let server = Web::start(s3).await;
    with_keys(Build::of("s3://bucket/path/to/context.tar.gz"), &server).run().await.works();
    // Without a key it is kaniko's usual name.
    with_keys(Build::of("s3://bucket"), &server).run().await.works();
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    let authorization = asked[0].header("authorization");
    assert!(authorization.contains("/eu-west-1/s3/aws4_request"), "{authorization}");
}

#[tokio::test]
async fn s3_with_a_session_token_sends_it() {
    let server = Web::start(|asked| match asked.header("x-amz-security-token") {
        "temporary" => s3(asked),
        _ => Answer::new(
            400,
            "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>\
             </Error>",
        ),
    })
    .await;
    let build = || with_keys(Build::of("s3://bucket/context.tar.gz"), &server);
    build().env("AWS_SESSION_TOKEN", "temporary").run().await.works();
    build().env("AWS_SESSION_TOKEN", "old-hunter2").run().await.fails(&format!(
        "error: cannot fetch the build context `s3://bucket/context.tar.gz`\n\
         cause: `{}` answered 400: ExpiredToken: The provided token has expired.",
        server.address
    ));
}

#[tokio::test]
async fn a_refusal_shows_the_providers_words() {
    let server = Web::start(s3).await;
    with_keys(Build::of("s3://bucket/other"), &server).run().await.fails(&format!(
        "error: cannot fetch the build context `s3://bucket/other`\n\
         cause: `{}` answered 404: NoSuchKey: The specified key does not exist.",
        server.address
    ));
    with_keys(Build::of("s3://bucket/context.tar.gz"), &server)
        .env("AWS_ACCESS_KEY_ID", "AKIAOTHER")
        .run()
        .await
        .fails(&format!("cause: `{}` answered 403: AccessDenied: Access Denied\n", server.address));
}

#[tokio::test]
async fn a_bucket_in_another_region_is_asked_there() {
    let server = Web::start(|asked| {
        if asked.header("authorization").contains("/ap-south-1/s3/") {
            return s3(asked);
        }
        Answer::new(
            301,
            "<Error><Code>PermanentRedirect</Code><Message>The bucket you are attempting to access \
             must be addressed using the specified endpoint.</Message></Error>",
        )
        .header("x-amz-bucket-region", "ap-south-1")
    })
    .await;
    let ended = with_keys(Build::of("s3://bucket/context.tar.gz"), &server).run().await;
    ended.works();
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_public_bucket_needs_no_credentials_and_others_say_where_they_were_looked_for() {
    let server = Web::start(|asked| match (asked.path.as_str(), asked.header("authorization")) {
        ("/public/context.tar.gz", "") => object(archive()),
        _ => Answer::new(403, DENIED),
    })
    .await;
    let build = |context: &str| Build::of(context).env("S3_ENDPOINT", server.url());
    build("s3://public").run().await.works();
    build("s3://private").run().await.fails(&format!(
        "cause: `{}` answered 403: AccessDenied: Access Denied (asked without credentials: none \
         were found)\nhint: credentials were looked for in `AWS_ACCESS_KEY_ID`",
        server.address
    ));
}

#[tokio::test]
async fn a_sub_path_of_an_archive_is_the_context() {
    let server = Web::start(|_| object(archive_below("services/api/"))).await;
    with_keys(Build::of("s3://bucket/context.tar.gz"), &server)
        .arg("--context-sub-path=services/api")
        .run()
        .await
        .works();
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_broke() {
    let whole = gzip(&{
        let mut builder = tar::Builder::new(Vec::new());
        for (name, text) in [("Dockerfile", "FROM scratch\nCOPY hello /\n"), ("hello", HELLO)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    });
    let server = Web::start(move |asked| {
        let range = asked.header("range").strip_prefix("bytes=").unwrap_or_default();
        let start: usize = range.split('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        match start {
            0 => Answer { cut: Some(100), ..object(whole.clone()) },
            start => Answer {
                status: 206,
                ..object(whole[start..].to_vec()).header(
                    "content-range",
                    format!("bytes {start}-{}/{}", whole.len() - 1, whole.len()),
                )
            },
        }
    })
    .await;
    let ended = with_keys(Build::of("s3://bucket/context.tar.gz"), &server).run().await;
    ended.works();
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_truncated_archive_is_an_error_that_says_so() {
    let server = Web::start(|_| {
        let mut bytes = archive();
        bytes.truncate(bytes.len() / 2);
        object(bytes)
    })
    .await;
    with_keys(Build::of("s3://bucket/context.tar.gz"), &server)
        .run()
        .await
        .fails("error: cannot unpack the build context `s3://bucket/context.tar.gz`\ncause: ");
}

#[tokio::test]
async fn gs_with_an_emulator() {
    let server = Web::start(|asked| match asked.path.as_str() {
        "/bucket/path/context.tar.gz" | "/bucket/context.tar.gz" => object(archive()),
        _ => Answer::new(404, "<Error><Code>NoSuchKey</Code><Message>None.</Message></Error>"),
    })
    .await;
    let build = |context: &str| Build::of(context).env("STORAGE_EMULATOR_HOST", server.url());
    build("gs://bucket/path/context.tar.gz").run().await.works();
    build("gs://bucket").run().await.works();
    // kaniko's oldest form.
    build("").arg("--bucket=bucket").run().await.works();
    build("/workspace/").arg("--bucket=bucket/path/context.tar.gz").run().await.works();
    build("gs://bucket/none").run().await.fails(&format!(
        "cannot fetch the build context `gs://bucket/none`\n\
         cause: `{}` answered 404: NoSuchKey: None.",
        server.address
    ));
}

#[tokio::test]
async fn answers_that_say_little_are_taken() {
    // Neither version nor date, and no length, as of what is decompressed on the way.
    let server = Web::start(|_| Answer { chunked: true, ..Answer::new(200, archive()) }).await;
    Build::of("gs://bucket").env("STORAGE_EMULATOR_HOST", server.url()).run().await.works();
    with_keys(Build::of("s3://bucket"), &server).run().await.works();
}

#[tokio::test]
async fn azure_with_the_accounts_key() {
    let host = "acme.blob.core.windows.net";
    let tls = Tls::of(&[host]);
    let server = Web::start_tls(tls.pair(), |asked| {
        if !asked.header("authorization").starts_with("SharedKey acme:") {
            return Answer::new(
                403,
                "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error>\
                 <Code>AuthenticationFailed</Code><Message>Server failed to authenticate.\n\
                 RequestId:1</Message></Error>",
            );
        }
        assert_eq!(asked.path, "/container/dir/context.tar.gz");
        object(archive())
    })
    .await;
    let proxy = tunnel_to(server.address).await;
    let url = format!("https://{host}/container/dir/context.tar.gz");
    let build = |key: &str| {
        Build::of(&url)
            .trusting(&tls)
            .env("HTTPS_PROXY", &proxy)
            .env("AZURE_STORAGE_ACCESS_KEY", key)
    };
    build("aHVudGVyMg==").run().await.works();
    let ended = build("").env("HTTP_PROXY", "http://127.0.0.1:9").run().await;
    ended.fails(&format!(
        "error: cannot fetch the build context `{url}`\ncause: `{host}` answered 403: \
         AuthenticationFailed: Server failed to authenticate. RequestId:1 (asked without \
         credentials: none were found)\nhint: credentials were looked for in \
         `AZURE_STORAGE_ACCESS_KEY`"
    ));
}

#[tokio::test]
async fn a_signed_url_of_azure_is_asked_as_it_is() {
    let host = "acme.blob.core.windows.net";
    let tls = Tls::of(&[host]);
    let server = Web::start_tls(tls.pair(), |asked| match asked.query.as_str() {
        "sv=2024&sig=hunter2" => object(archive()),
        _ => Answer::new(403, ""),
    })
    .await;
    let proxy = tunnel_to(server.address).await;
    let build = |query: &str| {
        Build::of(&format!("https://{host}/container/context.tar.gz?{query}"))
            .trusting(&tls)
            .env("HTTPS_PROXY", &proxy)
    };
    build("sv=2024&sig=hunter2").run().await.works();
    build("sv=2024&sig=old-hunter2").run().await.fails(&format!(
        "error: cannot fetch the build context\ncause: cannot download \
         `https://{host}/container/context.tar.gz?sv=***&sig=***`: the answer is 403 Forbidden"
    ));
}

#[tokio::test]
async fn any_https_url() {
    let tls = Tls::of(&["127.0.0.1"]);
    let server = Web::start_tls(tls.pair(), |asked| match asked.path.as_str() {
        "/context.tar.gz" => object(archive()),
        "/moved" => Answer::new(302, "").header("location", "/context.tar.gz"),
        "/half" => Answer { cut: Some(50), ..Answer::new(200, archive()) },
        "/private" if asked.header("authorization") == "Basic bWU6aHVudGVyMg==" => {
            object(archive())
        }
        _ => Answer::new(404, ""),
    })
    .await;
    let build = |path: &str| Build::of(&format!("https://{}{path}", server.address)).trusting(&tls);
    build("/context.tar.gz").run().await.works();
    build("/moved").run().await.works();
    Build::of(&format!("https://me:hunter2@{}/private", server.address))
        .trusting(&tls)
        .run()
        .await
        .works();
    build("/none").run().await.fails(&format!(
        "error: cannot fetch the build context\ncause: cannot download `https://{}/none`: the \
         answer is 404 Not Found",
        server.address
    ));
    build("/half").run().await.fails(&format!(
        "error: cannot fetch the build context\ncause: cannot download `https://{}/half`",
        server.address
    ));
}

#[tokio::test]
async fn an_archive_from_elsewhere_cannot_leave_its_directory() {
    let server = Web::start(|_| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Symlink);
        builder.append_link(&mut header, "out", "/etc").unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        builder.append_data(&mut header, "out/zuwai-was-here", b"x".as_slice()).unwrap();
        object(gzip(&builder.into_inner().unwrap()))
    })
    .await;
    let ended = with_keys(Build::of("s3://bucket/context.tar.gz"), &server).run().await;
    assert!(!ended.success, "{}", ended.text);
    assert!(!std::path::Path::new("/etc/zuwai-was-here").exists());
}
