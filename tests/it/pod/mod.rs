//! Whole builds in `/` of a container as an ordinary Pod has it: `hack/pod.sh` makes one with runc.
//!
//! What is compared is the digest of the image that the same build gives in namespaces, with
//! `--reproducible`: equal digests are equal trees, path by path, in equal layers.

#![expect(clippy::disallowed_methods, reason = "tests find their tools by the environment")]

mod cached;
mod contexts;
mod covers;
mod doctor;
mod equivalence;
mod full;
mod image;
mod locks;
mod machine;
mod memory;
mod mounts;
mod redteam;
mod restricted;
mod run_mounts;
mod shared;
mod signals;
mod stays;
mod tracked;
mod witnesses;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::skip::{Reason, skip};
use crate::witness::harness::{Build, bases};

/// Returns a static zuwai, which is all that a container's image may hold.
fn program() -> Option<PathBuf> {
    std::env::var_os("ZUWAI_STATIC").map(PathBuf::from).filter(|path| path.exists())
}

/// A container that runs one script, and the directory that it shares with the test as `/shared`.
struct Pod {
    command: Command,
    shared: TempDir,
}

impl Pod {
    /// Prepares one; `None`, with a printed reason, where none can be made.
    fn new(test: &str) -> Option<Self> {
        let reason = match (crate::witness::harness_unavailable(), program()) {
            (Some(reason), _) => reason,
            (None, None) => "needs a static zuwai: run hack/test.sh".to_owned(),
            (None, Some(program)) => return Some(Self::with(&program)),
        };
        skip(test, Reason::Lacking(&reason));
        None
    }

    fn with(program: &Path) -> Self {
        let shared = tempfile::tempdir().unwrap();
        fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(shared.path().join("out")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/pod.sh");
        let mut command = Command::new(script);
        command.arg("--binary").arg(program);
        command.arg("--directory").arg(shared.path().join("pod"));
        Self { command, shared }
            .volume(&bases(), "/bases")
            .file(Path::new("/bin/busybox"), "/kaniko/busybox")
    }

    fn option(mut self, option: &str, value: &str) -> Self {
        self.command.arg(option);
        if !value.is_empty() {
            self.command.arg(value);
        }
        self
    }

    fn volume(self, directory: &Path, place: &str) -> Self {
        self.option("--volume", &format!("{}:{place}", directory.display()))
    }

    /// Puts a file into the container's image.
    fn file(self, file: &Path, place: &str) -> Self {
        self.option("--file", &format!("{}:{place}", file.display()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.shared.path().join(name)
    }

    /// Writes a file that the container has below `/shared`.
    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Runs a program in the container.
    fn run(&mut self, words: &[&str]) -> Output {
        self.run_with(words, b"")
    }

    /// Runs a program in the container with this on its standard input.
    fn run_with(&mut self, words: &[&str], input: &[u8]) -> Output {
        let shared = self.shared.path().display().to_string();
        let mut command = std::mem::replace(&mut self.command, Command::new("false"));
        command.arg("--volume").arg(format!("{shared}:/shared")).arg("--").args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Few bytes: they fit into the pipe. Who reads none of them closes it.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// Runs a script in the container and returns its standard output. In it `build NAME ARGUMENT…`
    /// builds the context `/shared/NAME` into the layout `/shared/out/NAME`, as a process of its
    /// own, and `$b` has the usual commands.
    fn script(&mut self, script: &str) -> String {
        let text = format!("{PREAMBLE}{script}");
        self.write("script", &text);
        let output = self.run(&["/kaniko/busybox", "sh", "/shared/script"]);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{out}{errors}");
        out
    }

    /// Returns the digest of the image that the container built of the context `name`.
    fn digest(&self, name: &str) -> String {
        digest(&self.path("out").join(name))
    }

    /// Returns the digest of the image that the same build gives in namespaces.
    fn digest_in_namespaces(&self, build: Build, bases: &[(&str, &Path)]) -> String {
        let out = tempfile::tempdir().unwrap();
        self.build_in_namespaces(build, bases, &out.path().join("layout"))
    }

    /// Does the same build in namespaces, keeps the image in `layout`, and returns its digest.
    fn build_in_namespaces(
        &self,
        mut build: Build,
        bases: &[(&str, &Path)],
        layout: &Path,
    ) -> String {
        for (name, base) in bases {
            build = build.arg(format!("--build-context={name}=oci-layout://{}", base.display()));
        }
        build
            .arg("--isolation=namespaces")
            .arg("--reproducible")
            .arg("--no-push")
            .arg("--destination=image:latest")
            .arg(format!("--oci-layout-path={}", layout.display()))
            .succeed();
        digest(layout)
    }

    /// Prepares a build of a context on this side.
    fn build(&self, name: &str) -> Build {
        Build::of(&self.path(name))
    }
}

const PREAMBLE: &str = r#"
set -eu
b=/kaniko/busybox
build() {
  name=$1
  shift
  exec /kaniko/executor --log-format=text --reproducible --no-push --destination=image:latest \
    --context="/shared/$name" \
    --oci-layout-path="/shared/out/$name" "$@"
}
# Everything in `/` that is nobody's mount and not the executor's, and what it is.
list() {
  # A base's own `/var/run` takes the place of the container's, for good.
  $b find / -xdev ! -path /var/run ! -path '/kaniko*' ! -path '/shared*' ! -path /work ! -path /data ! -path /proc \
    ! -path /dev ! -path /sys -exec $b stat -c '%n %F %a %u:%g %Y' {} + | $b sort
  $b find /dev ! -path '/dev/pts/*' | $b sort
}
"#;

/// Returns the digest of a layout's only image.
fn digest(layout: &Path) -> String {
    let index = fs::read(layout.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}
