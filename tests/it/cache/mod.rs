//! Layers of earlier builds: the image is the one that a build without them gives, whatever the
//! cache has, lacks or does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use crate::witness::harness::{Build, Built};

mod changing;
mod damage;
mod deltas;
mod images;
mod reasons;
mod registries;
mod signals;
mod single;
mod trees;
mod trust;

/// A context with some of everything, and a Dockerfile that says `FROM base`.
fn context(dockerfile: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (name, content, mode) in [
        ("one", "1", 0o644),
        ("two", "2", 0o600),
        ("run.sh", "#!/bin/sh\necho ran > /ran\n", 0o755),
        ("tree/a", "a", 0o644),
        ("tree/deep/er/b", "b", 0o640),
        ("tree/etc/app.conf", "conf", 0o644),
        ("users/passwd", "root:x:0:0::/:\napp:x:1234:1235::/app:\n", 0o644),
    ] {
        let file = path.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(path.join("tree/hollow")).unwrap();
    symlink("a", path.join("tree/link")).unwrap();
    fs::write(path.join("Dockerfile"), dockerfile).unwrap();
    folder
}

/// A build whose image does not depend on the clock, and is not pushed.
fn build(context: &Path) -> Build {
    forgetful(context).arg(shared(context))
}

/// The same without a shared directory, which finds out late what it would not remember.
fn forgetful(context: &Path) -> Build {
    let digest = format!("--digest-file={}", digest_file(context).display());
    Build::of(context).base("base", "busybox").args(["--reproducible", "--no-push", &digest])
}

/// What builds of other contexts on this machine have kept is not to count.
fn shared(context: &Path) -> String {
    format!("--cache-dir={}", context.with_extension("shared").display())
}

fn digest_file(context: &Path) -> PathBuf {
    context.with_extension("digest")
}

/// Runs a build and returns what it said and the image's digest.
fn built(context: &Path, arguments: &[&str]) -> (String, String) {
    ran(build(context), context, arguments)
}

fn ran(build: Build, context: &Path, arguments: &[&str]) -> (String, String) {
    let built = build.args(arguments.iter().copied()).succeed();
    (built.text(), fs::read_to_string(digest_file(context)).unwrap())
}

/// A cache in a directory.
struct Cache {
    folder: TempDir,
}

impl Cache {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("layers")
    }

    fn flag(&self) -> String {
        format!("--cache-repo=oci:{}", self.path().display())
    }

    /// Builds with it, COPY included.
    fn build(&self, context: &Path) -> (String, String) {
        self.run(build(context), context)
    }

    fn run(&self, build: Build, context: &Path) -> (String, String) {
        ran(build, context, &["--cache", "--cache-copy-layers", &self.flag()])
    }

    /// Returns the files of steps' entries, oldest first.
    fn entries(&self) -> Vec<PathBuf> {
        let mut entries = BTreeMap::new();
        for (path, manifest) in self.documents() {
            if is_list(&manifest) {
                continue;
            }
            let created = &manifest["annotations"]["org.opencontainers.image.created"];
            entries.insert(created.as_str().unwrap().to_owned(), path);
        }
        entries.into_values().collect()
    }

    /// Removes the lists of what whole builds have, so that steps are looked up.
    fn forget_builds(&self) {
        for (path, _) in self.documents().iter().filter(|(_, manifest)| is_list(manifest)) {
            fs::remove_file(path).unwrap();
        }
    }

    fn documents(&self) -> Vec<(PathBuf, Value)> {
        let entries = fs::read_dir(self.path().join("entries")).unwrap();
        let read = |path: PathBuf| {
            let manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            (path, manifest)
        };
        entries.map(|entry| read(entry.unwrap().path())).collect()
    }
}

/// Tells whether a document lists what a whole build has.
fn is_list(manifest: &Value) -> bool {
    manifest["config"]["mediaType"].as_str().unwrap().contains("parts")
}

/// Counts the lines of a log that say something.
fn count(text: &str, what: &str) -> usize {
    text.lines().filter(|line| line.contains(what)).count()
}

fn hits(text: &str) -> usize {
    count(text, "Using caching version of cmd: ")
}

fn misses(text: &str) -> usize {
    count(text, "No cached layer found for cmd ")
}

fn warnings(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains("level=warn")).collect()
}

/// Makes a tree look as it does in another checkout: other owners, other times.
fn check_out_again(path: &Path) {
    let metadata = fs::symlink_metadata(path).unwrap();
    if metadata.is_symlink() {
        return;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            check_out_again(&entry.unwrap().path());
        }
    }
    chown(path, Some(4321), Some(4322)).unwrap();
    let file = fs::File::open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    fs::set_permissions(path, metadata.permissions()).unwrap();
}

fn assert_succeeded(built: &Built) {
    assert!(built.output.status.success(), "{}", built.text());
}
