//! Registries that belong to no cloud, and what is done before anything else.

use super::*;

/// A registry that knows one user.
async fn start(password: &'static str) -> Web {
    Web::start(move |asked| {
        let is_known = asked.header("authorization") == basic("robot", password);
        registry(asked, is_known, "Basic realm=\"x\"")
    })
    .await
}

fn image(web: &Web) -> String {
    format!("127.0.0.1:{}/team/app:v1", web.address.port())
}

#[tokio::test]
async fn a_job_of_gitlabs_needs_no_file() {
    let web = start("job-hunter2").await;
    let host = format!("127.0.0.1:{}", web.address.port());
    let run = || {
        Run::new()
            .env("CI_REGISTRY", &host)
            .env("CI_REGISTRY_USER", "robot")
            .env("CI_REGISTRY_PASSWORD", "job-hunter2")
    };
    let ended = run().doctor(&image(&web)).await;
    ended.says(&format!("used `CI_REGISTRY_PASSWORD` for `{host}`"));
    run().build(&image(&web), &[]).await.says("Pushed");
    let document =
        format!(r#"{{"auths": {{"{host}": {{"username": "robot", "password": "job-hunter2"}}}}}}"#);
    let ended = Run::new().env("DOCKER_AUTH_CONFIG", document).doctor(&image(&web)).await;
    ended.says(&format!("used entry `{host}` of `DOCKER_AUTH_CONFIG`"));
}

#[tokio::test]
async fn the_doctor_tells_every_place_and_shows_no_secret() {
    let web = start("other").await;
    let host = format!("127.0.0.1:{}", web.address.port());
    let run = || {
        let run = Run::new();
        let config = r#"{"auths": {"x.example": {"auth": "aHVudGVyMjpodW50ZXIy"}}}"#;
        run.file(".docker/config.json", config);
        run.env("DOCKER_AUTH_CONFIG", r#"{"auths": {"y.example": {"auth": "aHVudGVyMjpoMg=="}}}"#)
            .env("CI_REGISTRY", "z.example")
            .env("CI_REGISTRY_USER", "robot")
            .env("CI_REGISTRY_PASSWORD", "hunter2")
    };
    let ended = run().doctor(&image(&web)).await;
    for expected in [
        format!("config.json`: no entry for `{host}`"),
        format!("`DOCKER_AUTH_CONFIG`: no entry for `{host}`"),
        "`CI_REGISTRY_PASSWORD`: for `z.example`".to_owned(),
        format!("`http://{host}/v2/` answered 401, wants a user name and a password"),
    ] {
        ended.fails(&expected);
    }
    for secret in ["aHVudGVyMjpodW50ZXIy", "aHVudGVyMjpoMg"] {
        assert!(!ended.text.contains(secret), "{}", ended.text);
    }
    // The same for programs.
    let run = run();
    let words = ["doctor", "--log-format=json", "--registry=127.0.0.1:1/a", "--registry"];
    let image = image(&web);
    let words: Vec<&str> = words.into_iter().chain([image.as_str()]).collect();
    let ended = run.end("zuwai", &words).await;
    let end = ended.text.rfind("\n}").unwrap() + 2;
    let found: serde_json::Value = serde_json::from_str(&ended.text[..end]).unwrap();
    let about = |registry: usize| {
        let findings = found["registries"][registry]["findings"].as_array().unwrap().clone();
        findings
            .iter()
            .map(|finding| format!("{}: {}", finding["about"], finding["verdict"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    let looked = ["looked at: fact"; 3];
    let expected = |rest: [&str; 3]| {
        let all = ["credentials: fact"].into_iter().chain(looked).chain(rest);
        all.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(about(0), expected(["answer: no", "pull: no", "push: no"]));
    assert_eq!(about(1), expected(["answer: yes", "pull: no", "push: no"]));
}

#[tokio::test]
async fn who_may_not_push_is_told_before_the_context_is_downloaded() {
    let web = start("right").await;
    let bucket = Web::start(|_| Answer::new(200, crate::contexts::archive())).await;
    let run = Run::new().env("S3_ENDPOINT", bucket.url());
    let arguments = ["--context=s3://bucket/context.tar.gz"];
    run.build(&image(&web), &arguments).await.fails("answered 401");
    assert_eq!(bucket.asked().len(), 0);
    let run = Run::new().env("S3_ENDPOINT", bucket.url());
    let arguments = ["--context=s3://bucket/context.tar.gz", "--skip-push-permission-check"];
    run.build(&image(&web), &arguments).await.fails("answered 401");
    assert_eq!(bucket.asked().len(), 1);
}

#[tokio::test]
async fn programs_around_a_build_get_what_kaniko_gives_them() {
    let web = Web::start(|asked| registry(asked, true, "")).await;
    let kept = tempfile::tempdir().unwrap();
    let digest_file = kept.path().join("digest");
    let names = kept.path().join("names");
    let tags = kept.path().join("tags");
    let (digest_file, names, tags) =
        (digest_file.to_str().unwrap(), names.to_str().unwrap(), tags.to_str().unwrap());
    let (first, second) = (image(&web), image(&web).replace(":v1", ":v2"));
    let arguments = [
        format!("--digest-file={digest_file}"),
        format!("--image-name-with-digest-file={names}"),
        format!("--image-name-tag-with-digest-file={tags}"),
        format!("--destination={second}"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let listed = kept.path().to_str().unwrap().to_owned();
    let run = Run::new().env("BUILDER_OUTPUT", &listed).env("UPSTREAM_CLIENT_TYPE", "skaffold");
    run.build(&first, &arguments).await.says("Pushed");
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let digest = read(digest_file);
    let repository = first.trim_end_matches(":v1");
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
    assert_eq!(read(names), format!("{repository}@{digest}\n").repeat(2));
    assert_eq!(read(tags), format!("{first}@{digest}\n{second}@{digest}\n"));
    let line = |name: &str| format!("{{\"name\":\"{name}\",\"digest\":\"{digest}\"}}\n");
    assert_eq!(read(&format!("{listed}/images")), line(&first) + &line(&second));
    let agent = concat!("zuwai/", env!("CARGO_PKG_VERSION"), ",skaffold");
    assert!(web.asked().iter().all(|asked| asked.header("user-agent") == agent));
}

#[tokio::test]
async fn kanikos_recipes_for_docker_hub_and_others_push_with_a_mounted_file() {
    for (host, key, destination) in [
        ("index.docker.io", "https://index.docker.io/v1/", "team/app"),
        ("index.docker.io", "docker.io", "docker.io/team/app:latest"),
        (
            "artprod.company.example",
            "artprod.company.example",
            "artprod.company.example/team/app:v1",
        ),
    ] {
        let cloud = Cloud::start(&[host], |asked| {
            let is_known = asked.header("authorization") == basic("USER", "PASSWORD-hunter2");
            registry(asked, is_known, "Basic realm=\"x\"")
        })
        .await;
        let run = cloud.run();
        let auth = STANDARD.encode("USER:PASSWORD-hunter2");
        let config = serde_json::json!({"auths": {key: {"auth": auth}}});
        run.file(".docker/config.json", &config.to_string());
        run.build(destination, &[]).await.says("Pushed");
        let pushed = cloud.web.asked();
        let manifests = pushed.iter().filter(|asked| asked.path.contains("/manifests/"));
        assert_eq!(manifests.filter(|asked| asked.method == "PUT").count(), 1, "{destination}");
    }
}

#[tokio::test]
async fn metadata_servers_that_never_answer_are_asked_twice_and_for_their_own_registries_only() {
    for (host, owner, metadata) in [
        ("europe-west1-docker.pkg.dev", "Google", "metadata.google.internal"),
        ("acme.azurecr.io", "Azure", "169.254.169.254"),
    ] {
        let cloud = Cloud::start(&[host, "registry.example"], |asked| {
            registry(asked, false, "Basic realm=\"x\"")
        })
        .await;
        let silent = Web::start(|_| Answer { silent: true, ..Answer::default() }).await;
        let run = || cloud.run().env("HTTP_PROXY", silent.url());
        let ended = run().doctor(&format!("{host}/team/app:v1")).await;
        ended.fails(&format!("{owner} knows nobody here"));
        let asked: Vec<String> = silent.asked().into_iter().map(|asked| asked.host).collect();
        assert_eq!(asked, [metadata, metadata]);
        run().doctor("registry.example/team/app:v1").await.fails("no credentials");
        assert_eq!(silent.asked().len(), 2);
    }
}
