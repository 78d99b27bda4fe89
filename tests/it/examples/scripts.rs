//! Shell scripts, run with programs that write down what they were called with.

#![expect(clippy::disallowed_methods, reason = "tests find their tools by the environment")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use zuwai::build::BuildOptions;
use zuwai::context::ContextSource;

use super::containers::executor;
use super::{document, kubernetes, path};

pub const FILES: &[&str] = &["docker/run.sh", "docker/stdin.sh", "kubernetes/kubectl-run.sh"];

/// A directory with a `docker`, a `kubectl`, an executor and a git repository's archive in it.
pub struct Stage {
    folder: tempfile::TempDir,
}

const STUB: &str = "#!/bin/sh\n\
    case $0 in *git) printf archive; exit ;; esac\n\
    printf '%s\\n' \"$(basename \"$0\")\" > \"$CALLS\"\n\
    for word; do printf '%s\\0' \"$word\"; done > \"$WORDS\"\n\
    [ -t 0 ] || cat > \"$STDIN\"\n";

impl Stage {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["docker", "kubectl", "git", "executor"] {
            let program = folder.path().join(name);
            fs::write(&program, STUB).unwrap();
            fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir(folder.path().join("sources")).unwrap();
        fs::write(folder.path().join("sources/Dockerfile"), "FROM scratch\n").unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a script in the folder of the sources, and returns the program that it called, with
    /// what words, and what it gave to it.
    pub fn run(
        &self,
        script: &[&str],
        variables: &[(&str, &str)],
    ) -> (String, Vec<String>, Vec<u8>) {
        let system = std::env::var("PATH").unwrap();
        let status = Command::new("sh")
            .args(script)
            .env_clear()
            .env("PATH", format!("{}:{system}", self.folder.path().display()))
            .env("HOME", "/home/user")
            .env("CALLS", self.path("calls"))
            .env("WORDS", self.path("words"))
            .env("STDIN", self.path("stdin"))
            .envs(variables.iter().copied())
            .current_dir(self.path("sources"))
            .stdin(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{script:?}");
        let words = fs::read_to_string(self.path("words")).unwrap();
        let words = words.split_terminator('\0').map(str::to_owned).collect();
        let called = fs::read_to_string(self.path("calls")).unwrap().trim().to_owned();
        (called, words, fs::read(self.path("stdin")).unwrap())
    }
}

/// Returns what stands behind zuwai's image in `docker run`.
fn in_container(words: &[String]) -> BuildOptions {
    let image = words.iter().position(|word| word.contains("/zuwai:")).expect("the image");
    executor(&words[image + 1..], &[])
}

/// Understands `kubectl run` with a Pod as its overrides.
pub fn in_pod(words: &[String]) -> BuildOptions {
    let flag = "--overrides=";
    let text = words.iter().find_map(|word| word.strip_prefix(flag)).expect("overrides");
    let mut pod: Value =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    // What kubectl adds.
    pod["kind"] = json!("Pod");
    pod["metadata"] = json!({"name": words[1]});
    assert_eq!(pod["spec"]["containers"][0]["stdin"], true);
    assert!(words.contains(&"--stdin".to_owned()), "{words:?}");
    kubernetes::object(&pod).expect("a Pod")
}

fn destination(options: &BuildOptions) -> String {
    let destinations: Vec<&str> =
        options.output.destinations.iter().map(|destination| destination.typed.as_str()).collect();
    destinations.join(" ")
}

#[test]
fn scripts_of_docker_mount_the_context_and_name_it() {
    let stage = Stage::new();
    let script = path("docker/run.sh").display().to_string();
    let reference = "registry.example.com/team/app:v1";
    let arguments = [script.as_str(), ".", reference, "--no-push", "--tracker=walk"];
    let (called, words, _) = stage.run(&arguments, &[]);
    assert_eq!(called, "docker");
    let sources = fs::canonicalize(stage.path("sources")).unwrap();
    assert!(words.contains(&format!("{}:/workspace:ro", sources.display())), "{words:?}");
    let credentials = "/home/user/.docker/config.json:/kaniko/.docker/config.json:ro";
    assert!(words.contains(&credentials.to_owned()), "{words:?}");
    let options = in_container(&words);
    assert_eq!(options.context.source, ContextSource::Directory(Path::new("/workspace").into()));
    assert_eq!(destination(&options), reference);
}

#[test]
fn scripts_hand_the_files_over_on_standard_input() {
    let reference = "registry.example.com/team/app:v1";
    let stage = Stage::new();
    let script = path("docker/stdin.sh").display().to_string();
    let (called, words, sent) = stage.run(&[&script, reference], &[]);
    assert_eq!(called, "docker");
    assert!(words.contains(&"--interactive".to_owned()));
    let options = in_container(&words);
    assert_eq!(options.context.source, ContextSource::TarStdin);
    assert_eq!(destination(&options), reference);
    assert!(sent.starts_with(b"\x1f\x8b"), "not gzip");

    let script = path("kubernetes/kubectl-run.sh").display().to_string();
    let (called, words, sent) = stage.run(&[&script, ".", reference], &[]);
    assert_eq!(called, "kubectl");
    let options = in_pod(&words);
    assert_eq!(options.context.source, ContextSource::TarStdin);
    assert_eq!(destination(&options), reference);
    assert!(sent.starts_with(b"\x1f\x8b"), "not gzip");
}

#[test]
fn the_workflow_of_github_hands_the_commit_over() {
    let workflow = document("github-actions/build.yml");
    let step = &workflow["jobs"]["image"]["steps"][1];
    let stage = Stage::new();
    // What GitHub puts into the expressions.
    let value = |name: &str| {
        step["env"][name]
            .as_str()
            .unwrap()
            .replace("${{ github.repository }}", "team/app")
            .replace("${{ github.sha }}", "0123abc")
            .replace("${{ github.run_id }}", "77")
            .replace("${{ github.run_attempt }}", "1")
    };
    let (reference, pod) = (value("DESTINATION"), value("POD"));
    let variables = [("DESTINATION", reference.as_str()), ("POD", pod.as_str())];
    let script = step["run"].as_str().unwrap();
    let (called, words, sent) = stage.run(&["-ec", script], &variables);
    assert_eq!(called, "kubectl");
    assert_eq!(words[..2], ["run", "zuwai-77-1"]);
    assert_eq!(destination(&in_pod(&words)), "registry.example.com/team/app:0123abc");
    assert_eq!(sent, b"archive");
}

#[test]
fn the_job_of_gitlab_writes_credentials_and_builds_its_checkout() {
    let job = document("gitlab/gitlab-ci.yml");
    let stage = Stage::new();
    let folder = stage.path("kaniko").display().to_string();
    let lines: Vec<String> = job["build-image"]["script"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap().replace("/kaniko/executor", "executor"))
        .map(|line| line.replace("/kaniko", &folder))
        .collect();
    let variables = [
        ("CI_PROJECT_DIR", "/builds/team/app"),
        ("CI_REGISTRY", "registry.example.com"),
        ("CI_REGISTRY_IMAGE", "registry.example.com/team/app"),
        ("CI_REGISTRY_USER", "robot"),
        ("CI_REGISTRY_PASSWORD", "hunter2"),
        ("CI_COMMIT_SHA", "0123abcdef"),
        ("CI_COMMIT_SHORT_SHA", "0123abc"),
    ];
    let (called, words, _) = stage.run(&["-ec", &lines.join("\n")], &variables);
    assert_eq!(called, "executor");
    let options = executor(&words, &[]);
    let place = ContextSource::Directory(Path::new("/builds/team/app").into());
    assert_eq!(options.context.source, place);
    let both = "registry.example.com/team/app:0123abc registry.example.com/team/app:latest";
    assert_eq!(destination(&options), both);
    let config = fs::read(stage.path("kaniko/.docker/config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let entry = json!({"username": "robot", "password": "hunter2"});
    assert_eq!(config, json!({"auths": {"registry.example.com": entry}}));
}
