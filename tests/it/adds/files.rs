//! Files behind URLs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use super::*;
use crate::contexts::server::{Answer, Asked, Web};
use crate::contexts::{HELLO, archive};
use crate::skip_unless_available;

/// When the server's files were changed, and as a number.
const CHANGED: (&str, u64) = ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777);

/// Answers every request with the same file.
async fn serve(body: impl Into<Vec<u8>>) -> Web {
    let body = body.into();
    Web::start(move |_| Answer::new(200, body.clone()).header("last-modified", CHANGED.0)).await
}

fn checksum(bytes: impl AsRef<[u8]>) -> String {
    let hex: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", hex.concat())
}

#[tokio::test]
async fn a_file_has_its_urls_name_its_servers_time_and_is_roots_alone() {
    let server = serve(HELLO).await;
    let url = server.url();
    let project = Project::new(&format!(
        "FROM scratch\n\
         ADD {url}/dir/tool?v=1 /bin/\n\
         ADD --chmod=755 --chown=7:8 {url}/dir/tool?v=1 /renamed\n\
         ADD local {url}/dir/tool?v=1 {url}/ /both/\n\
         ADD --link --exclude=to* {url}/dir/tool?v=1 {url}/a%20b /linked/\n"
    ));
    let ended = project.build().run().await;
    ended.works();
    let is_fetched = |entry: &String| entry.contains(HELLO.trim());
    let entries: Vec<String> = ended.entries().into_iter().filter(is_fetched).collect();
    let rest = |mode_and_owner: &str| format!("{mode_and_owner} {} {}", CHANGED.1, HELLO.trim());
    assert_eq!(
        entries,
        [
            format!("bin/tool {}", rest("600 0:0")),
            format!("both/__unnamed__ {}", rest("600 0:0")),
            format!("both/tool {}", rest("600 0:0")),
            format!("linked/a b {}", rest("600 0:0")),
            format!("renamed {}", rest("755 7:8")),
        ]
    );
    assert!(ended.names().contains(&"both/local".to_owned()), "{:?}", ended.names());
    // Each was asked for once, however often it was added.
    assert_eq!(server.asked().len(), 3, "{:?}", server.asked());
}

#[tokio::test]
async fn an_archive_is_unpacked_where_the_dockerfile_says_so() {
    let server = serve(archive()).await;
    let url = server.url();
    let project = Project::new(&format!("FROM scratch\nADD {url}/a.tar.gz /dst/\n"));
    let ended = project.build().run().await;
    assert!(ended.success, "{}", ended.text);
    assert_eq!(ended.names(), ["dst/", "dst/a.tar.gz"]);
    project.dockerfile(&format!("FROM scratch\nADD --unpack {url}/a.tar.gz /dst\n"));
    let ended = project.build().run().await;
    ended.works();
    assert_eq!(ended.names(), ["dst/", "dst/Dockerfile", "dst/hello"]);
    // What turns out to be no archive is copied.
    let server = serve(HELLO).await;
    project.dockerfile(&format!("FROM scratch\nADD --unpack {}/f /dst\n", server.url()));
    assert_eq!(project.build().run().await.names(), ["dst"]);
}

#[tokio::test]
async fn what_cannot_be_fetched_ends_the_build_and_shows_no_secret() {
    let server = Web::start(|asked| match asked.path.as_str() {
        "/away" => Answer::new(302, "").header("location", "http://169.254.169.254/hunter2"),
        "/private" => Answer::new(403, "hunter2"),
        _ => Answer::new(404, "hunter2"),
    })
    .await;
    let (url, host) = (server.url(), server.address);
    for (source, expected) in [
        (
            "none?token=$SECRET",
            format!("cannot download `{url}/none?token=***`: the answer is 404"),
        ),
        ("private", format!("cannot download `{url}/private`: the answer is 403")),
        ("away", format!("cannot download `{url}/away`")),
    ] {
        let project = Project::new(&format!("FROM scratch\nARG SECRET\nADD {url}/{source} /x\n"));
        let build = project.build().arg("--build-arg=SECRET=hunter2");
        build.run().await.fails(&expected);
    }
    for source in ["http://169.254.169.254/x", "http://metadata.google.internal/x"] {
        let project = Project::new(&format!("FROM scratch\nADD {source} /\n"));
        project.build().run().await.fails("hint: cloud metadata and link-local addresses are not");
    }
    let text = format!("FROM scratch\nARG SECRET\nADD http://u:$SECRET@{host}/x /x\n");
    let project = Project::new(&text);
    let build = project.build().arg("--build-arg=SECRET=hunter2");
    build.run().await.fails(&format!("cannot download `{url}/x`: the answer is 404"));
}

#[tokio::test]
async fn a_private_file_takes_a_secret_that_only_its_server_sees() {
    let other = Web::start(|asked| match asked.header("authorization") {
        "" => Answer::new(200, HELLO),
        _ => Answer::new(500, "a secret of another server"),
    })
    .await;
    // A name, because nobody may be sent to this machine.
    let elsewhere = "http://elsewhere.example/f";
    let server = Web::start(move |asked| match asked.header("authorization") {
        "Bearer hunter2" | "Token hunter2" if asked.path == "/away" => {
            Answer::new(302, "").header("location", elsewhere)
        }
        "Bearer hunter2" | "Token hunter2" => Answer::new(200, HELLO),
        _ => Answer::new(401, ""),
    })
    .await;
    let (url, host) = (server.url(), server.address);
    let project = Project::new(&format!("FROM scratch\nADD {url}/f {url}/away /x/\n"));
    let build = |secret: &str, value: &str| {
        let build = project.build().env("VALUE", value).env("NO_PROXY", "127.0.0.1");
        build.env("HTTP_PROXY", other.url()).arg(format!("--secret=id={secret},env=VALUE"))
    };
    for (id, value) in [
        (format!("HTTP_AUTH_TOKEN_{host}"), "hunter2\n"),
        (format!("HTTP_AUTH_HEADER_{host}"), "Token hunter2"),
    ] {
        let ended = build(&id, value).run().await;
        ended.works();
        assert!(!ended.text.contains("hunter2") && !ended.has_text("hunter2"), "{}", ended.text);
    }
    assert_eq!(other.asked().len(), 2);
    let refused = format!(
        "cannot download `{url}/f`: the answer is 401 Unauthorized\n\
         hint: a private file needs a token: `--secret id=HTTP_AUTH_TOKEN_HOST,…`"
    );
    build("HTTP_AUTH_TOKEN_h", "hunter2").run().await.fails(&refused);
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on() {
    let body = HELLO.repeat(5000);
    let (length, tries) = (body.len(), Arc::new(AtomicUsize::new(0)));
    let server = Web::start(move |asked: &Asked| {
        let answer = Answer::new(200, body.clone()).header("etag", "\"1\"");
        match (tries.fetch_add(1, Ordering::Relaxed), asked.header("range")) {
            (0, "") => Answer { cut: Some(40_000), ..answer },
            (_, range) => {
                let start: usize = range["bytes=".len()..range.len() - 1].parse().unwrap();
                let range = format!("bytes {start}-{}/{length}", length - 1);
                Answer::new(206, &body[start..])
                    .header("etag", "\"1\"")
                    .header("content-range", range)
            }
        }
    })
    .await;
    let checksum = checksum(HELLO.repeat(5000));
    let url = server.url();
    let project = Project::new(&format!("FROM scratch\nADD --checksum={checksum} {url}/f /f\n"));
    project.build().run().await.works();
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_file_that_is_another_than_its_checksum_says_is_not_added() {
    let server = serve("other").await;
    let (url, expected) = (server.url(), checksum(HELLO));
    let project = Project::new(&format!("FROM scratch\nADD --checksum={expected} {url}/f /f\n"));
    let got = checksum("other");
    let ended = project.build().run().await;
    ended.fails(&format!(
        "`{url}/f` is not what `--checksum` says: expected `{expected}`, got `{got}`"
    ));
}

#[tokio::test]
async fn a_cached_layer_is_of_what_the_url_had() {
    let (content, changed) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(1)));
    let (now, last) = (Arc::clone(&content), Arc::clone(&changed));
    let server = Web::start(move |_| {
        let day = last.load(Ordering::Relaxed);
        let body = format!("content {}\n", now.load(Ordering::Relaxed));
        Answer::new(200, body).header("last-modified", format!("Tue, 0{day} Nov 1994 08:49:37 GMT"))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let url = server.url();
    let text = format!("FROM scratch\nADD {url}/f /x/\nCOPY local /\n");
    let project = Project::new(&text);
    let ended = project.cached(&cache).run().await;
    ended.has("content 1\n");
    assert_eq!((hits(&ended), server.asked().len()), (0, 1), "{}", ended.text);
    // When it was changed is not what it is.
    changed.store(8, Ordering::Relaxed);
    let ended = project.cached(&cache).run().await;
    assert_eq!((hits(&ended), server.asked().len()), (2, 2), "{}", ended.text);
    // Nor is where it is.
    project.dockerfile(&text.replace("/f ", "/elsewhere/f?signed "));
    assert_eq!(hits(&project.cached(&cache).run().await), 2);
    for other in [text.replace("/f ", "/g "), text.replace("ADD", "ADD --unpack")] {
        project.dockerfile(&other);
        assert_eq!(hits(&project.cached(&cache).run().await), 0);
    }
    project.dockerfile(&text);
    content.store(2, Ordering::Relaxed);
    let ended = project.cached(&cache).run().await;
    ended.has("content 2\n");
    assert_eq!(hits(&ended), 0, "{}", ended.text);
    assert!(ended.text.contains(&format!("`{url}/f` changed")), "{}", ended.text);
    // A plan fetches nothing.
    let before = server.asked().len();
    let plan = project.plan(&cache).await;
    assert!(plan.contains("-> not known before what it adds is fetched\n"), "{plan}");
    assert_eq!(server.asked().len(), before);
}

#[tokio::test]
async fn with_a_checksum_a_cached_layer_needs_no_request() {
    let server = serve(HELLO).await;
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let (url, sum) = (server.url(), checksum(HELLO));
    let project =
        Project::new(&format!("FROM scratch\nADD --checksum={sum} {url}/f /x/\nCOPY local /\n"));
    let ended = project.cached(&cache).run().await;
    ended.works();
    assert_eq!((hits(&ended), server.asked().len()), (0, 1));
    let plan = project.plan(&cache).await;
    assert_eq!(plan.matches("-> cached\n").count(), 2, "{plan}");
    let ended = project.cached(&cache).run().await;
    assert_eq!((hits(&ended), server.asked().len()), (2, 1), "{}", ended.text);
    // The same file, checked or not.
    project.dockerfile(&format!("FROM scratch\nADD {url}/f /x/\nCOPY local /\n"));
    assert_eq!(hits(&project.cached(&cache).run().await), 2);
}

#[tokio::test]
async fn commands_find_what_was_added() {
    skip_unless_available!();
    let server = serve(HELLO).await;
    let url = server.url();
    let text = format!(
        "FROM base\nRUN mkdir /real && ln -s real /link && echo old > /real/old\n\
         ADD --chmod=u+x {url}/f /link\nADD --link {url}/f /real/old\n\
         RUN grep hello /real/f /real/old && test -x /real/f && stat -c %Y /real/f > /time\n"
    );
    let project = Project::new(&text);
    let (context, layout) = (project.path().to_owned(), project.path().join("out"));
    tokio::task::spawn_blocking(move || {
        crate::witness::harness::Build::of(&context)
            .base("base", "busybox")
            .args(["--no-push", "--destination=image:latest"])
            .arg(format!("--oci-layout-path={}", layout.display()))
            .succeed();
    })
    .await
    .unwrap();
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn buildah_makes_the_same_of_it() {
    skip_unless_available!();
    let server = serve(archive()).await;
    let url = server.url();
    let project = Project::new(&format!(
        "FROM scratch\nADD {url}/dir/tool /bin/\nADD {url}/tool?x=y /renamed\n\
         ADD --chown=7:8 {url}/tool {url}/other /own/\nADD --chmod=755 {url}/a.tar.gz /mode/\n"
    ));
    let context = project.path().to_owned();
    let listed = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let buildah = |arguments: &[&str]| {
            let output = crate::witness::harness::run(
                Command::new("buildah")
                    .arg("--root")
                    .arg(folder.path().join("root"))
                    .arg("--runroot")
                    .arg(folder.path().join("run"))
                    .args(["--storage-driver", "vfs"])
                    .args(arguments)
                    .env("TMPDIR", folder.path()),
            );
            String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
        };
        buildah(&["build", "--quiet", "--tag", "peer", context.to_str().unwrap()]);
        let container = buildah(&["from", "peer"]);
        let root = buildah(&["mount", &container]);
        // What is a file in the layers; directories are as old as the build.
        let list = "cd \"$1\" && find . -type f -printf '%P %m %U:%G %Ts\\n' | LC_ALL=C sort";
        let listed = Command::new("sh").args(["-c", list, "sh", &root]).output().unwrap();
        buildah(&["rm", &container]);
        String::from_utf8(listed.stdout).unwrap()
    })
    .await
    .unwrap();
    let ended = project.build().run().await;
    let fields = |entry: &String| entry.splitn(5, ' ').take(4).collect::<Vec<_>>().join(" ");
    let ours: Vec<String> =
        ended.entries().iter().map(fields).filter(|entry| !entry.contains("/ ")).collect();
    assert_eq!(ours, listed.lines().collect::<Vec<_>>(), "{}", ended.text);
    assert_eq!(ours.len(), 5);
}
