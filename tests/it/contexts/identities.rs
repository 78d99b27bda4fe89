//! As whom buckets are asked: each cloud's ways, against servers that keep to its protocol.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::server::{Answer, Asked, Web, tunnel_to};
use super::{Build, Tls, archive};

fn object() -> Answer {
    Answer::new(200, archive())
        .header("etag", "\"one\"")
        .header("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT")
}

/// Answers for whoever shows this temporary key.
fn s3(asked: &Asked, key: &str, token: &str) -> Answer {
    let is_known = asked.header("authorization").contains(&format!("Credential={key}/"))
        && asked.header("x-amz-security-token") == token;
    if is_known { object() } else { Answer::new(403, "<Error><Code>AccessDenied</Code></Error>") }
}

fn path_style(build: Build, server: &Web) -> Build {
    build.env("S3_ENDPOINT", server.url()).env("S3_FORCE_PATH_STYLE", "true")
}

const EXPIRATION: &str = "2100-01-01T00:00:00Z";

#[tokio::test]
async fn s3_with_a_profile() {
    let server = Web::start(|asked| s3(asked, "AKIAFILE", "")).await;
    let build = path_style(Build::of("s3://bucket"), &server);
    build.file(
        ".aws/credentials",
        "[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key = hunter2\n",
    );
    build.file(".aws/config", "[default]\nregion = eu-north-1\n");
    build.run().await.works();
    assert!(server.asked()[0].header("authorization").contains("/eu-north-1/s3/"));

    let build = path_style(Build::of("s3://bucket"), &server).env("AWS_PROFILE", "ci");
    build.file(".aws/credentials", "[other]\n");
    build.run().await.fails("no profile `ci`");
}

#[tokio::test]
async fn s3_with_a_role_of_the_cluster() {
    let server = Web::start(|asked| {
        if !asked.path.starts_with("/bucket") {
            let text = format!("{}{}", asked.query, String::from_utf8_lossy(&asked.body));
            assert!(text.contains("Action=AssumeRoleWithWebIdentity"), "{text}");
            if !text.contains("WebIdentityToken=good") {
                return Answer::new(
                    400,
                    "<ErrorResponse><Error><Code>ExpiredTokenException</Code><Message>Token expired: \
                     current date/time must be before the expiration date/time</Message></Error>\
                     </ErrorResponse>",
                );
            }
            return Answer::new(
                200,
                format!(
                    "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>\
                     <Credentials><AccessKeyId>ASIAWEB</AccessKeyId><SecretAccessKey>hunter2\
                     </SecretAccessKey><SessionToken>session</SessionToken><Expiration>{EXPIRATION}\
                     </Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
                     </AssumeRoleWithWebIdentityResponse>"
                ),
            );
        }
        s3(asked, "ASIAWEB", "session")
    })
    .await;
    let build = |token: &str| {
        let build = path_style(Build::of("s3://bucket"), &server)
            .env("AWS_ROLE_ARN", "arn:aws:iam::1:role/build")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ENDPOINT_URL_STS", server.url());
        let file = build.file("token", token);
        build.env("AWS_WEB_IDENTITY_TOKEN_FILE", file)
    };
    build("good").run().await.works();
    build("hunter2").run().await.fails(&format!(
        "error: cannot fetch the build context `s3://bucket/context.tar.gz`\ncause: `{}` answered \
         400: ExpiredTokenException: Token expired: current date/time must be before the expiration \
         date/time",
        server.address
    ));
}

#[tokio::test]
async fn s3_with_pod_identity() {
    let server = Web::start(|asked| match asked.path.as_str() {
        "/v1/credentials" if asked.header("authorization") == "pod-token" => Answer::new(
            200,
            format!(
                r#"{{"AccessKeyId": "ASIAPOD", "SecretAccessKey": "hunter2", "Token": "session",
                "Expiration": "{EXPIRATION}", "AccountId": "1"}}"#
            ),
        ),
        "/v1/credentials" => Answer::new(401, "unknown token"),
        _ => s3(asked, "ASIAPOD", "session"),
    })
    .await;
    let build = path_style(Build::of("s3://bucket"), &server)
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/v1/credentials", server.url()));
    let file = build.file("token", "pod-token");
    build.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file).run().await.works();
}

/// A metadata server of EC2, version 2 only.
fn instance(asked: &Asked) -> Option<Answer> {
    let answer = match (asked.method.as_str(), asked.path.as_str()) {
        ("PUT", "/latest/api/token") => {
            assert!(!asked.header("x-aws-ec2-metadata-token-ttl-seconds").is_empty());
            return Some(Answer::new(200, "imds-token"));
        }
        ("GET", "/latest/meta-data/iam/security-credentials/") => Answer::new(200, "role"),
        ("GET", "/latest/meta-data/iam/security-credentials/role") => Answer::new(
            200,
            format!(
                r#"{{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAEC2",
                "SecretAccessKey": "hunter2", "Token": "session", "Expiration": "{EXPIRATION}",
                "LastUpdated": "2020-01-01T00:00:00Z"}}"#
            ),
        ),
        _ => return None,
    };
    assert_eq!(asked.header("x-aws-ec2-metadata-token"), "imds-token");
    Some(answer)
}

#[tokio::test]
async fn s3_with_the_machines_role() {
    let server =
        Web::start(|asked| instance(asked).unwrap_or_else(|| s3(asked, "ASIAEC2", "session")))
            .await;
    path_style(Build::of("s3://bucket"), &server)
        .env("AWS_EC2_METADATA_DISABLED", "false")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url())
        .run()
        .await
        .works();
}

#[tokio::test]
async fn a_metadata_server_that_never_answers_is_none() {
    let silent = Web::start(|_| Answer { silent: true, ..Answer::default() }).await;
    let server = Web::start(|asked| match asked.header("authorization") {
        "" => object(),
        _ => Answer::new(403, ""),
    })
    .await;
    path_style(Build::of("s3://bucket"), &server)
        .env("AWS_EC2_METADATA_DISABLED", "false")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.url())
        .run()
        .await
        .works();
    // It was asked twice, a second each time, and not again.
    assert_eq!(silent.asked().len(), 2);
}

/// Google's store, for this token, and its metadata server.
fn google(asked: &Asked) -> Answer {
    match (asked.host.as_str(), asked.path.as_str()) {
        ("metadata.google.internal", path) => {
            assert_eq!(path, "/computeMetadata/v1/instance/service-accounts/default/token");
            assert_eq!(asked.header("metadata-flavor"), "Google");
            Answer::new(
                200,
                r#"{"access_token": "hunter2", "expires_in": 3599, "token_type": "Bearer"}"#,
            )
        }
        (_, "/bucket/context.tar.gz") if is_known_to_google(asked.header("authorization")) => {
            object()
        }
        (_, "/token" | "/o/oauth2/token") => {
            let body = String::from_utf8_lossy(&asked.body).into_owned();
            let is_known =
                body.contains("jwt-bearer&assertion=") || body.contains("refresh_token=");
            match is_known && !body.contains("revoked") {
                true => Answer::new(
                    200,
                    r#"{"access_token": "hunter2", "expires_in": 3599, "token_type": "Bearer"}"#,
                ),
                false => Answer::new(
                    400,
                    r#"{"error": "invalid_grant", "error_description": "Token has been revoked."}"#,
                ),
            }
        }
        _ => Answer::new(
            401,
            r#"{"error": {"code": 401, "message": "Invalid Credentials", "status":
            "UNAUTHENTICATED"}}"#,
        ),
    }
}

/// A token that the metadata server or the token's server gave, or one that an account has signed
/// itself.
fn is_known_to_google(authorization: &str) -> bool {
    let Some(token) = authorization.strip_prefix("Bearer ") else { return false };
    let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Option<serde_json::Value> =
        claims.and_then(|claims| serde_json::from_slice(&claims).ok());
    token == "hunter2"
        || claims.is_some_and(|claims| claims["iss"] == "build@p.iam.gserviceaccount.com")
}

struct Google {
    tls: Tls,
    proxy: String,
    metadata: Web,
}

impl Google {
    async fn start() -> Self {
        let tls =
            Tls::of(&["storage.googleapis.com", "oauth2.googleapis.com", "accounts.google.com"]);
        let store = Web::start_tls(tls.pair(), google).await;
        let proxy = tunnel_to(store.address).await;
        Self { tls, proxy, metadata: Web::start(google).await }
    }

    fn build(&self) -> Build {
        Build::of("gs://bucket").trusting(&self.tls).env("HTTPS_PROXY", &self.proxy)
    }
}

#[tokio::test]
async fn gs_with_the_machines_account_or_workload_identity() {
    let google = Google::start().await;
    google.build().env("HTTP_PROXY", google.metadata.url()).run().await.works();
}

#[tokio::test]
async fn gs_with_a_service_accounts_key() {
    let google = Google::start().await;
    let output = std::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .unwrap();
    let pem = String::from_utf8(output.stdout).unwrap();
    let build = google.build();
    let key = serde_json::json!({
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": "build@p.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    });
    let file = build.file("kaniko-secret.json", &key.to_string());
    build.env("GOOGLE_APPLICATION_CREDENTIALS", file).run().await.works();
}

#[tokio::test]
async fn gs_with_a_users_default_credentials() {
    let google = Google::start().await;
    let credentials = |token: &str| {
        serde_json::json!({
            "type": "authorized_user",
            "client_id": "c",
            "client_secret": "hunter2",
            "refresh_token": token,
        })
        .to_string()
    };
    let file = ".config/gcloud/application_default_credentials.json";
    let build = google.build();
    build.file(file, &credentials("good"));
    build.run().await.works();
    let build = google.build();
    build.file(file, &credentials("revoked-hunter2"));
    build.run().await.fails("answered 400: invalid_grant: Token has been revoked.");
}

#[tokio::test]
async fn gs_with_a_file_that_cannot_be_used() {
    let google = Google::start().await;
    let build = google.build();
    let file = build.file("key.json", r#"{"type": "impersonated_service_account"}"#);
    build
        .env("GOOGLE_APPLICATION_CREDENTIALS", file)
        .run()
        .await
        .fails("credentials of type `impersonated_service_account` are not supported");
    let build = google.build();
    let file = build.file("key.json", r#"{"type": "external_account"}"#);
    build
        .env("GOOGLE_APPLICATION_CREDENTIALS", file)
        .run()
        .await
        .fails("key.json`: it has no `credential_source` with `file` or `url`");
    google.build().env("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/key.json").run().await.fails(
        "error: cannot fetch the build context `gs://bucket/context.tar.gz`\n\
         cause: cannot read the credentials in `/no/such/key.json`",
    );
}

#[tokio::test]
async fn azure_with_a_federated_token() {
    let names = ["acme.blob.core.windows.net", "login.microsoftonline.com"];
    let tls = Tls::of(&names);
    let server = Web::start_tls(tls.pair(), |asked| match asked.path.as_str() {
        "/tenant/oauth2/v2.0/token" => {
            let body = String::from_utf8_lossy(&asked.body).into_owned();
            assert!(body.contains("client_id=client"), "{body}");
            match body.contains("client_assertion=good") {
                true => Answer::new(
                    200,
                    r#"{"token_type": "Bearer", "expires_in": 3599, "access_token": "hunter2"}"#,
                ),
                false => Answer::new(
                    401,
                    r#"{"error": "invalid_client", "error_description": "AADSTS700024: Expired."}"#,
                ),
            }
        }
        "/container/blob" if asked.header("authorization") == "Bearer hunter2" => object(),
        _ => Answer::new(403, ""),
    })
    .await;
    let proxy = tunnel_to(server.address).await;
    let build = |token: &str| {
        let build = Build::of("https://acme.blob.core.windows.net/container/blob")
            .trusting(&tls)
            .env("HTTPS_PROXY", &proxy)
            .env("AZURE_CLIENT_ID", "client")
            .env("AZURE_TENANT_ID", "tenant")
            .env("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/");
        let file = build.file("token", token);
        build.env("AZURE_FEDERATED_TOKEN_FILE", file)
    };
    build("good").run().await.works();
    build("old").run().await.fails(
        "cause: `login.microsoftonline.com` answered 401: invalid_client: AADSTS700024: Expired.",
    );
}

#[tokio::test]
async fn azure_with_the_machines_identity() {
    let tls = Tls::of(&["acme.blob.core.windows.net"]);
    let server = Web::start_tls(tls.pair(), |asked| match asked.header("authorization") {
        "Bearer hunter2" => object(),
        _ => Answer::new(403, ""),
    })
    .await;
    let metadata = Web::start(|asked| {
        assert_eq!(asked.host, "169.254.169.254");
        assert_eq!(asked.header("metadata"), "true");
        Answer::new(
            200,
            r#"{"access_token": "hunter2", "expires_on": "4102444800", "resource":
            "https://storage.azure.com", "token_type": "Bearer"}"#,
        )
    })
    .await;
    Build::of("https://acme.blob.core.windows.net/container/blob")
        .trusting(&tls)
        .env("HTTPS_PROXY", tunnel_to(server.address).await)
        .env("HTTP_PROXY", metadata.url())
        .run()
        .await
        .works();
}
