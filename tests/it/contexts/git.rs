//! Git repositories as contexts, from git's own server.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use super::server::{Answer, Asked, Web};
use super::{Build, HELLO, Tls};

/// A folder with repositories.
pub struct Repositories(Arc<TempDir>);

impl Repositories {
    pub fn new() -> Self {
        Self(Arc::new(tempfile::tempdir().unwrap()))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs git in a work tree; returns what it prints.
    pub fn git(&self, name: &str, words: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-C",
                &self.path(name),
                "-c",
                "user.name=zuwai",
                "-c",
                "user.email=z@example.com",
            ])
            .args(["-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"])
            .args(words)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("HOME", self.0.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {text}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Makes a repository with a Dockerfile, and returns its first commit.
    pub fn create(&self, name: &str) -> String {
        fs::create_dir(self.path(name)).unwrap();
        self.git(name, &["init", "--quiet"]);
        self.write(name, "Dockerfile", "FROM scratch\nCOPY . /src/\n");
        self.write(name, "hello", HELLO);
        self.commit(name)
    }

    pub fn write(&self, name: &str, file: &str, text: &str) {
        let path = Path::new(&self.path(name)).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn commit(&self, name: &str) -> String {
        self.git(name, &["add", "--all"]);
        self.git(name, &["commit", "--quiet", "--allow-empty", "--message=m"]);
        self.git(name, &["rev-parse", "HEAD"])
    }

    /// Answers as git's server does.
    fn serve(&self, asked: &Asked) -> Answer {
        let mut command = Command::new("git");
        command
            .arg("http-backend")
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .env("GIT_PROJECT_ROOT", self.0.path())
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REQUEST_METHOD", &asked.method)
            .env("PATH_INFO", &asked.path)
            .env("QUERY_STRING", &asked.query)
            .env("CONTENT_TYPE", asked.header("content-type"))
            .env("CONTENT_LENGTH", asked.body.len().to_string())
            .env("GIT_PROTOCOL", asked.header("git-protocol"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&asked.body).unwrap();
        let output = child.wait_with_output().unwrap().stdout;
        let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&output[..end]).unwrap();
        let mut answer = Answer::new(200, &output[end + 4..]);
        for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
            match name.to_ascii_lowercase().as_str() {
                "status" => answer.status = value[..3].parse().unwrap(),
                "content-type" => answer = answer.header("content-type", value),
                _ => {}
            }
        }
        answer
    }

    /// Starts a server of them, by plain HTTP, for whoever `allow` allows.
    pub async fn start(&self, allow: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Web {
        let repositories = Self(Arc::clone(&self.0));
        Web::start(move |asked| match allow(asked) {
            true => repositories.serve(asked),
            false => Answer::new(401, "who are you?\n")
                .header("content-type", "text/plain")
                .header("www-authenticate", "Basic realm=\"git\""),
        })
        .await
    }
}

fn anyone(asked: &Asked) -> bool {
    asked.header("authorization").is_empty()
}

fn build(server: &Web, rest: &str) -> Build {
    Build::of(&format!("git://{}/{rest}", server.address)).env("GIT_PULL_METHOD", "http")
}

/// Counts what was fetched: questions for objects.
pub fn wants(server: &Web) -> Vec<String> {
    let fetches =
        server.asked().into_iter().filter(|asked| asked.path.ends_with("/git-upload-pack"));
    fetches
        .map(|asked| String::from_utf8_lossy(&asked.body).into_owned())
        .filter(|body| body.contains("command=fetch"))
        .collect()
}

#[tokio::test]
async fn the_default_branch_is_fetched_at_depth_one() {
    let repositories = Repositories::new();
    repositories.create("app");
    repositories.git("app", &["branch", "other"]);
    let commit = repositories.commit("app");
    let server = repositories.start(anyone).await;
    let ended = build(&server, "app").run().await;
    ended.works();
    // The sources know what they are.
    ended.has("ref: refs/heads/main\n");
    ended.has(&format!("{commit} refs/heads/main\n"));
    let wants = wants(&server);
    assert_eq!(wants.len(), 1);
    assert!(
        wants[0].contains(&format!("want {commit}")) && wants[0].contains("deepen 1"),
        "{wants:?}"
    );
}

#[tokio::test]
async fn references_and_commits_in_kanikos_forms_and_dockers() {
    let repositories = Repositories::new();
    let first = repositories.create("app");
    repositories.git("app", &["tag", "--annotate", "--message=m", "v1"]);
    repositories.write("app", "hello", "second\n");
    repositories.write("app", "api/Dockerfile", "FROM scratch\nCOPY text /\n");
    repositories.write("app", "api/text", "of a directory\n");
    let second = repositories.commit("app");
    repositories.git("app", &["update-ref", "refs/pull/7/head", &first]);
    let server = repositories.start(anyone).await;
    for (rest, expected) in [
        ("app#refs/heads/main".to_owned(), "second\n"),
        ("app#main".to_owned(), "second\n"),
        ("app#refs/tags/v1".to_owned(), HELLO),
        ("app#refs/pull/7/head".to_owned(), HELLO),
        (format!("app#{first}"), HELLO),
        (format!("app#refs/heads/main#{first}"), HELLO),
        (format!("app##{second}"), "second\n"),
        ("app#main:api".to_owned(), "of a directory\n"),
        ("app#:api".to_owned(), "of a directory\n"),
    ] {
        let ended = build(&server, &rest).run().await;
        assert!(ended.success, "{rest}: {}", ended.text);
        ended.has(expected);
    }
    build(&server, "app").arg("--context-sub-path=api").run().await.has("of a directory\n");
    build(&server, "app").arg("--git=branch=v1").run().await.has(HELLO);
    build(&server, "app")
        .arg("--git=branch=main")
        .arg("--git=single-branch=true")
        .arg("--git=depth=0")
        .run()
        .await
        .has("second\n");
}

#[tokio::test]
async fn servers_of_the_first_version_give_commits_too() {
    let repositories = Repositories::new();
    let first = repositories.create("app");
    repositories.write("app", "hello", "second\n");
    repositories.commit("app");
    let served = Repositories(Arc::clone(&repositories.0));
    let server = Web::start(move |asked| {
        let mut asked = asked.clone();
        asked.headers.remove("git-protocol");
        served.serve(&asked)
    })
    .await;
    build(&server, "app").run().await.has("second\n");
    build(&server, "app#main").run().await.has("second\n");
    build(&server, &format!("app#{first}")).run().await.works();
    build(&server, &format!("app#main#{first}")).run().await.works();
    let gone = "0123456789012345678901234567890123456789";
    build(&server, &format!("app#{gone}"))
        .run()
        .await
        .fails(&format!("cause: it has no commit `{gone}`"));
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let repositories = Repositories::new();
    repositories.create("app");
    let gone = "0123456789012345678901234567890123456789";
    let server = repositories.start(anyone).await;
    let fails = async |rest: &str, flags: &[&str], expected: &str| {
        let build = flags.iter().fold(build(&server, rest), |build, flag| build.arg(*flag));
        let name = rest.split('#').next().unwrap();
        build.run().await.fails(&format!(
            "error: cannot fetch the build context `http://{}/{name}`\ncause: {expected}",
            server.address
        ));
    };
    fails("app#nope", &[], "it has no branch, tag or reference `nope`").await;
    fails("app", &["--git=branch=nope"], "invalid branch: `nope` is neither a branch nor a tag")
        .await;
    // As after a force-push.
    fails(&format!("app#{gone}"), &[], &format!("it has no commit `{gone}`\nhint: after a force"))
        .await;
    let refused = format!("`{}` answered 404", server.address);
    fails("none", &[], &refused).await;
}

#[tokio::test]
async fn faults_that_pass_are_waited_for() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let repositories = Repositories::new();
    repositories.create("app");
    let served = Repositories(Arc::clone(&repositories.0));
    let (references, packs) = (AtomicU32::new(0), AtomicU32::new(0));
    let server = Web::start(move |asked| {
        let answer = served.serve(asked);
        let is_pack = String::from_utf8_lossy(&asked.body).contains("command=fetch");
        let count = if is_pack { &packs } else { &references };
        match (is_pack, count.fetch_add(1, Ordering::SeqCst)) {
            (false, 0) => Answer::new(503, "try later"),
            (false, 1) => Answer { cut: Some(0), ..answer },
            // In the middle of the pack, and before it.
            (true, 0) => Answer { cut: Some(answer.body.len() / 2), ..answer },
            (true, 1) => Answer::new(502, "<html>"),
            _ => answer,
        }
    })
    .await;
    let ended = build(&server, "app").run().await;
    ended.works();
    assert_eq!(wants(&server).len(), 3);
    assert_eq!(ended.text.matches("fetch failed, trying again").count(), 4, "{}", ended.text);

    // What cannot pass is not.
    let server = Web::start(|_| Answer::new(403, "")).await;
    build(&server, "app").run().await.fails("answered 403 Forbidden");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_commit_is_gone_after_a_force_push() {
    let repositories = Repositories::new();
    let gone = repositories.create("app");
    repositories.write("app", "hello", "rewritten\n");
    repositories.git("app", &["add", "--all"]);
    repositories.git("app", &["commit", "--quiet", "--amend", "--message=m"]);
    repositories.git("app", &["reflog", "expire", "--expire=now", "--all"]);
    repositories.git("app", &["gc", "--quiet", "--prune=now"]);
    let server = repositories.start(anyone).await;
    build(&server, &format!("app#{gone}")).run().await.fails(&format!(
        "it has no commit `{gone}`\nhint: after a force-push, a commit may be gone; name the branch \
         instead"
    ));
    build(&server, "app#main").run().await.has("rewritten\n");
}

#[tokio::test]
async fn credentials_come_from_the_environment_or_the_url_and_are_shown_nowhere() {
    let repositories = Repositories::new();
    repositories.create("app");
    // robot:hunter2, and hunter2 as a token.
    let server = repositories
        .start(|asked| {
            ["Basic cm9ib3Q6aHVudGVyMg==", "Basic aHVudGVyMjo="]
                .contains(&asked.header("authorization"))
        })
        .await;
    let works = async |build: Build| {
        let ended = build.run().await;
        ended.works();
        assert!(!ended.text.contains("hunter2"), "{}", ended.text);
        assert!(!ended.has_text("hunter2"));
    };
    works(build(&server, "app").env("GIT_TOKEN", "hunter2")).await;
    works(build(&server, "app").env("GIT_USERNAME", "robot").env("GIT_PASSWORD", "hunter2")).await;
    let in_url = |user: &str| {
        Build::of(&format!("git://{user}@{}/app", server.address)).env("GIT_PULL_METHOD", "http")
    };
    works(in_url("hunter2")).await;
    works(in_url("robot:hunter2")).await;
    build(&server, "app").run().await.fails(&format!(
        "cause: `{}` answered 401 Unauthorized: who are you?\n\
         hint: a private repository needs `GIT_TOKEN`, or `GIT_USERNAME` and `GIT_PASSWORD`",
        server.address
    ));
    build(&server, "app").env("GIT_TOKEN", "old-hunter2").run().await.fails("answered 401");
}

#[tokio::test]
async fn by_https_with_and_without_a_trusted_certificate() {
    let repositories = Repositories::new();
    repositories.create("app");
    let tls = Tls::of(&["127.0.0.1"]);
    let served = Repositories(Arc::clone(&repositories.0));
    let server = Web::start_tls(tls.pair(), move |asked| served.serve(asked)).await;
    let build = || Build::of(&format!("git://{}/app", server.address));
    build().trusting(&tls).run().await.works();
    build().run().await.fails(&format!("cause: TLS with `{}` failed", server.address));
    build().arg("--git=insecure-skip-tls=true").run().await.works();
}

#[tokio::test]
async fn submodules_are_fetched_when_asked_for_at_their_commit() {
    let repositories = Repositories::new();
    repositories.create("inner");
    repositories.write("inner", "inner-text", "of the inner one\n");
    repositories.commit("inner");
    repositories.create("lib");
    repositories.write("lib", "lib-text", "of the submodule\n");
    repositories
        .git("lib", &["submodule", "--quiet", "add", &repositories.path("inner"), "deep/inner"]);
    repositories
        .git("lib", &["config", "--file=.gitmodules", "submodule.deep/inner.url", "../inner"]);
    repositories.commit("lib");
    repositories.create("app");
    repositories
        .git("app", &["submodule", "--quiet", "add", &repositories.path("lib"), "vendor/lib"]);
    repositories
        .git("app", &["config", "--file=.gitmodules", "submodule.vendor/lib.url", "../lib"]);
    repositories.commit("app");
    // What comes later is not what the commit names.
    repositories.write("lib", "lib-text", "later\n");
    repositories.commit("lib");
    let server = repositories.start(anyone).await;
    let ended = build(&server, "app").arg("--git=recurse-submodules=true").run().await;
    ended.works();
    ended.has("of the submodule\n");
    ended.has("of the inner one\n");
    assert!(!ended.has_text("later\n"));
    let ended = build(&server, "app").run().await;
    ended.works();
    assert!(!ended.has_text("of the submodule\n"));
}

#[tokio::test]
async fn a_submodule_elsewhere_gets_no_credentials_and_other_ways_are_refused() {
    let (repositories, others) = (Repositories::new(), Repositories::new());
    others.create("lib");
    let other = others.start(anyone).await;
    repositories.create("app");
    repositories.git("app", &["submodule", "--quiet", "add", &others.path("lib"), "lib"]);
    let url = format!("{}/lib", other.url());
    repositories.git("app", &["config", "--file=.gitmodules", "submodule.lib.url", &url]);
    repositories.commit("app");
    let server = repositories.start(|asked| !asked.header("authorization").is_empty()).await;
    let build =
        || build(&server, "app").env("GIT_TOKEN", "hunter2").arg("--git=recurse-submodules=true");
    build().run().await.works();
    assert!(other.asked().iter().all(|asked| asked.header("authorization").is_empty()));
    for (url, scheme) in
        [("git@git.example:x/lib.git", "ssh"), ("file:///etc", "file"), ("ext::sh -c id", "ssh")]
    {
        repositories.git("app", &["config", "--file=.gitmodules", "submodule.lib.url", url]);
        repositories.commit("app");
        build().run().await.fails(&format!(
            "cause: submodule `/lib` is reached by `{scheme}`; only https is supported"
        ));
    }
}

#[tokio::test]
async fn a_redirect_is_followed_and_takes_no_credentials_elsewhere() {
    let repositories = Repositories::new();
    repositories.create("app");
    let served = Repositories(Arc::clone(&repositories.0));
    // As when a repository was renamed.
    let server = Web::start(move |asked| match asked.path.strip_prefix("/old/") {
        Some(rest) => {
            Answer::new(301, "").header("location", format!("/app/{rest}?{}", asked.query))
        }
        None => served.serve(asked),
    })
    .await;
    build(&server, "old").env("GIT_TOKEN", "hunter2").run().await.works();
    assert!(server.asked().iter().all(|asked| !asked.header("authorization").is_empty()));
}

#[tokio::test]
async fn links_and_modes_are_kept_and_no_link_is_followed() {
    let repositories = Repositories::new();
    repositories.create("app");
    symlink("/etc", Path::new(&repositories.path("app")).join("out")).unwrap();
    repositories.write("app", "run.sh", "#!/bin/sh\n");
    repositories.git("app", &["add", "run.sh"]);
    repositories.git("app", &["update-index", "--chmod=+x", "run.sh"]);
    repositories.git("app", &["commit", "--quiet", "--all", "--message=m"]);
    repositories.commit("app");
    // The subdirectory is a link that leads out.
    let server = repositories.start(anyone).await;
    build(&server, "app").run().await.works();
    build(&server, "app#main:out").run().await.fails("out");
}

#[tokio::test]
async fn a_tree_with_hostile_names_writes_nothing_elsewhere() {
    let repositories = Repositories::new();
    repositories.create("app");
    let blob = repositories.git("app", &["rev-parse", "HEAD:hello"]);
    for name in ["../zuwai-was-here", ".git/hooks/x", "..", ".GIT"] {
        let tree = make_tree(&repositories, &[("100644", name, &blob)]);
        let commit = repositories.git("app", &["commit-tree", "-m", "m", &tree]);
        repositories.git("app", &["update-ref", "refs/heads/evil", &commit]);
        let server = repositories.start(anyone).await;
        build(&server, "app#evil").run().await.fails("is no name for a file");
    }
    // A link and a directory of one name.
    let target = repositories.git("app", &["rev-parse", "HEAD:hello"]);
    let inner = make_tree(&repositories, &[("100644", "zuwai-was-here", &blob)]);
    let tree = make_tree(&repositories, &[("120000", "a", &target), ("40000", "a", &inner)]);
    let commit = repositories.git("app", &["commit-tree", "-m", "m", &tree]);
    repositories.git("app", &["update-ref", "refs/heads/twice", &commit]);
    let server = repositories.start(anyone).await;
    assert!(!build(&server, "app#twice").run().await.success);
}

/// Writes a tree that git itself would not.
fn make_tree(repositories: &Repositories, entries: &[(&str, &str, &str)]) -> String {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend(format!("{mode} {name}\0").into_bytes());
        bytes.extend((0..40).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()));
    }
    let file = repositories.path("tree");
    fs::write(&file, bytes).unwrap();
    repositories.git("app", &["hash-object", "-t", "tree", "-w", "--literally", &file])
}
