//! Who is told which secret, how often, and what is said when it is not enough.

use std::sync::Arc;

use serde_json::json;
use snapshot::Digest;
use zuwai::registry::{BlobUpload, PushedBlob, Registry, RegistryError};

use super::{
    amd64, blob, layer, lines, noise, options, reference, registry, small_image, with_config,
};
use crate::regsim::{Auth, Fault, RegSim, Rule};

/// Base64 of `robot:hunter2`.
const ROBOT: &str = "Basic cm9ib3Q6aHVudGVyMg==";

fn login(sim: &RegSim) -> serde_json::Value {
    json!({"auths": {sim.host(): {"username": "robot", "password": "hunter2"}}})
}

async fn bearer() -> RegSim {
    let sim = RegSim::start_with(Auth::Bearer(None)).await;
    sim.policy(|policy| policy.user = Some(("robot", "hunter2")));
    small_image("linux", "amd64").put(&sim, "team/app", "v1");
    sim
}

async fn resolve(sim: &RegSim, registry: &Registry) -> Result<(), RegistryError> {
    registry.resolve(&reference(sim, "team/app:v1"), &amd64()).await.map(|_| ())
}

#[tokio::test]
async fn basic_credentials_follow_a_challenge() {
    let sim = RegSim::start_with(Auth::Basic("robot", "hunter2")).await;
    small_image("linux", "amd64").put(&sim, "team/app", "v1");
    let (_directory, registry) = with_config(&login(&sim), options());
    resolve(&sim, &registry).await.unwrap();
    let shown: Vec<Option<String>> = sim
        .requests()
        .iter()
        .map(|request| request.header("authorization").map(str::to_owned))
        .collect();
    // Only the question which scheme is spoken goes out without.
    assert_eq!(shown, [None, Some(ROBOT.to_owned()), Some(ROBOT.to_owned())]);
}

#[tokio::test]
async fn wrong_credentials_are_reported_with_file_and_entry() {
    let sim = RegSim::start_with(Auth::Basic("robot", "other")).await;
    let (directory, registry) = with_config(&login(&sim), options());
    let error = resolve(&sim, &registry).await.unwrap_err();
    let file = directory.path().join("config.json");
    assert_eq!(
        lines(&error),
        [
            format!("cannot fetch the manifest of `{}/team/app:v1`", sim.host()),
            format!(
                "registry `{}` answered 401 Unauthorized to GET: UNAUTHORIZED: authentication \
                 required",
                sim.host()
            ),
            format!("used entry `{}` of `{}`", sim.host(), file.display()),
        ]
    );
    assert_eq!(zuwai::report::fault::Fault::class(&error).name(), "auth");
    let shown: Vec<bool> =
        sim.requests().iter().map(|one| one.header("authorization").is_some()).collect();
    assert_eq!(shown, [false, true], "the same password is not sent twice");
}

#[tokio::test]
async fn missing_credentials_are_reported_with_where_they_were_looked_for() {
    for auth in [Auth::Basic("robot", "hunter2"), Auth::Bearer(None)] {
        let sim = RegSim::start_with(auth).await;
        sim.policy(|policy| policy.user = Some(("robot", "hunter2")));
        let (directory, registry) = with_config(&json!({"auths": {"x.example": {}}}), options());
        let error = resolve(&sim, &registry).await.unwrap_err();
        let file = directory.path().join("config.json");
        assert_eq!(
            lines(&error).last().unwrap(),
            &format!("no credentials: `{}` has no entry for `{}`", file.display(), sim.host())
        );
        let hint = zuwai::report::fault::Fault::hint(&error).unwrap();
        assert_eq!(hint, format!("add an entry for `{}` to `{}`", sim.host(), file.display()));
    }
}

#[tokio::test]
async fn one_token_serves_all_requests_of_a_repository() {
    let sim = bearer().await;
    let (_directory, registry) = with_config(&login(&sim), options());
    for _ in 0..3 {
        resolve(&sim, &registry).await.unwrap();
    }
    let tokens: Vec<_> =
        sim.requests().into_iter().filter(|request| request.path == "/token").collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].query("scope"), ["repository:team/app:pull"]);
    assert_eq!(tokens[0].query("service"), ["sim"]);
    assert_eq!(tokens[0].query("account"), ["robot"]);
    assert_eq!(tokens[0].header("authorization"), Some(ROBOT));
    assert_eq!(sim.requests().iter().filter(|request| request.status == 401).count(), 1);
}

#[tokio::test]
async fn a_registry_that_hides_from_strangers_what_it_has_is_asked_again() {
    let sim = bearer().await;
    let hidden = || Fault::error(404, "MANIFEST_UNKNOWN", "not here");
    sim.rule(Rule::new("GET", "/manifests/", hidden()).times(1));
    let (_directory, registry) = with_config(&login(&sim), options());
    resolve(&sim, &registry).await.unwrap();
    let log = sim.log();
    let (first, root) = ("GET /v2/team/app/manifests/v1 404", "GET /v2/ 401");
    assert_eq!(log[..2], [first, root], "{log:#?}");
    // Whoever has nothing to show, or was asked for it before, believes it at once.
    sim.rule(Rule::new("GET", "/manifests/", hidden()).times(1));
    let before = sim.requests().len();
    assert_eq!(resolve(&sim, &registry).await.unwrap_err().status(), Some(404));
    assert_eq!(sim.requests().len(), before + 1);
    sim.rule(Rule::new("GET", "/manifests/", hidden()).times(1));
    let before = sim.requests().len();
    let stranger = super::registry(options());
    assert_eq!(resolve(&sim, &stranger).await.unwrap_err().status(), Some(404));
    let asked = sim.log().split_off(before);
    assert!(!asked[0].contains("401"), "{asked:#?}");
    assert_eq!(asked.iter().filter(|line| line.contains("manifests")).count(), 1, "{asked:#?}");
}

#[tokio::test]
async fn a_public_image_needs_an_anonymous_token() {
    let sim = bearer().await;
    sim.policy(|policy| policy.user = None);
    resolve(&sim, &registry(options())).await.unwrap();
    let token = sim.requests().into_iter().find(|request| request.path == "/token").unwrap();
    assert_eq!(token.header("authorization"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_requests_fetch_and_renew_one_token_together() {
    let sim = Arc::new(bearer().await);
    let (_directory, registry) = with_config(&login(&sim), options());
    let wave = async |sim: &Arc<RegSim>| {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (sim, registry) = (Arc::clone(sim), registry.clone());
                tokio::spawn(async move { resolve(&sim, &registry).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    };
    wave(&sim).await;
    assert_eq!(sim.count("GET", "/token"), 1);
    sim.revoke_tokens();
    wave(&sim).await;
    assert_eq!(sim.count("GET", "/token"), 2);
}

#[tokio::test]
async fn a_token_near_its_end_is_not_used() {
    let sim = bearer().await;
    sim.policy(|policy| policy.lifetime_seconds = Some(0.000_001));
    let (_directory, registry) = with_config(&login(&sim), options());
    resolve(&sim, &registry).await.unwrap();
    assert_eq!(sim.count("GET", "/token"), 2, "one for the manifest, one for the config");
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_then_reported() {
    let sim = bearer().await;
    let (_directory, registry) = with_config(&login(&sim), options());
    resolve(&sim, &registry).await.unwrap();
    sim.revoke_tokens();
    resolve(&sim, &registry).await.unwrap();
    assert_eq!(sim.count("GET", "/token"), 2);
    sim.policy(|policy| policy.uses = Some(0));
    sim.revoke_tokens();
    let error = resolve(&sim, &registry).await.unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert_eq!(sim.count("GET", "/token"), 3);
}

#[tokio::test]
async fn a_push_outlives_its_tokens() {
    // A token that is good for few requests ends in the middle of everything, bodies included.
    for uses in 1..=4 {
        let sim = bearer().await;
        sim.policy(|policy| policy.uses = Some(uses));
        let (_directory, registry) = with_config(&login(&sim), options());
        let bytes = noise(400_000);
        let pushed =
            registry.push_blob(&reference(&sim, "team/app"), &blob(bytes.clone())).await.unwrap();
        assert!(matches!(pushed, PushedBlob::Uploaded(_)), "{uses}");
        assert_eq!(sim.blob("team/app", &Digest::of(&bytes)), Some(bytes), "{uses}");
        assert_eq!(sim.open_sessions(), 0, "{uses}: {:#?}", sim.log());
    }
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let sim = bearer().await;
    sim.policy(|policy| policy.identity = Some("refresh me"));
    let config = json!({"auths": {sim.host(): {"auth": "AA==", "identitytoken": "refresh me"}}});
    let (_directory, registry) = with_config(&config, options());
    resolve(&sim, &registry).await.unwrap();
    let post = sim.requests().into_iter().find(|request| request.path == "/token").unwrap();
    assert_eq!(post.method, "POST");
    assert_eq!(post.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(post.header("authorization"), None);
    assert_eq!(post.query, "", "the token must not be in a URL, which proxies log");
    assert_eq!(
        post.body,
        "grant_type=refresh_token&client_id=zuwai&refresh_token=refresh+me&service=sim&\
         scope=repository%3Ateam%2Fapp%3Apull"
            .len() as u64
    );
}

#[tokio::test]
async fn a_registry_token_is_shown_as_it_is() {
    let sim = bearer().await;
    sim.grant("given-token", "repository:team/app:pull");
    let config = json!({"auths": {sim.host(): {"registrytoken": "given-token"}}});
    let (_directory, registry) = with_config(&config, options());
    resolve(&sim, &registry).await.unwrap();
    assert_eq!(sim.count("GET", "/token"), 0);
    let last = sim.requests().pop().unwrap();
    assert_eq!(last.header("authorization"), Some("Bearer given-token"));
}

#[tokio::test]
async fn each_repository_shows_its_own_credentials() {
    let sim = bearer().await;
    small_image("linux", "amd64").put(&sim, "other/app", "v1");
    let config = json!({"auths": {
        sim.host(): {"username": "wrong", "password": "wrong"},
        format!("{}/team", sim.host()): {"username": "robot", "password": "hunter2"},
    }});
    let (_directory, registry) = with_config(&config, options());
    resolve(&sim, &registry).await.unwrap();
    let error = registry.resolve(&reference(&sim, "other/app:v1"), &amd64()).await.unwrap_err();
    assert_eq!(
        lines(&error)[1],
        format!(
            "token server `{}` answered 401 Unauthorized to GET: incorrect username or password",
            sim.host()
        )
    );
}

#[tokio::test]
async fn a_mount_asks_for_both_repositories_and_can_do_without() {
    let sim = bearer().await;
    let bytes = noise(1000);
    sim.put_blob("base", &bytes);
    let (_directory, registry) = with_config(&login(&sim), options());
    let wanted = BlobUpload { mount_from: vec![reference(&sim, "base:v1")], ..blob(bytes.clone()) };
    let pushed = registry.push_blob(&reference(&sim, "one"), &wanted).await.unwrap();
    assert_eq!(pushed, PushedBlob::Mounted { from: "base".into() });
    let scopes: Vec<Vec<String>> = sim
        .requests()
        .iter()
        .filter(|request| request.path == "/token")
        .map(|request| request.query("scope"))
        .collect();
    assert_eq!(
        scopes,
        [
            vec!["repository:one:pull,push".to_owned()],
            vec!["repository:base:pull".to_owned(), "repository:one:pull,push".to_owned()],
        ]
    );
    // The token server does not let us read the other repository: no reason to fail.
    sim.policy(|policy| policy.forbidden = Some("repository:base"));
    let pushed = registry.push_blob(&reference(&sim, "two"), &wanted).await.unwrap();
    assert!(matches!(pushed, PushedBlob::Uploaded(_)), "{pushed:?}");
    assert_eq!(sim.open_sessions(), 0);
}

#[tokio::test]
async fn a_token_server_may_fail_for_a_while() {
    let sim = bearer().await;
    sim.rule(Rule::new("GET", "/token", Fault::status(503)).times(3));
    let (_directory, registry) = with_config(&login(&sim), options());
    resolve(&sim, &registry).await.unwrap();
    assert_eq!(sim.count("GET", "/token"), 4);
}

#[tokio::test]
async fn answers_that_hold_no_token_are_errors_and_never_quoted() {
    for (body, reason) in [
        (r#"{"token":""}"#, "it holds no token"),
        (r#"{"secret":"x"}"#, "it holds no token"),
        ("secret", "it is not the expected JSON"),
    ] {
        let sim = bearer().await;
        let answer = Fault::Answer { status: 200, headers: Vec::new(), body: body.into() };
        sim.rule(Rule::new("GET", "/token", answer));
        let (_directory, registry) = with_config(&login(&sim), options());
        let error = resolve(&sim, &registry).await.unwrap_err();
        assert_eq!(
            lines(&error)[1],
            format!("`{}` served a token answer that is not usable: {reason}", sim.host())
        );
    }
    let sim = bearer().await;
    sim.rule(Rule::new("GET", "/token", Fault::Endless));
    let (_directory, registry) = with_config(&login(&sim), options());
    let error = resolve(&sim, &registry).await.unwrap_err();
    assert!(lines(&error)[1].ends_with("is larger than 1048576 bytes"), "{:?}", lines(&error));
}

#[tokio::test]
async fn no_error_shows_a_secret() {
    let sim = bearer().await;
    // A registry that repeats what it was told.
    sim.rule(Rule::new("GET", "/manifests/", Fault::Nothing).times(1));
    sim.rule(Rule::new("GET", "/manifests/", Fault::Echo));
    let (_directory, registry) = with_config(&login(&sim), options());
    let error = resolve(&sim, &registry).await.unwrap_err();
    let shown = format!("{:?} {error:?}", lines(&error));
    assert!(shown.contains("you said Bearer ***"), "{shown}");
    assert!(!shown.contains("token-"), "{shown}");

    let sim = RegSim::start_with(Auth::Basic("robot", "hunter2")).await;
    sim.rule(Rule::new("HEAD", "", Fault::status(403)));
    sim.rule(Rule::new("POST", "", Fault::Echo));
    let (_directory, registry) = with_config(&login(&sim), options());
    let error = registry
        .push_blob(&reference(&sim, "app"), &blob(layer(b"").digest.into_bytes()))
        .await
        .unwrap_err();
    let shown = format!("{:?} {error:?}", lines(&error));
    assert!(shown.contains("you said Basic ***"), "{shown}");
    assert!(!shown.contains("cm9ib3Q6"), "{shown}");
}
