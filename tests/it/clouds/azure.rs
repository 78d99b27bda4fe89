//! Azure's registries: a token of the directory is exchanged for one of the registry's.

use super::*;

const TENANT: &str = "/tenant/oauth2/v2.0/token";

fn form(asked: &Asked) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&asked.body).into_owned().collect()
}

/// Azure, with this registry and this server for the directory's tokens.
pub fn azure(asked: &Asked, acr: &str, login: &str, audience: &str) -> Answer {
    let form = form(asked);
    let value = |key: &str| form.get(key).map_or("", String::as_str);
    if asked.host == login {
        assert_eq!(asked.path, TENANT);
        assert_eq!(value("client_id"), "client");
        assert_eq!(value("grant_type"), "client_credentials");
        assert_eq!(value("scope"), format!("{audience}/.default"));
        let is_known =
            value("client_assertion") == "good-hunter2" || value("client_secret") == "good-hunter2";
        return match is_known {
            true => Answer::new(
                200,
                r#"{"token_type": "Bearer", "expires_in": 3599, "access_token": "aad-hunter2"}"#,
            ),
            false => Answer::new(
                401,
                format!(
                    r#"{{"error": "invalid_client", "error_description": "AADSTS700024: {}"}}"#,
                    value("client_assertion")
                ),
            ),
        };
    }
    match asked.path.as_str() {
        "/oauth2/exchange" => {
            assert_eq!((value("grant_type"), value("service")), ("access_token", acr));
            match value("access_token") {
                "aad-hunter2" => Answer::new(200, r#"{"refresh_token": "refresh-hunter2"}"#),
                _ => Answer::new(401, r#"{"errors": [{"code": "UNAUTHORIZED"}]}"#),
            }
        }
        "/oauth2/token" => {
            assert_eq!((value("grant_type"), value("service")), ("refresh_token", acr));
            assert!(
                value("scope").is_empty() || value("scope").starts_with("repository:team/app:")
            );
            match value("refresh_token") {
                "refresh-hunter2" => Answer::new(200, r#"{"access_token": "acr-hunter2"}"#),
                _ => Answer::new(401, ""),
            }
        }
        _ => {
            let is_known = asked.header("authorization") == "Bearer acr-hunter2";
            let challenge =
                format!("Bearer realm=\"https://{acr}/oauth2/token\",service=\"{acr}\"");
            registry(asked, is_known, &challenge)
        }
    }
}

async fn start(acr: &'static str, login: &'static str, audience: &'static str) -> Cloud {
    Cloud::start(&[acr, login], move |asked| azure(asked, acr, login, audience)).await
}

async fn public() -> Cloud {
    let audience = "https://containerregistry.azure.net";
    start("acme.azurecr.io", "login.microsoftonline.com", audience).await
}

const IMAGE: &str = "acme.azurecr.io/team/app:v1";

fn federated(run: Run, token: &str) -> Run {
    let file = run.file("token", token);
    run.env("AZURE_CLIENT_ID", "client")
        .env("AZURE_TENANT_ID", "tenant")
        .env("AZURE_FEDERATED_TOKEN_FILE", file)
}

#[tokio::test]
async fn a_federated_token_logs_in_and_pushes() {
    let cloud = public().await;
    let ended = federated(cloud.run(), "good-hunter2").doctor(IMAGE).await;
    ended.says("used an identity of Azure's (workload identity) for `acme.azurecr.io`");
    ended.says("wants a token of `acme.azurecr.io`");
    federated(cloud.run(), "good-hunter2").build(IMAGE, &[]).await.says("Pushed");
    // What the directory repeats is not shown.
    let ended = federated(cloud.run(), "old-hunter2").doctor(IMAGE).await;
    ended.fails("`login.microsoftonline.com` answered 401: invalid_client: AADSTS700024: ***");
}

#[tokio::test]
async fn kanikos_recipe_for_azure_pushes_with_an_applications_password() {
    let cloud = public().await;
    for config in
        [r#"{"credsStore": "acr"}"#, r#"{"credHelpers": {"acme.azurecr.io": "acr-env"}}"#, "{}"]
    {
        let run = cloud.run();
        run.file(".docker/config.json", config);
        run.env("AZURE_CLIENT_ID", "client")
            .env("AZURE_TENANT_ID", "tenant")
            .env("AZURE_CLIENT_SECRET", "good-hunter2")
            .build(IMAGE, &[])
            .await
            .says("Pushed");
    }
}

#[tokio::test]
async fn the_file_of_a_node_stands_in_for_the_environment() {
    let cloud = public().await;
    let run = cloud.run().env("AZURE_CLIENT_ID", "other").env("AZURE_TENANT_ID", "other");
    let file = run.file(
        "azure.json",
        r#"{"tenantId": "tenant", "aadClientId": "client", "aadClientSecret": "good-hunter2"}"#,
    );
    let flag = format!("--azure-container-registry-config={file}");
    run.env("AZURE_CLIENT_SECRET", "bad-hunter2").build(IMAGE, &[&flag]).await.says("Pushed");
}

#[tokio::test]
async fn the_machines_identity_logs_in() {
    let cloud = public().await;
    let metadata = Web::start(|asked| {
        let is_agent = asked.header("x-identity-header") == "agent-hunter2";
        assert!(is_agent || asked.header("metadata") == "true");
        assert!(asked.query.contains("resource=https%3A%2F%2Fcontainerregistry.azure.net"));
        Answer::new(
            200,
            r#"{"access_token": "aad-hunter2", "expires_in": "86399", "token_type": "Bearer"}"#,
        )
    })
    .await;
    let managed = "used an identity of Azure's (managed identity)";
    cloud.run().env("HTTP_PROXY", metadata.url()).doctor(IMAGE).await.says(managed);
    let asked = metadata.asked();
    assert_eq!(asked[0].path, "/metadata/identity/oauth2/token");
    cloud
        .run()
        .env("IDENTITY_ENDPOINT", format!("{}/msi/token", metadata.url()))
        .env("IDENTITY_HEADER", "agent-hunter2")
        .doctor(IMAGE)
        .await
        .says(managed);
}

#[tokio::test]
async fn other_clouds_of_azures_have_their_own_servers() {
    let cloud =
        start("acme.azurecr.cn", "login.chinacloudapi.cn", "https://management.chinacloudapi.cn")
            .await;
    let run = federated(cloud.run(), "good-hunter2");
    run.doctor("acme.azurecr.cn/team/app:v1").await.says("workload identity");
    let cloud = start(
        "acme.azurecr.us",
        "login.microsoftonline.us",
        "https://management.usgovcloudapi.net",
    )
    .await;
    let run = federated(cloud.run(), "good-hunter2");
    run.doctor("acme.azurecr.us/team/app:v1").await.says("workload identity");
}
