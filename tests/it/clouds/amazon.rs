//! Amazon's registries, with each of Amazon's identities.

use super::*;

pub const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
pub const API: &str = "api.ecr.eu-west-1.amazonaws.com";
const EXPIRATION: &str = "2100-01-01T00:00:00Z";

fn image() -> String {
    format!("{ECR}/team/app:v1")
}

/// Amazon, for whoever signs with this temporary key.
pub fn amazon(asked: &Asked, key: &str, token: &str) -> Answer {
    if asked.host == API {
        assert_eq!(asked.header("content-type"), "application/x-amz-json-1.1");
        assert_eq!(
            asked.header("x-amz-target"),
            "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
        );
        assert_eq!(asked.body, "{}");
        let signed = asked.header("authorization");
        let is_known = signed.starts_with(&format!("AWS4-HMAC-SHA256 Credential={key}/"))
            && signed.contains("/eu-west-1/ecr/aws4_request")
            && asked.header("x-amz-security-token") == token;
        return match is_known {
            true => ecr_token("registry-hunter2"),
            false => Answer::new(
                400,
                r#"{"__type": "UnrecognizedClientException", "message": "The token is invalid."}"#,
            ),
        };
    }
    let is_known = asked.header("authorization") == basic("AWS", "registry-hunter2");
    registry(asked, is_known, "Basic realm=\"https://ecr\",service=\"ecr.amazonaws.com\"")
}

fn ecr_token(password: &str) -> Answer {
    let token = STANDARD.encode(format!("AWS:{password}"));
    let text = format!(
        r#"{{"authorizationData": [{{"authorizationToken": "{token}", "expiresAt": 4.1e9,
        "proxyEndpoint": "https://{ECR}"}}]}}"#
    );
    Answer::new(200, text)
}

async fn start(key: &'static str, token: &'static str) -> Cloud {
    Cloud::start(&[ECR, API], move |asked| amazon(asked, key, token)).await
}

fn with_keys(run: Run) -> Run {
    run.env("AWS_ACCESS_KEY_ID", "AKIAENV").env("AWS_SECRET_ACCESS_KEY", "hunter2")
}

#[tokio::test]
async fn keys_of_the_environment_log_in() {
    let cloud = start("AKIAENV", "").await;
    let ended = with_keys(cloud.run()).doctor(&image()).await;
    ended.says(&format!("used an identity of Amazon's (access key) for `{ECR}`"));
    ended.says(&format!("`https://{ECR}/v2/` answered 200, wants a user name and a password"));
    ended.says("allowed; there is no image of this name");
    ended.says("allowed: an upload was started and cancelled");
    // One token is enough for all of it.
    assert_eq!(cloud.count(API), 1);
}

#[tokio::test]
async fn kanikos_recipe_for_amazon_pushes_with_a_mounted_file() {
    let cloud = start("AKIAFILE", "").await;
    for config in [
        None,
        Some(r#"{"credsStore": "ecr-login"}"#.to_owned()),
        Some(format!(
            r#"{{"credHelpers": {{"{ECR}": "ecr-login", "public.ecr.aws": "ecr-login"}}}}"#
        )),
    ] {
        let run = cloud.run();
        run.file(
            ".aws/credentials",
            "[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key = hunter2\n",
        );
        if let Some(config) = config {
            run.file(".docker/config.json", &config);
        }
        let output = run.folder.path().join("output");
        std::fs::create_dir(&output).unwrap();
        let run = run.env("BUILDER_OUTPUT", output.to_str().unwrap());
        run.build(&image(), &[]).await.says("Pushed");
    }
    let manifests = cloud.web.asked();
    let pushed = manifests.iter().filter(|asked| asked.path == "/v2/team/app/manifests/v1");
    assert_eq!(pushed.filter(|asked| asked.method == "PUT").count(), 3);
}

#[tokio::test]
async fn a_role_of_the_cluster_logs_in() {
    let cloud = Cloud::start(&[ECR, API, "sts.eu-west-1.amazonaws.com"], |asked| {
        if asked.host != "sts.eu-west-1.amazonaws.com" {
            return amazon(asked, "ASIAWEB", "session-hunter2");
        }
        let text = format!("{}{}", asked.query, String::from_utf8_lossy(&asked.body));
        match text.contains("WebIdentityToken=good") {
            true => Answer::new(200, credentials_xml("AssumeRoleWithWebIdentity", "ASIAWEB")),
            false => Answer::new(
                400,
                "<ErrorResponse><Error><Code>ExpiredTokenException</Code><Message>Token expired\
                 </Message></Error></ErrorResponse>",
            ),
        }
    })
    .await;
    let run = |token: &str| {
        let run = cloud.run().env("AWS_ROLE_ARN", "arn:aws:iam::1:role/build");
        let file = run.file("token", token);
        run.env("AWS_REGION", "eu-west-1")
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", file)
            .env("AWS_ENDPOINT_URL_STS", "https://sts.eu-west-1.amazonaws.com")
    };
    run("good").doctor(&image()).await.says("used an identity of Amazon's (web identity)");
    // Of an expired one the reason is shown with the refusal that follows from it.
    let ended = run("old-hunter2").doctor(&image()).await;
    ended.fails(
        "Amazon's identity cannot be used: `sts.eu-west-1.amazonaws.com` answered 400: \
                 ExpiredTokenException: Token expired",
    );
}

fn credentials_xml(action: &str, key: &str) -> String {
    format!(
        "<{action}Response><{action}Result><Credentials><AccessKeyId>{key}</AccessKeyId>\
         <SecretAccessKey>hunter2</SecretAccessKey><SessionToken>session-hunter2</SessionToken>\
         <Expiration>{EXPIRATION}</Expiration></Credentials></{action}Result></{action}Response>"
    )
}

#[tokio::test]
async fn pod_identity_logs_in_with_a_token_in_a_file_or_variable() {
    let cloud = start("ASIAPOD", "session-hunter2").await;
    let agent = Web::start(|asked| match asked.header("authorization") {
        "pod-hunter2" => Answer::new(
            200,
            format!(
                r#"{{"AccessKeyId": "ASIAPOD", "SecretAccessKey": "hunter2", "Token":
                "session-hunter2", "Expiration": "{EXPIRATION}"}}"#
            ),
        ),
        other => Answer::new(401, format!("not {other}")),
    })
    .await;
    let url = format!("http://{}/v1/credentials", agent.address);
    let run = || cloud.run().env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url);
    let in_file = run();
    let file = in_file.file("token", "pod-hunter2");
    in_file
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)
        .doctor(&image())
        .await
        .says("used an identity of Amazon's (EKS Pod Identity)");
    run()
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-hunter2")
        .doctor(&image())
        .await
        .says("used an identity of Amazon's (EKS Pod Identity)");
    // What the agent repeats is not shown.
    run()
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "wrong-hunter2")
        .doctor(&image())
        .await
        .fails("answered 401: not ***");
}

#[tokio::test]
async fn the_machines_role_logs_in() {
    let cloud = start("ASIAEC2", "session-hunter2").await;
    let metadata = Web::start(|asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("PUT", "/latest/api/token") => Answer::new(200, "imds-hunter2"),
        ("GET", "/latest/meta-data/iam/security-credentials/") => Answer::new(200, "role"),
        ("GET", "/latest/meta-data/iam/security-credentials/role") => {
            assert_eq!(asked.header("x-aws-ec2-metadata-token"), "imds-hunter2");
            Answer::new(
                200,
                format!(
                    r#"{{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAEC2",
                    "SecretAccessKey": "hunter2", "Token": "session-hunter2",
                    "Expiration": "{EXPIRATION}", "LastUpdated": "2020-01-01T00:00:00Z"}}"#
                ),
            )
        }
        _ => Answer::new(404, ""),
    })
    .await;
    cloud
        .run()
        .env("AWS_EC2_METADATA_DISABLED", "false")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url())
        .doctor(&image())
        .await
        .says("used an identity of Amazon's (machine's role)");
}

#[tokio::test]
async fn a_profiles_role_is_taken_on_with_anothers_keys() {
    const STS: &str = "sts.eu-west-1.amazonaws.com";
    let cloud = Cloud::start(&[ECR, API, STS], |asked| {
        if asked.host != STS {
            return amazon(asked, "ASIATWO", "session-hunter2");
        }
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let signed = asked.header("authorization").to_owned();
        assert!(signed.contains("/eu-west-1/sts/aws4_request"), "{signed}");
        assert!(body.starts_with("Action=AssumeRole&Version=2011-06-15&RoleArn="), "{body}");
        let next = match signed.split(['=', '/']).nth(1) {
            Some("AKIABASE") if body.contains("role%2Fone") => "ASIAONE",
            Some("ASIAONE") if body.contains("role%2Ftwo&RoleSessionName=me&ExternalId=id") => {
                "ASIATWO"
            }
            _ => return Answer::new(403, "<Error><Code>AccessDenied</Code></Error>"),
        };
        Answer::new(200, credentials_xml("AssumeRole", next))
    })
    .await;
    let run = cloud.run();
    run.file(
        ".aws/config",
        "[default]\nregion = eu-west-1\nrole_arn = arn:aws:iam::1:role/two\n\
         role_session_name = me\nexternal_id = id\nsource_profile = one\n\
         [profile one]\nrole_arn = arn:aws:iam::1:role/one\nsource_profile = base\n",
    );
    run.file(
        ".aws/credentials",
        "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = hunter2\n",
    );
    run.doctor(&image()).await.says("used an identity of Amazon's (assumed role)");
    assert_eq!(cloud.count(STS), 2);
}

#[tokio::test]
async fn the_public_registry_is_pulled_from_also_by_who_is_not_known() {
    const PUBLIC: &str = "public.ecr.aws";
    const API: &str = "api.ecr-public.us-east-1.amazonaws.com";
    let cloud = Cloud::start(&[PUBLIC, API], |asked| {
        if asked.host == API {
            assert!(asked.header("authorization").contains("/us-east-1/ecr-public/aws4_request"));
            let token = STANDARD.encode("AWS:registry-hunter2");
            return match asked.header("authorization").contains("AKIAENV") {
                true => Answer::new(
                    200,
                    format!(
                        r#"{{"authorizationData": {{"authorizationToken": "{token}",
                        "expiresAt": 4.1e9}}}}"#
                    ),
                ),
                false => Answer::new(
                    400,
                    r#"{"__type": "AccessDeniedException", "message": "not authorized"}"#,
                ),
            };
        }
        if asked.path == "/token" {
            let known = asked.header("authorization") == basic("AWS", "registry-hunter2");
            assert!(known || asked.header("authorization").is_empty());
            let token = if known { "push-hunter2" } else { "pull-hunter2" };
            return Answer::new(200, format!(r#"{{"token": "{token}"}}"#));
        }
        let shown = asked.header("authorization");
        let is_read = matches!(asked.method.as_str(), "GET" | "HEAD");
        let is_known = shown == "Bearer push-hunter2" || is_read && shown == "Bearer pull-hunter2";
        registry(asked, is_known, "Bearer realm=\"https://public.ecr.aws/token\",service=\"p\"")
    })
    .await;
    let image = format!("{PUBLIC}/team/app:v1");
    let ended = with_keys(cloud.run()).doctor(&image).await;
    ended.says("used an identity of Amazon's (access key)");
    ended.says("allowed: an upload was started and cancelled");
    let ended = with_keys(cloud.run()).env("AWS_ACCESS_KEY_ID", "AKIAOTHER").doctor(&image).await;
    ended.says("answered 400: AccessDeniedException: not authorized");
    ended.says("allowed; there is no image of this name");
}

#[tokio::test]
async fn a_token_that_is_refused_during_the_push_is_asked_for_anew() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let (asked_for, pushed) = (AtomicU32::new(0), AtomicU32::new(0));
    let cloud = Cloud::start(&[ECR, API], move |asked| {
        if asked.host == API {
            let count = asked_for.fetch_add(1, Ordering::SeqCst);
            return ecr_token(&format!("registry-hunter2-{count}"));
        }
        // The first token ends with the first upload that is finished.
        let password = format!("registry-hunter2-{}", pushed.load(Ordering::SeqCst).min(1));
        let is_known = asked.header("authorization") == basic("AWS", &password);
        let answer = registry(asked, is_known, "Basic realm=\"ecr\"");
        if asked.method == "PUT" && answer.status == 201 {
            pushed.fetch_add(1, Ordering::SeqCst);
        }
        answer
    })
    .await;
    with_keys(cloud.run()).build(&image(), &[]).await.says("Pushed");
    assert_eq!(cloud.count(API), 2);
}

#[tokio::test]
async fn what_only_looks_like_amazons_gets_nothing() {
    let evil = format!("{ECR}.evil.example");
    let cloud = Cloud::start(&[&evil, API], |asked| {
        assert_eq!(asked.header("authorization"), "");
        registry(asked, false, "Basic realm=\"x\"")
    })
    .await;
    let ended = with_keys(cloud.run()).doctor(&format!("{evil}/team/app:v1")).await;
    ended.fails("no credentials: no `config.json` in");
    assert_eq!(cloud.count(API), 0);
    // Nor does the right one when that is not wanted.
    let cloud = start("AKIAENV", "").await;
    let run = with_keys(cloud.run());
    run.build(&image(), &["--credential-helpers="]).await.fails("answered 401");
    assert_eq!(cloud.count(API), 0);
}

#[tokio::test]
async fn a_machine_that_has_no_identity_is_found_out_by_two_questions() {
    let silent = Web::start(|_| Answer { silent: true, ..Answer::default() }).await;
    let cloud = start("AKIAENV", "").await;
    let run = |cloud: &Cloud| {
        cloud
            .run()
            .env("AWS_EC2_METADATA_DISABLED", "false")
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.url())
    };
    run(&cloud).doctor(&image()).await.fails("Amazon knows nobody here");
    assert_eq!(silent.asked().len(), 2);
    // It is not asked where somebody is named, nor for another registry.
    with_keys(run(&cloud)).doctor(&image()).await.says("access key");
    let other = Cloud::start(&["registry.example"], |asked| registry(asked, true, "")).await;
    run(&other).doctor("registry.example/team/app:v1").await.says("wants no credentials");
    assert_eq!(silent.asked().len(), 2);
}

#[tokio::test]
async fn a_service_that_leads_elsewhere_is_not_followed() {
    const ELSEWHERE: &str = "elsewhere.example";
    let cloud = Cloud::start(&[ECR, API, ELSEWHERE], |asked| match asked.host.as_str() {
        API => Answer::new(307, "").header("location", format!("https://{ELSEWHERE}/")),
        _ => registry(asked, false, "Basic realm=\"ecr\""),
    })
    .await;
    let ended = with_keys(cloud.run()).doctor(&image()).await;
    ended.fails(&format!("Amazon's identity cannot be used: `{API}` answered 307"));
    assert_eq!(cloud.count(ELSEWHERE), 0);
    // Nor is a registry that sends a push elsewhere told there who pushes.
    let cloud = Cloud::start(&[ECR, API, ELSEWHERE], |asked| match asked.host.as_str() {
        ECR if asked.method == "POST" && !asked.header("authorization").is_empty() => {
            let location = format!("https://{ELSEWHERE}{}one", asked.path);
            Answer::new(202, "").header("location", location)
        }
        ELSEWHERE => {
            assert_eq!(asked.header("authorization"), "");
            registry(asked, true, "")
        }
        _ => amazon(asked, "AKIAENV", ""),
    })
    .await;
    with_keys(cloud.run()).build(&image(), &[]).await.says("Pushed");
    assert!(cloud.count(ELSEWHERE) > 0);
}
