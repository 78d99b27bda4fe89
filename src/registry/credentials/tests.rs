use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::http::{HttpOptions, NameResolution, ProxyOptions, RootSources, Timeouts};
use crate::registry::options::AmbientCredentials;
use crate::secret::SecretVariables;

fn password(username: &str, password: &str) -> Option<Credential> {
    Some(Credential::Password { username: username.into(), password: Secret::new(password) })
}

fn with_file(name: &str, text: &str) -> (tempfile::TempDir, CredentialOptions) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(name), text).unwrap();
    let options = CredentialOptions {
        directories: vec![directory.path().join("missing"), directory.path().to_owned()],
        descriptor: None,
        helper_directories: vec!["relative".into(), directory.path().join("bin")],
        helper_environment: SecretVariables::from_iter([
            ("GIVEN", "yes"),
            ("PATH", "/usr/bin:/bin"),
        ]),
        ambient: AmbientCredentials::default(),
    };
    (directory, options)
}

/// Written by another process: a descriptor of ours, inherited by a test that is just forking, would
/// make the program "busy".
fn helper(directory: &Path, name: &str, script: &str) {
    let bin = directory.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let path = bin.join(format!("docker-credential-{name}"));
    let mut writer = std::process::Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    write!(writer.stdin.take().unwrap(), "#!/bin/sh\n{script}\n").unwrap();
    assert!(writer.wait().unwrap().success());
}

/// Reaches nothing: no name resolves.
fn http() -> HttpClient {
    let missing = || std::path::PathBuf::from("/nonexistent");
    HttpClient::new(&HttpOptions {
        user_agent: "test".to_owned(),
        roots: RootSources::default(),
        proxies: ProxyOptions::default(),
        name_resolution: NameResolution { resolv_conf: missing(), hosts: missing() },
        timeouts: Timeouts::default(),
    })
    .unwrap()
}

fn load(options: &CredentialOptions) -> Result<Credentials, CredentialError> {
    Credentials::load(&http(), options)
}

async fn look(options: &CredentialOptions, host: &str, repository: &str) -> Result<Found, String> {
    let credentials = load(options).map_err(|error| chain(&error))?;
    credentials
        .lookup(&RegistryHost::new(host), repository, Freshness::Remembered)
        .await
        .map_err(|error| chain(&error))
}

fn chain(error: &CredentialError) -> String {
    crate::report::fault::one_line(error)
}

async fn credential(text: &str, host: &str, repository: &str) -> Option<Credential> {
    let (_directory, options) = with_file("config.json", text);
    look(&options, host, repository).await.unwrap().credential
}

// base64 of `user:pass` and `robot:a:b`.
const USER_PASS: &str = "dXNlcjpwYXNz";
const ROBOT: &str = "cm9ib3Q6YTpi";

#[tokio::test]
async fn the_entry_with_the_longest_path_that_leads_to_the_repository_is_used() {
    let text = format!(
        r#"{{"auths":{{
            "r.example": {{"auth":"{USER_PASS}"}},
            "r.example/team": {{"username":"team","password":"t"}},
            "r.example/team/app": {{"auth":"{ROBOT}"}},
            "r.example:5000": {{"username":"port","password":"p"}}
        }}}}"#
    );
    for (host, repository, expected) in [
        ("r.example", "other", password("user", "pass")),
        ("r.example", "team", password("team", "t")),
        ("r.example", "team/other", password("team", "t")),
        ("r.example", "team/app", password("robot", "a:b")),
        ("r.example", "team/app/sub", password("robot", "a:b")),
        ("r.example", "team/application", password("team", "t")),
        ("r.example", "teamster", password("user", "pass")),
        ("R.Example", "x", password("user", "pass")),
        ("r.example:5000", "team/app", password("port", "p")),
        ("r.example:5001", "x", None),
        ("xr.example", "x", None),
        ("r.example.evil", "x", None),
        ("example", "x", None),
    ] {
        assert_eq!(credential(&text, host, repository).await, expected, "{host}/{repository}");
    }
}

#[tokio::test]
async fn keys_are_hosts_and_nothing_that_only_looks_like_one() {
    for key in [
        "https://r.example",
        "http://r.example/",
        "https://r.example/v1/",
        "r.example/v2/",
        "R.EXAMPLE",
    ] {
        let text = format!(r#"{{"auths":{{"{key}":{{"auth":"{USER_PASS}"}}}}}}"#);
        assert_eq!(credential(&text, "r.example", "x").await, password("user", "pass"), "{key}");
    }
    for key in [
        "r.example@evil.example",
        "user@r.example",
        "r.example.",
        "",
        "/",
        "*.example",
        "r.\u{435}xample",
    ] {
        let text = format!(r#"{{"auths":{{"{key}":{{"auth":"{USER_PASS}"}}}}}}"#);
        assert_eq!(credential(&text, "r.example", "x").await, None, "{key}");
    }
}

#[tokio::test]
async fn docker_hub_is_known_by_all_its_names() {
    for key in
        ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"]
    {
        let text = format!(r#"{{"auths":{{"{key}":{{"auth":"{USER_PASS}"}}}}}}"#);
        for host in ["docker.io", "index.docker.io"] {
            let found = credential(&text, host, "library/debian").await;
            assert_eq!(found, password("user", "pass"), "{key} {host}");
        }
    }
    let scoped = format!(
        r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{USER_PASS}"}},
            "docker.io/mine":{{"auth":"{ROBOT}"}}}}}}"#
    );
    assert_eq!(credential(&scoped, "docker.io", "mine/app").await, password("robot", "a:b"));
}

#[tokio::test]
async fn tokens_and_the_two_ways_to_write_a_password_are_understood() {
    let entry = |entry: &str| format!(r#"{{"auths":{{"r.example":{entry}}}}}"#);
    let secret = |text: &str| Secret::new(text);
    for (text, expected) in [
        (r#"{"username":"u","password":"p"}"#, password("u", "p")),
        (
            r#"{"auth":"dXNlcjpwYXNz","identitytoken":"it"}"#,
            Some(Credential::Identity(secret("it"))),
        ),
        (
            r#"{"auth":"","identitytoken":"","registrytoken":"rt"}"#,
            Some(Credential::Registry(secret("rt"))),
        ),
        (r#"{"auth":"dXNlcjpwYXNzAAA="}"#, password("user", "pass")),
        (r#"{"auth":"dXNlcjpw"}"#, password("user", "p")),
        ("{}", None),
        (r#"{"auth":""}"#, None),
        (r#"{"username":"u"}"#, None),
        (r#"{"email":"me@example.com"}"#, None),
    ] {
        assert_eq!(credential(&entry(text), "r.example", "x").await, expected, "{text}");
    }
}

#[tokio::test]
async fn files_of_kubernetes_secrets_are_found_and_the_first_file_wins() {
    let auths = format!(r#"{{"auths":{{"r.example":{{"auth":"{USER_PASS}"}}}}}}"#);
    let (_directory, options) = with_file(".dockerconfigjson", &auths);
    assert_eq!(
        look(&options, "r.example", "x").await.unwrap().credential,
        password("user", "pass")
    );
    let old = format!(r#"{{"https://r.example":{{"auth":"{USER_PASS}"}}}}"#);
    let (directory, options) = with_file(".dockercfg", &old);
    assert_eq!(
        look(&options, "r.example", "x").await.unwrap().credential,
        password("user", "pass")
    );
    std::fs::write(directory.path().join("config.json"), "").unwrap();
    let found = look(&options, "r.example", "x").await.unwrap();
    assert_eq!(found.credential, None);
    let path = directory.path().join("config.json");
    assert_eq!(
        found.origin.to_string(),
        format!("no credentials: `{}` has no entry for `r.example`", path.display())
    );
}

#[tokio::test]
async fn where_a_credential_came_from_can_be_said() {
    let (directory, options) = with_file(
        "config.json",
        r#"{"auths":{"https://r.example/":{"username":"u","password":"p"}}}"#,
    );
    let path = directory.path().join("config.json");
    assert_eq!(
        look(&options, "r.example", "x").await.unwrap().origin.to_string(),
        format!("used entry `https://r.example/` of `{}`", path.display())
    );
    let nowhere = CredentialOptions { directories: vec!["/nonexistent".into()], ..options };
    assert_eq!(
        look(&nowhere, "r.example", "x").await.unwrap().origin.to_string(),
        "no credentials: no `config.json` in `/nonexistent`"
    );
    // As with a broker, which has them.
    let none = CredentialOptions::default();
    assert_eq!(
        look(&none, "r.example", "x").await.unwrap().origin.to_string(),
        "no credentials: this build looks for none"
    );
}

#[tokio::test]
async fn damaged_files_and_entries_are_named_and_never_quoted() {
    let error = async |text: &str| {
        let (directory, options) = with_file("config.json", text);
        let path = directory.path().join("config.json");
        let error = look(&options, "r.example", "x").await.unwrap_err();
        error.replace(&path.display().to_string(), "FILE")
    };
    assert_eq!(
        error(r#"{"auths":{"r.example":{"auth":"secret"#).await,
        "cannot parse registry credentials in `FILE`: not valid JSON at line 1, column 37"
    );
    assert_eq!(
        error("{\"auths\":{\"r.example\":{\n\"auth\":{\"secret\":1}}}}").await,
        "cannot parse registry credentials in `FILE`: a value has the wrong type at line 2, column 7"
    );
    assert_eq!(
        error(r#"{"auths":{"r.example":{"auth":"sec ret"}}}"#).await,
        "entry `r.example` of `FILE` is not usable: `auth` is not base64"
    );
    assert_eq!(
        error(r#"{"auths":{"r.example":{"auth":"c2VjcmV0"}}}"#).await,
        "entry `r.example` of `FILE` is not usable: `auth` does not decode to `user:password`"
    );
    let unused = r#"{"auths":{"other.example":{"auth":"!"}}}"#;
    assert_eq!(credential(unused, "r.example", "x").await, None);
}

#[tokio::test]
async fn helpers_are_asked_for_the_server_on_standard_input() {
    let text = r#"{
        "auths": {"r.example": {"username":"entry","password":"e"}, "r.example/own": {"username":"own","password":"o"}},
        "credHelpers": {"r.example": "one", "https://index.docker.io/v1/": "one"},
        "credsStore": "all"
    }"#;
    let (directory, options) = with_file("config.json", text);
    let answer = |who: &str| {
        format!(
            r#"read server; printf '{{"Username":"{who}-%s","Secret":"%s"}}' "$GIVEN$HOME" "$server""#
        )
    };
    helper(directory.path(), "one", &answer("one"));
    helper(directory.path(), "all", &answer("all"));
    for (host, repository, expected) in [
        ("r.example", "x", password("one-yes", "r.example")),
        ("r.example", "own/x", password("own", "o")),
        ("docker.io", "library/x", password("one-yes", "https://index.docker.io/v1/")),
        ("other.example:5000", "x", password("all-yes", "other.example:5000")),
    ] {
        let found = look(&options, host, repository).await.unwrap();
        assert_eq!(found.credential, expected, "{host}/{repository}");
    }
    let path = directory.path().join("config.json");
    assert_eq!(
        look(&options, "r.example", "x").await.unwrap().origin.to_string(),
        format!("used `docker-credential-one` for `r.example`, named in `{}`", path.display())
    );
}

#[tokio::test]
async fn a_helper_may_have_nothing_or_a_refresh_token() {
    let text = r#"{"auths":{"b.example":{"username":"u","password":"p"}},"credsStore":"s"}"#;
    let (directory, options) = with_file("config.json", text);
    let script = r#"read server
        case $server in
            a.example) echo '{"Username":"<token>","Secret":"refresh"}';;
            *) echo 'credentials not found in native keychain'; exit 1;;
        esac"#;
    helper(directory.path(), "s", script);
    let identity = Some(Credential::Identity(Secret::new("refresh")));
    assert_eq!(look(&options, "a.example", "x").await.unwrap().credential, identity);
    assert_eq!(look(&options, "b.example", "x").await.unwrap().credential, password("u", "p"));
    let none = look(&options, "c.example", "x").await.unwrap();
    assert_eq!(none.credential, None);
    assert!(
        none.origin.to_string().ends_with("(`docker-credential-s` has none for `c.example`)"),
        "{}",
        none.origin
    );
}

#[tokio::test]
async fn a_helper_that_was_named_for_the_host_must_work() {
    let check = async |script: Option<&str>, name: &str, expected: &str| {
        let text = format!(r#"{{"credHelpers":{{"r.example":"{name}"}}}}"#);
        let (directory, options) = with_file("config.json", &text);
        if let Some(script) = script {
            helper(directory.path(), name, script);
        }
        let error = look(&options, "r.example", "x").await.unwrap_err();
        assert_eq!(error.replace(&directory.path().display().to_string(), "DIR"), expected);
    };
    let failed = "credential helper `docker-credential-x` for `r.example` failed";
    check(None, "x", &format!("{failed}: no program `docker-credential-x` in `DIR/bin`")).await;
    check(
        Some("echo no cloud here; exit 3"),
        "x",
        &format!("{failed}: `DIR/bin/docker-credential-x` said: no cloud here"),
    )
    .await;
    check(
        Some("echo secret"),
        "x",
        &format!("{failed}: `DIR/bin/docker-credential-x` gave an answer that is not a credential"),
    )
    .await;
    check(
        None,
        "../x",
        "credential helper `docker-credential-../x` for `r.example` failed: `../x` is not a helper's name",
    )
    .await;
}

#[tokio::test]
async fn a_store_that_does_not_work_is_only_noted() {
    let text = r#"{"auths":{"b.example":{"username":"u","password":"p"}},"credsStore":"desktop"}"#;
    let (directory, options) = with_file("config.json", text);
    assert_eq!(look(&options, "b.example", "x").await.unwrap().credential, password("u", "p"));
    let none = look(&options, "c.example", "x").await.unwrap();
    let bin = directory.path().join("bin");
    assert!(
        none.origin.to_string().ends_with(&format!(
            "(`docker-credential-desktop` failed: no program `docker-credential-desktop` in `{}`)",
            bin.display()
        )),
        "{}",
        none.origin
    );
}

#[tokio::test]
async fn a_helper_that_was_replaced_is_not_run() {
    let (directory, options) = with_file("config.json", r#"{"credHelpers":{"r.example":"x"}}"#);
    helper(directory.path(), "x", r#"echo '{"Username":"u","Secret":"s"}'"#);
    let credentials = load(&options).unwrap();
    let host = RegistryHost::new("r.example");
    let found = credentials.lookup(&host, "x", Freshness::Remembered).await.unwrap();
    assert_eq!(found.credential, password("u", "s"));

    let canary = directory.path().join("canary");
    helper(directory.path(), "x", &format!("touch {}", canary.display()));
    let found = credentials.lookup(&host, "x", Freshness::Remembered).await.unwrap();
    assert_eq!(found.credential, password("u", "s"), "remembered");
    let error = credentials.lookup(&host, "x", Freshness::New).await.unwrap_err();
    assert!(chain(&error).ends_with("has changed since the build started"), "{error}");
    assert!(!canary.exists());
}

/// Credentials that are in no file, for a file with this text.
fn surrounded(text: &str, ambient: AmbientCredentials) -> (tempfile::TempDir, CredentialOptions) {
    let (directory, options) = with_file("config.json", text);
    (directory, CredentialOptions { ambient, ..options })
}

fn gitlab() -> AmbientCredentials {
    AmbientCredentials {
        sources: vec![AmbientSource::GitLab],
        passwords: vec![HostPassword {
            host: "https://Registry.GitLab.example:443".into(),
            username: "job".into(),
            password: Secret::new("token"),
            variable: "CI_REGISTRY_PASSWORD",
        }],
        ..AmbientCredentials::default()
    }
}

#[tokio::test]
async fn a_jobs_variables_are_for_their_registry_and_come_last() {
    let (_directory, options) = surrounded("{}", gitlab());
    let found = look(&options, "registry.gitlab.example", "x").await.unwrap();
    assert_eq!(found.credential, password("job", "token"));
    assert_eq!(
        found.origin.to_string(),
        "used `CI_REGISTRY_PASSWORD` for `registry.gitlab.example`"
    );
    for other in [
        "gitlab.example",
        "xregistry.gitlab.example",
        "registry.gitlab.example.evil",
        "registry.gitlab.example:5000",
    ] {
        assert_eq!(look(&options, other, "x").await.unwrap().credential, None, "{other}");
    }
    let entry = format!(r#"{{"auths":{{"registry.gitlab.example":{{"auth":"{USER_PASS}"}}}}}}"#);
    let (_directory, options) = surrounded(&entry, gitlab());
    let found = look(&options, "registry.gitlab.example", "x").await.unwrap();
    assert_eq!(found.credential, password("user", "pass"));
    // Only when they may be used unasked, or are named.
    let none = AmbientCredentials { sources: Vec::new(), ..gitlab() };
    let (_directory, options) = surrounded("{}", none.clone());
    let found = look(&options, "registry.gitlab.example", "x").await.unwrap();
    assert_eq!(found.credential, None);
    let named = r#"{"credHelpers":{"registry.gitlab.example":"gitlabci"}}"#;
    let (_directory, options) = surrounded(named, none);
    let found = look(&options, "registry.gitlab.example", "x").await.unwrap();
    assert_eq!(found.credential, password("job", "token"));
}

#[tokio::test]
async fn a_document_in_a_variable_follows_the_file() {
    let ambient = || AmbientCredentials {
        document: Some(Secret::new(format!(
            r#"{{"auths":{{"a.example":{{"auth":"{ROBOT}"}},"b.example":{{"auth":"{ROBOT}"}}}}}}"#
        ))),
        ..AmbientCredentials::default()
    };
    let file = format!(r#"{{"auths":{{"a.example":{{"auth":"{USER_PASS}"}}}}}}"#);
    let (directory, options) = surrounded(&file, ambient());
    let found = look(&options, "a.example", "x").await.unwrap();
    assert_eq!(found.credential, password("user", "pass"));
    let found = look(&options, "b.example", "x").await.unwrap();
    assert_eq!(found.credential, password("robot", "a:b"));
    assert_eq!(found.origin.to_string(), "used entry `b.example` of `DOCKER_AUTH_CONFIG`");
    let path = directory.path().join("config.json");
    assert_eq!(
        found.looks,
        [
            Look::new(format!("`{}`", path.display()), "no entry for `b.example`"),
            Look::new("`DOCKER_AUTH_CONFIG`", "user name and password"),
        ]
    );
    let broken = AmbientCredentials {
        document: Some(Secret::new(r#"{"auths": secret"#)),
        ..AmbientCredentials::default()
    };
    let (_directory, options) = surrounded("{}", broken);
    assert_eq!(
        look(&options, "b.example", "x").await.unwrap_err(),
        "cannot parse registry credentials in the variable `DOCKER_AUTH_CONFIG`: not valid JSON at \
         line 1, column 11"
    );
}

/// Keys of Amazon, and a service that cannot be reached.
fn amazon() -> AmbientCredentials {
    let mut ambient = AmbientCredentials {
        sources: vec![AmbientSource::Ecr],
        ecr_endpoint: Some("http://ecr.invalid/".into()),
        ..AmbientCredentials::default()
    };
    ambient.aws.keys = Some(crate::identity::aws::AwsKeys {
        id: "AKIA".into(),
        secret: Secret::new("hunter2"),
        token: None,
    });
    ambient
}

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

#[tokio::test]
async fn a_clouds_trouble_counts_where_the_file_names_it_and_is_only_noted_elsewhere() {
    let (directory, options) = surrounded("{}", amazon());
    let found = look(&options, ECR, "x").await.unwrap();
    let path = directory.path().join("config.json");
    assert_eq!(found.credential, None);
    let shown = found.origin.to_string();
    let start = format!("no credentials: `{}` has no entry for `{ECR}` (Amazon's", path.display());
    assert!(shown.starts_with(&start) && shown.contains("ecr.invalid"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");

    let named = format!(r#"{{"credHelpers":{{"{ECR}":"ecr-login"}}}}"#);
    let (_directory, options) = surrounded(&named, amazon());
    let error = look(&options, ECR, "x").await.unwrap_err();
    assert!(error.starts_with(&format!("no credential of Amazon's for `{ECR}`")), "{error}");

    let (_directory, options) = surrounded(r#"{"credsStore":"ecr-login"}"#, amazon());
    assert_eq!(look(&options, ECR, "x").await.unwrap().credential, None);
    // A store for all is not asked for what is not its own.
    let found = look(&options, "docker.io", "library/x").await.unwrap();
    let places: Vec<&str> = found.looks.iter().map(|look| look.found.as_str()).collect();
    assert_eq!(
        places,
        ["`index.docker.io` is no registry of Amazon's", "no entry for `index.docker.io`",]
    );
}

#[tokio::test]
async fn a_cloud_named_for_another_registry_is_an_error() {
    let named = r#"{"credHelpers":{"r.example":"acr-env"}}"#;
    let (directory, options) = surrounded(named, AmbientCredentials::default());
    let path = directory.path().join("config.json");
    assert_eq!(
        look(&options, "r.example", "x").await.unwrap_err(),
        format!(
            "`{}` names `acr-env` for `r.example`, which is no registry of Azure's",
            path.display()
        )
    );
}

#[tokio::test]
async fn a_helpers_program_that_is_there_stands_before_what_is_built_in() {
    let named = format!(r#"{{"credHelpers":{{"{ECR}":"ecr-login"}}}}"#);
    let (directory, options) = surrounded(&named, amazon());
    helper(directory.path(), "ecr-login", r#"echo '{"Username":"AWS","Secret":"p"}'"#);
    assert_eq!(look(&options, ECR, "x").await.unwrap().credential, password("AWS", "p"));
}
