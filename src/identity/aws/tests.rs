use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::http::{HttpOptions, NameResolution, ProxyOptions, RootSources, Timeouts};

/// Reaches nothing: no name resolves.
fn http() -> HttpClient {
    let missing = || PathBuf::from("/nonexistent");
    HttpClient::new(&HttpOptions {
        user_agent: "test".to_owned(),
        roots: RootSources::default(),
        proxies: ProxyOptions::default(),
        name_resolution: NameResolution { resolv_conf: missing(), hosts: missing() },
        timeouts: Timeouts::default(),
    })
    .unwrap()
}

fn settings() -> AwsSettings {
    AwsSettings { metadata: MetadataService::Disabled, ..AwsSettings::default() }
}

fn keys(id: &str) -> AwsKeys {
    AwsKeys { id: id.to_owned(), secret: Secret::new("s"), token: None }
}

/// Chooses an identity with these two files; without a network.
async fn chosen(
    mut settings: AwsSettings,
    credentials: &str,
    config: &str,
) -> Result<AwsIdentity, String> {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    settings.shared.credentials = write("credentials", credentials);
    settings.shared.config = write("config", config);
    let aws = Aws::new(&settings);
    // What a build does to the files afterwards counts for nothing.
    fs::write(directory.path().join("config"), "[default]\ncredential_process = /evil\n").unwrap();
    aws.identify(&http())
        .await
        .map_err(|error| error.to_string().replace(directory.path().to_str().unwrap(), "~/.aws"))
}

#[tokio::test]
async fn identities_stand_in_amazons_order() {
    let web = || WebIdentity { token_file: "/t".into(), role: "r".to_owned(), session: None };
    let everything = || AwsSettings {
        keys: Some(keys("env")),
        web_identity: Some(web()),
        container: Some(ContainerCredentials::Relative("/c".to_owned())),
        ..settings()
    };
    let file = "[default]\naws_access_key_id=file\naws_secret_access_key=s\n\
                [ci]\naws_access_key_id=ci\naws_secret_access_key=s\naws_session_token=t\n";
    let check = async |settings: AwsSettings, expected: AwsIdentity| {
        assert_eq!(chosen(settings, file, "").await.unwrap(), expected);
    };
    check(everything(), AwsIdentity::Keys(keys("env"))).await;
    check(AwsSettings { keys: None, ..everything() }, AwsIdentity::Web(web())).await;
    let no_variables = || AwsSettings { keys: None, web_identity: None, ..everything() };
    check(no_variables(), AwsIdentity::Keys(keys("file"))).await;
    // A profile that was asked for by name stands before everything.
    let mut named = everything();
    named.shared.profile = Some("ci".to_owned());
    let of_profile = AwsKeys { token: Some(Secret::new("t")), ..keys("ci") };
    check(named, AwsIdentity::Keys(of_profile)).await;
    let container = AwsIdentity::Container(ContainerCredentials::Relative("/c".to_owned()));
    assert_eq!(chosen(no_variables(), "", "").await.unwrap(), container);
    assert_eq!(chosen(settings(), "", "").await.unwrap(), AwsIdentity::Anonymous);
}

#[tokio::test]
async fn a_profile_may_name_a_role_and_a_token() {
    let config = "[default]\nrole_arn = r\nweb_identity_token_file = /t\nrole_session_name = me\n";
    let session = Some("me".to_owned());
    let expected = WebIdentity { token_file: "/t".into(), role: "r".to_owned(), session };
    assert_eq!(chosen(settings(), "", config).await.unwrap(), AwsIdentity::Web(expected));
}

#[tokio::test]
async fn a_profile_may_name_a_program() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("give keys");
    let script = "#!/bin/sh\necho \"{\\\"Version\\\":1,\\\"AccessKeyId\\\":\\\"$1$GIVEN$HOME\\\",\
                  \\\"SecretAccessKey\\\":\\\"s\\\",\\\"SessionToken\\\":\\\"t\\\"}\"\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!("[default]\ncredential_process = \"{}\" AKIA\n", program.display());
    let with_environment = AwsSettings {
        program_environment: SecretVariables::from_iter([("GIVEN", "-given"), ("PATH", "/bin")]),
        ..settings()
    };
    let given = AwsKeys { token: Some(Secret::new("t")), ..keys("AKIA-given") };
    assert_eq!(chosen(with_environment, "", &config).await.unwrap(), AwsIdentity::Process(given));
}

#[tokio::test]
async fn what_a_profile_asks_for_in_vain_is_named() {
    let check = async |config: &str, expected: &str| {
        assert_eq!(
            chosen(settings(), "", config).await.unwrap_err(),
            format!("cannot use the credentials in `~/.aws/config`: {expected}"),
            "{config}"
        );
    };
    check(
        "[default]\ncredential_process = /no/such --program\n",
        "its `credential_process` gave none: no program `/no/such`, neither by path nor in PATH",
    )
    .await;
    check(
        "[default]\nsso_session = work\n",
        "`sso_session` is not supported: single sign-on needs a person, use a role or keys",
    )
    .await;
    check(
        "[default]\nrole_arn = r\nsource_profile = other\n",
        "no profile `other`, its `source_profile`",
    )
    .await;
    check(
        "[default]\nrole_arn = r\nsource_profile = default\n",
        "its role has no credentials to be taken on with",
    )
    .await;
    check(
        "[default]\nrole_arn = r\ncredential_source = Moon\n",
        "`credential_source = Moon` is not known",
    )
    .await;
    check(
        "[default]\nrole_arn = r\nsource_profile = b\nmfa_serial = m\n[profile b]\n",
        "`mfa_serial` is not supported: nobody can be asked",
    )
    .await;
    check(
        "[default]\nrole_arn = r\nsource_profile = b\n\
         [profile b]\nrole_arn = r\nsource_profile = default\n",
        "more than 5 roles are taken on from each other",
    )
    .await;
    let mut named = settings();
    named.shared.profile = Some("ci".to_owned());
    assert_eq!(
        chosen(named, "[default]\n", "").await.unwrap_err(),
        "cannot use the credentials in `~/.aws/credentials`: no profile `ci`"
    );
}

#[tokio::test]
async fn what_an_agent_wants_to_be_shown_goes_to_no_other_machine_in_clear() {
    let full = |url: &str| AwsSettings {
        container: Some(ContainerCredentials::Full {
            url: url.to_owned(),
            token: ContainerToken::Text(Secret::new("hunter2")),
        }),
        ..settings()
    };
    for url in ["http://evil.example/v1", "http://169.254.170.24/v1", "ftp://localhost/v1", "x"] {
        let error = chosen(full(url), "", "").await.unwrap_err();
        assert!(
            error.starts_with("cannot use `AWS_CONTAINER_CREDENTIALS_FULL_URI`: it is n"),
            "{error}"
        );
    }
}
