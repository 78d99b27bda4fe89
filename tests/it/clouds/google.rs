//! Google's registries: every kind of its identities gives a token that is a password there.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

pub const REGISTRY: &str = "europe-west1-docker.pkg.dev";
const IMAGE: &str = "europe-west1-docker.pkg.dev/team/app:v1";
pub const TOKENS: &str = "oauth2.googleapis.com";
const STS: &str = "sts.googleapis.com";
const IAM: &str = "iamcredentials.googleapis.com";

fn given() -> Answer {
    Answer::new(
        200,
        r#"{"access_token": "google-hunter2", "expires_in": 3599, "token_type": "Bearer"}"#,
    )
}

pub fn google(asked: &Asked) -> Answer {
    let form: BTreeMap<String, String> =
        url::form_urlencoded::parse(&asked.body).into_owned().collect();
    let value = |key: &str| form.get(key).map_or("", String::as_str);
    match asked.host.as_str() {
        TOKENS if value("grant_type") == "refresh_token" => match value("refresh_token") {
            "good-hunter2" => given(),
            other => Answer::new(
                400,
                format!(
                    r#"{{"error": "invalid_grant", "error_description": "{other} is revoked"}}"#
                ),
            ),
        },
        TOKENS => {
            assert_eq!(value("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
            let parts: Vec<&str> = value("assertion").split('.').collect();
            let decoded = |part: &str| -> Value {
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
            };
            assert_eq!(decoded(parts[0]), json!({"alg": "RS256", "typ": "JWT", "kid": "1"}));
            let claims = decoded(parts[1]);
            assert_eq!(claims["iss"], "build@p.iam.gserviceaccount.com");
            assert_eq!(claims["aud"], "https://oauth2.googleapis.com/token");
            assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
            // RSA of 2048 bits.
            assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).unwrap().len(), 256);
            given()
        }
        STS => {
            assert_eq!(value("audience"), "//iam.googleapis.com/pool");
            assert_eq!(value("subject_token_type"), "urn:ietf:params:oauth:token-type:jwt");
            match value("subject_token") {
                "cluster-hunter2" => {
                    Answer::new(200, r#"{"access_token": "federated-hunter2", "expires_in": 3599}"#)
                }
                _ => Answer::new(400, r#"{"error": "invalid_grant", "error_description": "who?"}"#),
            }
        }
        IAM => {
            assert_eq!(asked.header("authorization"), "Bearer federated-hunter2");
            assert_eq!(asked.path, "/v1/projects/-/serviceAccounts/b:generateAccessToken");
            Answer::new(200, r#"{"accessToken": "google-hunter2", "expireTime": "2100-01-01"}"#)
        }
        "metadata.google.internal" => {
            assert_eq!(asked.path, "/computeMetadata/v1/instance/service-accounts/default/token");
            assert_eq!(asked.header("metadata-flavor"), "Google");
            given()
        }
        _ => {
            let known = basic("oauth2accesstoken", "google-hunter2");
            if asked.path == "/v2/token" {
                return match asked.header("authorization") == known {
                    true => Answer::new(200, r#"{"token": "bearer-hunter2"}"#),
                    false => Answer::new(401, "no"),
                };
            }
            let is_known = asked.header("authorization") == "Bearer bearer-hunter2";
            let challenge = format!("Bearer realm=\"https://{REGISTRY}/v2/token\",service=\"s\"");
            registry(asked, is_known, &challenge)
        }
    }
}

async fn start() -> Cloud {
    Cloud::start(&[REGISTRY, TOKENS, STS, IAM], google).await
}

#[tokio::test]
async fn workload_identity_logs_in_and_pushes() {
    let cloud = start().await;
    let metadata = Web::start(google).await;
    let run = || cloud.run().env("HTTP_PROXY", metadata.url());
    let ended = run().doctor(IMAGE).await;
    ended.says(&format!(
        "used an identity of Google's (machine's service account) for `{REGISTRY}`"
    ));
    ended.says(&format!("wants a token of `{REGISTRY}`"));
    for config in [
        "{}".to_owned(),
        format!(r#"{{"credHelpers": {{"{REGISTRY}": "gcloud", "gcr.io": "gcr"}}}}"#),
    ] {
        let run = run();
        run.file(".docker/config.json", &config);
        run.build(IMAGE, &[]).await.says("Pushed");
    }
}

#[tokio::test]
async fn a_token_at_its_end_is_not_used() {
    let cloud = start().await;
    let metadata =
        Web::start(|_| Answer::new(200, r#"{"access_token": "google-hunter2", "expires_in": 0}"#))
            .await;
    cloud.run().env("HTTP_PROXY", metadata.url()).build(IMAGE, &[]).await.says("Pushed");
    assert!(metadata.asked().len() > 1, "one token was used again");
}

#[tokio::test]
async fn kanikos_recipe_for_google_pushes_with_a_mounted_key() {
    let cloud = start().await;
    let output = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .unwrap();
    let key = json!({
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": String::from_utf8(output.stdout).unwrap(),
        "client_email": "build@p.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    });
    let run = cloud.run();
    let file = run.file("kaniko-secret.json", &key.to_string());
    run.env("GOOGLE_APPLICATION_CREDENTIALS", file).build(IMAGE, &[]).await.says("Pushed");
    assert_eq!(cloud.count(TOKENS), 1);
}

#[tokio::test]
async fn a_users_credentials_log_in() {
    let cloud = start().await;
    let run = |token: &str| {
        let run = cloud.run();
        let credentials = json!({
            "type": "authorized_user",
            "client_id": "c",
            "client_secret": "client-hunter2",
            "refresh_token": token,
        });
        let file = ".config/gcloud/application_default_credentials.json";
        run.file(file, &credentials.to_string());
        run
    };
    run("good-hunter2").doctor(IMAGE).await.says("Google's (user's credentials)");
    let ended = run("old-hunter2").doctor(IMAGE).await;
    ended.fails("`oauth2.googleapis.com` answered 400: invalid_grant: *** is revoked");
}

#[tokio::test]
async fn another_clouds_token_is_exchanged() {
    let cloud = start().await;
    let external = |source: Value| {
        json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/pool",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "service_account_impersonation_url":
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/b:generateAccessToken",
            "credential_source": source,
        })
    };
    let with = |content: &Value| {
        let run = cloud.run();
        let file = run.file("federation.json", &content.to_string());
        run.env("GOOGLE_APPLICATION_CREDENTIALS", file)
    };
    let federated = "Google's (workload identity federation)";
    let run = cloud.run();
    let token = run.file("token", "cluster-hunter2\n");
    let file = run.file("federation.json", &external(json!({"file": token})).to_string());
    run.env("GOOGLE_APPLICATION_CREDENTIALS", file).doctor(IMAGE).await.says(federated);

    let other = Web::start(|asked| match asked.header("x-wanted") {
        "yes" => Answer::new(200, r#"{"token": "cluster-hunter2"}"#),
        _ => Answer::new(403, ""),
    })
    .await;
    let source = json!({
        "url": other.url(),
        "headers": {"x-wanted": "yes"},
        "format": {"type": "json", "subject_token_field_name": "token"},
    });
    with(&external(source)).doctor(IMAGE).await.says(federated);

    with(&external(json!({"environment_id": "aws1", "url": other.url()})))
        .doctor(IMAGE)
        .await
        .fails("`external_account` with `environment_id` in `credential_source` is not supported");
    let mut clear = external(json!({"url": other.url(), "headers": {"x-wanted": "yes"}}));
    clear["token_url"] = json!("http://sts.example/v1/token");
    with(&clear).doctor(IMAGE).await.fails("`token_url` is not an https URL");
}
