//! Git repositories, from git's own server.

use super::*;
use crate::contexts::HELLO;
use crate::contexts::git::{Repositories, wants};
use crate::contexts::server::{Asked, Web};

fn anyone(asked: &Asked) -> bool {
    asked.header("authorization").is_empty()
}

/// A repository with two commits, of which the first is tagged, and the ids of these and of the tag.
struct Repository {
    repositories: Repositories,
    first: String,
    second: String,
    tag: String,
}

impl Repository {
    fn new() -> Self {
        let repositories = Repositories::new();
        let first = repositories.create("app.git");
        repositories.git("app.git", &["tag", "--annotate", "--message=m", "v1"]);
        let tag = repositories.git("app.git", &["rev-parse", "v1"]);
        repositories.write("app.git", "dir/sub/text", "second\n");
        let second = repositories.commit("app.git");
        Self { repositories, first, second, tag }
    }

    fn time_of(&self, commit: &str) -> String {
        self.repositories.git("app.git", &["show", "--no-patch", "--format=%ct", commit])
    }

    async fn start(&self) -> (Web, String) {
        let server = self.repositories.start(anyone).await;
        let url = format!("{}/app.git", server.url());
        (server, url)
    }
}

#[tokio::test]
async fn files_of_a_commit_are_added_with_its_time() {
    let repository = Repository::new();
    let (server, url) = repository.start().await;
    let project = Project::new(&format!(
        "FROM scratch\nADD --chown=7:8 --exclude=Dockerfile {url}#v1 /v1\n\
         ADD {url}#main:dir /dir/\nADD {url}?subdir=dir/sub&branch=main /sub\n"
    ));
    let ended = project.build().run().await;
    ended.works();
    let (first, second) =
        (repository.time_of(&repository.first), repository.time_of(&repository.second));
    let entries: Vec<String> =
        ended.entries().into_iter().filter(|entry| !entry.starts_with("./ ")).collect();
    assert_eq!(
        entries,
        [
            format!("dir/ 755 0:0 {second} "),
            format!("dir/sub/ 755 0:0 {second} "),
            format!("dir/sub/text 644 0:0 {second} second"),
            format!("sub/ 755 0:0 {second} "),
            format!("sub/text 644 0:0 {second} second"),
            format!("v1/ 755 7:8 {first} "),
            format!("v1/hello 644 7:8 {first} {}", HELLO.trim()),
        ]
    );
    let wants = wants(&server);
    assert!(wants.len() == 3 && wants.iter().all(|want| want.contains("deepen 1")), "{wants:?}");
}

#[tokio::test]
async fn the_git_directory_is_there_if_asked_for() {
    let repository = Repository::new();
    let (_server, url) = repository.start().await;
    let project = Project::new(&format!("FROM scratch\nADD --keep-git-dir=true {url} /src/\n"));
    let ended = project.build().run().await;
    ended.has("ref: refs/heads/main\n");
    assert!(ended.names().contains(&"src/.git/HEAD".to_owned()), "{:?}", ended.names());
    project.dockerfile(&format!("FROM scratch\nADD {url} /src/\n"));
    assert!(!project.build().run().await.has_text(".git/"));
}

#[tokio::test]
async fn a_checksum_is_a_commits_or_a_tags() {
    let repository = Repository::new();
    let Repository { first, second, tag, .. } = &repository;
    let (_server, url) = repository.start().await;
    for (checksum, rest) in [
        (first.as_str(), "#v1"),
        (&tag[..12], "#v1"),
        (&second[..7], ""),
        (second, "?fetch-by-commit=1#gone"),
    ] {
        let text = format!("FROM scratch\nADD --checksum={checksum} {url}{rest} /\n");
        Project::new(&text).build().run().await.works();
    }
    let text = format!("FROM scratch\nADD --checksum={second} {url}#v1 /\n");
    let project = Project::new(&text);
    project.build().run().await.fails(&format!(
        "`{url}` is not what `--checksum` says: expected `{second}`, got `{first}`"
    ));
    project.dockerfile(&format!("FROM scratch\nADD {url}#main:none /\n"));
    project.build().run().await.fails(&format!("`{url}` has no directory `/none`"));
    project.dockerfile(&format!("FROM scratch\nADD {url}#none /\n"));
    project.build().run().await.fails("it has no branch, tag or reference `none`");
}

#[tokio::test]
async fn a_cached_layer_is_of_a_commit() {
    let repository = Repository::new();
    let (server, url) = repository.start().await;
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let project = Project::new(&format!("FROM scratch\nADD {url}#main:dir /x/\nCOPY local /\n"));
    let ended = project.cached(&cache).run().await;
    ended.has("second\n");
    assert_eq!((hits(&ended), wants(&server).len()), (0, 1));
    // What the branch names is asked for, and nothing fetched.
    let ended = project.cached(&cache).run().await;
    assert_eq!((hits(&ended), wants(&server).len()), (2, 1), "{}", ended.text);
    // With the commit itself nobody is asked.
    let before = server.asked().len();
    let text = format!("FROM scratch\nADD {url}#{}:dir /x/\nCOPY local /\n", repository.second);
    project.dockerfile(&text);
    let ended = project.cached(&cache).run().await;
    assert_eq!((hits(&ended), server.asked().len()), (2, before), "{}", ended.text);
    let plan = project.plan(&cache).await;
    assert_eq!((plan.matches("-> cached\n").count(), server.asked().len()), (2, before), "{plan}");
    project.dockerfile(&text.replace(":dir", ""));
    assert_eq!(hits(&project.cached(&cache).run().await), 0);
    // The branch goes on.
    project.dockerfile(&format!("FROM scratch\nADD {url}#main:dir /x/\nCOPY local /\n"));
    repository.repositories.write("app.git", "dir/sub/text", "third\n");
    repository.repositories.commit("app.git");
    let plan = project.plan(&cache).await;
    assert!(plan.contains("-> not known before what it adds is fetched\n"), "{plan}");
    let ended = project.cached(&cache).run().await;
    ended.has("third\n");
    assert_eq!(hits(&ended), 0);
    assert!(ended.text.contains(&format!("`{url}` changed")), "{}", ended.text);
}

#[tokio::test]
async fn a_private_repository_takes_a_secret_that_nothing_shows() {
    let repository = Repository::new();
    // x-access-token:hunter2, and robot:hunter2.
    let server = repository
        .repositories
        .start(|asked| {
            ["Basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMg==", "Basic cm9ib3Q6aHVudGVyMg=="]
                .contains(&asked.header("authorization"))
        })
        .await;
    let (url, host) = (format!("{}/app.git", server.url()), server.address);
    let project = Project::new(&format!("FROM scratch\nADD {url} /\n"));
    let refused = format!(
        "cause: `{host}` answered 401 Unauthorized: who are you?\nhint: a private repository needs a token: `--secret id=GIT_AUTH_TOKEN.HOST,…`"
    );
    project.build().run().await.fails(&refused);
    for id in [format!("GIT_AUTH_TOKEN.{host}"), "GIT_AUTH_TOKEN".to_owned()] {
        let build = project.build().env("TOKEN", "hunter2\n");
        let ended = build.arg(format!("--secret=id={id},env=TOKEN")).run().await;
        ended.works();
        assert!(!ended.text.contains("hunter2") && !ended.has_text("hunter2"), "{}", ended.text);
    }
    let other =
        project.build().env("TOKEN", "hunter2").arg("--secret=id=GIT_AUTH_TOKEN.h,env=TOKEN");
    other.run().await.fails("answered 401");
    project.dockerfile(&format!(
        "FROM scratch\nARG PASSWORD\nADD http://robot:$PASSWORD@{host}/app.git /\n"
    ));
    let ended = project.build().arg("--build-arg=PASSWORD=hunter2").run().await;
    ended.works();
    assert!(!ended.text.contains("hunter2"), "{}", ended.text);
}

#[tokio::test]
async fn submodules_are_added_unless_they_are_not_wanted() {
    let repositories = Repositories::new();
    repositories.create("inner.git");
    repositories.create("app.git");
    let server = repositories.start(anyone).await;
    let inner = format!("{}/inner.git", server.url());
    tokio::task::spawn_blocking(move || {
        repositories.git("app.git", &["submodule", "--quiet", "add", &inner, "lib"]);
        repositories.commit("app.git");
    })
    .await
    .unwrap();
    let url = format!("{}/app.git", server.url());
    let project = Project::new(&format!("FROM scratch\nADD {url} /\n"));
    let names = project.build().run().await.names();
    assert!(names.contains(&"lib/hello".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains(".git/")), "{names:?}");
    project.dockerfile(&format!("FROM scratch\nADD {url}?submodules=false /\n"));
    let names = project.build().run().await.names();
    assert!(names.contains(&"lib/".to_owned()) && !names.contains(&"lib/hello".to_owned()));
}
