use std::fs;

use super::*;

fn settings() -> S3Settings {
    S3Settings {
        endpoint: None,
        path_style: PathStyle::VirtualHost,
        region: None,
        keys: None,
        web_identity: None,
        sts_endpoint: None,
        shared: SharedFiles::default(),
        container: None,
        metadata: MetadataService::Disabled,
    }
}

fn keys(id: &str) -> AwsKeys {
    AwsKeys { id: id.to_owned(), secret: Secret::new("s"), token: None }
}

/// Chooses an identity with these two files; without a network.
fn chosen(mut settings: S3Settings, credentials: &str, config: &str) -> Result<Identity, String> {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    settings.shared.credentials = write("credentials", credentials);
    settings.shared.config = write("config", config);
    let text = |error: ObjectError| {
        error.to_string().replace(directory.path().to_str().unwrap(), "~/.aws")
    };
    let profile = read_profile(&settings.shared).map_err(text)?;
    crate::context::stream::with_means(|means| {
        means.runtime.block_on(identity(&settings, &profile, means.http)).map_err(text)
    })
}

#[test]
fn identities_stand_in_amazons_order() {
    let web = || WebIdentity { token_file: "/t".into(), role: "r".to_owned(), session: None };
    let everything = || S3Settings {
        keys: Some(keys("env")),
        web_identity: Some(web()),
        container: Some(ContainerCredentials::Relative("/c".to_owned())),
        ..settings()
    };
    let file = "[default]\naws_access_key_id=file\naws_secret_access_key=s\n\
                [ci]\naws_access_key_id=ci\naws_secret_access_key=s\naws_session_token=t\n";
    let check = |settings: S3Settings, expected: Identity| {
        assert_eq!(chosen(settings, file, "").unwrap(), expected);
    };
    check(everything(), Identity::Keys(keys("env")));
    check(S3Settings { keys: None, ..everything() }, Identity::Web(web()));
    let no_variables = || S3Settings { keys: None, web_identity: None, ..everything() };
    check(no_variables(), Identity::Keys(keys("file")));
    // A profile that was asked for by name stands before everything.
    let mut named = everything();
    named.shared.profile = Some("ci".to_owned());
    check(named, Identity::Keys(AwsKeys { token: Some(Secret::new("t")), ..keys("ci") }));
    let container = Identity::Container(ContainerCredentials::Relative("/c".to_owned()));
    assert_eq!(chosen(no_variables(), "", "").unwrap(), container);
    assert_eq!(chosen(settings(), "", "").unwrap(), Identity::Anonymous);
}

#[test]
fn a_profile_may_name_a_role_and_a_token() {
    let config = "[default]\nrole_arn = r\nweb_identity_token_file = /t\nrole_session_name = me\n";
    let session = Some("me".to_owned());
    let expected = WebIdentity { token_file: "/t".into(), role: "r".to_owned(), session };
    assert_eq!(chosen(settings(), "", config).unwrap(), Identity::Web(expected));
}

#[test]
fn what_a_profile_asks_for_in_vain_is_named() {
    let config = "[default]\ncredential_process = /bin/x\n";
    assert_eq!(
        chosen(settings(), "", config).unwrap_err(),
        "cannot use the credentials in `~/.aws/config`: `credential_process` is not supported"
    );
    let mut named = settings();
    named.shared.profile = Some("ci".to_owned());
    assert_eq!(
        chosen(named, "[default]\n", "").unwrap_err(),
        "cannot use the credentials in `~/.aws/credentials`: no profile `ci`"
    );
}

#[test]
fn a_bucket_goes_into_the_host_only_where_that_can_work() {
    let check = |endpoint: Option<&str>, path_style, bucket, expected| {
        let endpoint = endpoint.map(str::to_owned);
        let settings = S3Settings { endpoint, path_style, ..settings() };
        assert_eq!(is_virtual_host(bucket, &settings), expected, "{settings:?} {bucket}");
    };
    let virtual_host = PathStyle::VirtualHost;
    check(None, virtual_host, "b", true);
    check(None, virtual_host, "b.with.dots", false);
    check(Some("https://s3.example"), virtual_host, "b", true);
    check(Some("https://s3.example"), PathStyle::Forced, "b", false);
    check(Some("http://127.0.0.1:9000"), virtual_host, "b", false);
    check(Some("http://[::1]:9000"), virtual_host, "b", false);
    check(Some("http://minio:9000"), virtual_host, "b", false);
    assert_eq!(with_bucket("http://s3.example:9000/", "b"), "http://b.s3.example:9000");
}
