//! The cache in a registry: requests and bytes are counted.

use super::*;
use crate::regsim::{Auth, Fault, RegSim, Rule};
use crate::skip_unless_available;

const DOCKERFILE: &str = "FROM base AS one\nCOPY tree /t\nRUN head -c 40000 /bin/busybox > /a\n\
                          FROM base\nCOPY --from=one /a /a\nRUN cat /a /a > /b\nCOPY one /c\nENV A=b\n";

/// Prepares a build that is pushed to the repository `app`.
pub(super) fn pushed(sim: &RegSim, context: &Path, arguments: &[&str]) -> Build {
    let digest = format!("--digest-file={}", digest_file(context).display());
    let to = format!("--destination={}/app:v1", sim.host());
    Build::of(context)
        .base("base", "busybox")
        .args(["--reproducible", "--insecure", "--skip-push-permission-check"])
        .args([shared(context).as_str(), &digest, &to])
        .args(arguments.iter().copied())
}

/// Builds and pushes to the repository `app`.
pub(super) async fn push(sim: &RegSim, context: &Path, arguments: &[&str]) -> String {
    let build = pushed(sim, context, arguments);
    let built = tokio::task::spawn_blocking(move || build.run()).await.unwrap();
    assert!(built.output.status.success(), "{}\n{:#?}", built.text(), sim.log());
    built.text()
}

/// Returns how many bytes were sent in bodies of uploads, configs of images not counted.
fn sent_bytes(sim: &RegSim, from: usize) -> u64 {
    let requests = sim.requests().into_iter().skip(from);
    let uploads = requests.filter(|request| request.path.contains("/blobs/uploads/"));
    uploads.map(|request| request.body).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_all_cached_moves_no_layer() {
    skip_unless_available!();
    let sim = RegSim::start().await;
    let context = context(DOCKERFILE);
    let path = context.path();
    let flags = ["--cache", "--cache-copy-layers"];
    let text = push(&sim, path, &flags).await;
    assert_eq!((hits(&text), warnings(&text).len()), (0, 0), "{text}");
    let digest = fs::read_to_string(digest_file(path)).unwrap();
    // New layers came from the destination they had gone to.
    let mounted = sim.requests().iter().filter(|one| one.query("from") == ["app"]).count();
    assert!(mounted > 0, "{:#?}", sim.log());

    let before = sim.requests().len();
    let text = push(&sim, path, &flags).await;
    assert_eq!((hits(&text), misses(&text)), (5, 0), "{text}");
    assert_eq!(fs::read_to_string(digest_file(path)).unwrap(), digest);
    let log: Vec<String> = sim.log().into_iter().skip(before).collect();
    assert_eq!(sent_bytes(&sim, before), 0, "{log:#?}");
    assert!(
        !log.iter().any(|line| line.starts_with("GET") && line.contains("/blobs/")),
        "{log:#?}"
    );
    // One lookup for all steps, a question a blob, the config's among them, and the manifest; all
    // questions are asked at once.
    assert_eq!(log.iter().filter(|line| line.contains("/cache/")).count(), 1, "{log:#?}");
    assert_eq!(log.iter().filter(|line| line.starts_with("HEAD")).count(), 5, "{log:#?}");
    // The first of them finds out that there is no TLS.
    assert_eq!(log.len(), 7, "{log:#?}");

    // Into another repository, layers of the cache are mounted.
    let before = sim.requests().len();
    let cache = format!("--cache-repo={}/app/cache", sim.host());
    let other = format!("--destination={}/other:v1", sim.host());
    push(&sim, path, &["--cache", "--cache-copy-layers", &cache, &other]).await;
    assert_eq!(sim.tag("other", "v1"), sim.tag("app", "v1"));
    let from_cache =
        sim.requests().iter().skip(before).filter(|one| one.query("from") == ["app/cache"]).count();
    assert_eq!(from_cache, 3, "{:#?}", sim.log().split_off(before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_upon_cached_commands_reads_no_layer() {
    skip_unless_available!();
    let sim = RegSim::start().await;
    let dockerfile = "FROM base\nRUN mkdir -p /d && head -c 400000 /bin/busybox > /d/a\n\
                      RUN ln -s d /l\nCOPY one /l/one\n";
    let context = context(dockerfile);
    let path = context.path();
    push(&sim, path, &["--cache"]).await;
    let expected = sim.tag("app", "v1");
    // Builds the same again, and returns the blobs that were fetched.
    let again = async || {
        let before = sim.requests().len();
        let text = push(&sim, path, &["--cache"]).await;
        assert_eq!(sim.tag("app", "v1"), expected, "{text}");
        assert_eq!((hits(&text), misses(&text)), (2, 0), "{text}");
        let log: Vec<String> = sim.log().into_iter().skip(before).collect();
        log.into_iter()
            .filter(|line| line.starts_with("GET") && line.contains("/blobs/"))
            .collect::<Vec<String>>()
    };
    // What the layers say is there since they were made.
    assert_eq!(again().await, [""; 0]);
    let elsewhere = || fs::remove_dir_all(path.with_extension("shared")).unwrap();
    elsewhere();
    // What the headers of the two say, and nothing else.
    let fetched = again().await;
    assert_eq!(fetched.len(), 2, "{fetched:#?}");
    assert_eq!(again().await, [""; 0]);
    let manifest = sim.manifest("app", "v1").unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        assert!(!fetched.iter().any(|line| line.contains(digest)), "{fetched:#?}");
    }
    // Where it cannot be had, the layers are read.
    elsewhere();
    for digest in fetched.iter().filter_map(|line| line.split("/blobs/").nth(1)) {
        let digest = digest.split_whitespace().next().unwrap().parse().unwrap();
        sim.remove_blob("app/cache", &digest);
    }
    let text = push(&sim, path, &["--cache"]).await;
    assert_eq!((sim.tag("app", "v1"), warnings(&text).len()), (expected, 0), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_gone_is_built_again() {
    skip_unless_available!();
    let sim = RegSim::start().await;
    let context = context("FROM base\nRUN head -c 40000 /bin/busybox > /a\nRUN echo b > /b\n");
    let path = context.path();
    push(&sim, path, &["--cache"]).await;
    let expected = sim.tag("app", "v1");
    for repository in ["app", "app/cache"] {
        let manifest = sim.manifest("app", "v1").unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        let first = layers[layers.len() - 2]["digest"].as_str().unwrap().parse().unwrap();
        sim.remove_blob(repository, &first);
    }
    let text = push(&sim, path, &["--cache"]).await;
    assert_eq!(sim.tag("app", "v1"), expected);
    assert_eq!((hits(&text), warnings(&text).len()), (2, 1), "{text}");
    assert!(text.contains("the build begins again without what the layer cache has"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_or_fails_costs_one_warning() {
    skip_unless_available!();
    let context = context("FROM base\nRUN echo a > /a\nRUN echo b > /b\nRUN echo c > /c\n");
    let path = context.path();
    let (_, expected) = built(path, &[]);
    for (method, status) in
        [("GET", 500), ("GET", 403), ("GET", 429), ("POST", 403), ("POST", 500), ("PUT", 507)]
    {
        let sim = RegSim::start_with(Auth::None).await;
        sim.rule(Rule::new(method, "/app/cache/", Fault::status(status)));
        let text = push(&sim, path, &["--cache"]).await;
        assert_eq!(fs::read_to_string(digest_file(path)).unwrap(), expected);
        // Who may not look may still be allowed to write.
        let expected = usize::from((method, status) != ("GET", 403));
        assert_eq!(warnings(&text).len(), expected, "{method} {status}\n{text}");
        let asked = sim.log().iter().filter(|line| line.contains("/app/cache/")).count();
        assert!(asked < 60, "{method} {status}: {:#?}", sim.log());
        assert_eq!(sim.open_sessions(), 0, "{method} {status}: {:#?}", sim.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_whose_answers_are_damaged_gives_the_right_image() {
    skip_unless_available!();
    let dockerfile =
        "FROM base\nCOPY tree /t\nRUN head -c 40000 /bin/busybox > /a\nCOPY one /one\n";
    let context = context(&format!("{dockerfile}RUN cat /a /a > /b\n"));
    let path = context.path();
    let sim = RegSim::start().await;
    push(&sim, path, &["--cache"]).await;
    // The last command is another one, so that what is below it has to be unpacked.
    fs::write(path.join("Dockerfile"), format!("{dockerfile}RUN cat /a > /b\n")).unwrap();
    let (_, expected) = built(path, &[]);
    let flags = ["--cache", "--no-push-cache"];
    let text = push(&sim, path, &flags).await;
    assert_eq!((hits(&text), warnings(&text).len()), (1, 0), "{text}");
    for kind in ["/app/cache/manifests/", "/app/cache/blobs/"] {
        for fault in [
            Fault::Corrupt(0),
            Fault::Corrupt(333),
            Fault::Shorten(0),
            Fault::Shorten(77),
            Fault::CutResponseAfter(55),
            Fault::Append(b"more".to_vec()),
            Fault::status(404),
            Fault::status(302),
        ] {
            let what = format!("{kind} {fault:?}");
            sim.rule(Rule::new("GET", kind, fault).times(3));
            let text = push(&sim, path, &flags).await;
            let digest = fs::read_to_string(digest_file(path)).unwrap();
            assert_eq!(digest, expected, "{what}\n{text}");
            // What is left of the rule is used up.
            push(&sim, path, &flags).await;
            push(&sim, path, &flags).await;
            assert_eq!(fs::read_to_string(digest_file(path)).unwrap(), expected, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn builders_that_race_on_a_registry_leave_what_goes_together() {
    skip_unless_available!();
    // Each run of the first command makes something else.
    let dockerfile = "FROM base\nRUN head -c 16 /dev/urandom > /a\nRUN cp /a /b\nRUN cp /b /c\n";
    let context = context(dockerfile);
    let path = context.path();
    let sim = RegSim::start().await;
    let racing = (0..3).map(|number| {
        let digest = format!("--digest-file={}", path.with_extension(number.to_string()).display());
        pushed(&sim, path, &["--cache", &digest]).start()
    });
    let racing: Vec<_> = racing.collect();
    for running in racing {
        let built = tokio::task::spawn_blocking(|| running.end()).await.unwrap();
        assert_succeeded(&built);
    }
    // Whatever is taken of what three hands have left, it was made of one another.
    fs::write(path.join("Dockerfile"), format!("{dockerfile}RUN cmp /a /b && cmp /b /c\n"))
        .unwrap();
    let text = push(&sim, path, &["--cache"]).await;
    assert!(hits(&text) > 0, "{text}");
    assert_eq!(warnings(&text).len(), 0, "{text}");
    let text = push(&sim, path, &["--cache"]).await;
    assert_eq!((hits(&text), misses(&text)), (4, 0), "{text}");
}
