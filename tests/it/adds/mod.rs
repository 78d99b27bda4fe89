//! ADD of what is elsewhere: whole builds against servers in this process.

#![expect(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

mod files;
mod repositories;

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::contexts::{Build, Ended};

/// A context with a Dockerfile and the file `local`.
pub struct Project {
    pub folder: TempDir,
}

impl Project {
    pub fn new(dockerfile: &str) -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap() };
        project.dockerfile(dockerfile);
        fs::write(project.path().join("local"), "local\n").unwrap();
        project
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn dockerfile(&self, text: &str) {
        fs::write(self.path().join("Dockerfile"), text).unwrap();
    }

    pub fn build(&self) -> Build {
        Build::of(&format!("dir://{}", self.path().display()))
    }

    /// Builds with a cache in a directory, copies included.
    pub fn cached(&self, cache: &Path) -> Build {
        self.build()
            .arg("--cache")
            .arg("--cache-copy-layers")
            .arg(format!("--cache-repo=oci:{}", cache.display()))
    }

    /// Returns the plan, with what the cache has.
    pub async fn plan(&self, cache: &Path) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zuwai"));
        command
            .current_dir(self.path())
            .args(["plan", "--no-push", "--destination=registry.example/app:v1", "--cache"])
            .arg("--cache-copy-layers")
            .arg(format!("--cache-repo=oci:{}", cache.display()))
            .arg(format!("--context={}", self.path().display()))
            .arg(format!("--kaniko-dir={}", cache.with_extension("work").display()));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{text}");
        text
    }
}

/// Counts the lines of a build's log that say something.
pub fn count(ended: &Ended, what: &str) -> usize {
    assert!(ended.success, "{}", ended.text);
    ended.text.lines().filter(|line| line.contains(what)).count()
}

pub fn hits(ended: &Ended) -> usize {
    count(ended, "Using caching version of cmd: ")
}
