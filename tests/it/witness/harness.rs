//! Starts the registry, runs builds, reads images back.

#![expect(clippy::disallowed_methods, reason = "tests find their tools by the environment")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Returns why whole builds cannot run here, or `None`.
pub fn unavailable() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("building in namespaces needs root".to_owned());
    }
    if !bases().join("build/index.json").exists() {
        return Some(format!("no base images in {}: run hack/bases.sh", bases().display()));
    }
    let tools = ["docker-registry", "skopeo", "umoci", "python3", "runc", "buildah"];
    let missing = |tool: &&&str| !has_program(tool);
    tools.iter().find(missing).map(|tool| format!("{tool} is not installed: run hack/test.sh"))
}

/// Says that a test is skipped, and why; `hack/test.sh` makes everything available.
#[macro_export]
macro_rules! skip_unless_available {
    () => {
        if let Some(reason) = $crate::witness::harness_unavailable() {
            $crate::skip::skip(module_path!(), $crate::skip::Reason::Lacking(&reason));
            return;
        }
    };
}

fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).exists())
}

/// Returns the folder of base images that `hack/bases.sh` fills.
pub fn bases() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let cache = || match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => home().join(".cache"),
    };
    match std::env::var_os("ZUWAI_BASES") {
        Some(bases) => PathBuf::from(bases),
        None => cache().join("zuwai/bases"),
    }
}

/// Says whether packages can be installed: whether apt reaches the mirror that the bases name. It
/// reads one short list, into a folder of its own.
pub fn has_package_mirror() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let sources = folder.path().join("sources.list");
    fs::write(&sources, "deb http://deb.debian.org/debian bookworm-updates main\n").unwrap();
    let lists = format!("Dir::State::lists={}", folder.path().display());
    let sources = format!("Dir::Etc::sourcelist={}", sources.display());
    let update = Command::new("apt-get")
        .args(["-o", &lists, "-o", "Acquire::Retries=0", "-o", "APT::Update::Error-Mode=any"])
        .args(["-o", &sources, "-o", "Dir::Etc::sourceparts=/dev/null"])
        .args(["-o", "Acquire::Languages=none", "update"])
        .output();
    update.is_ok_and(|output| output.status.success())
}

/// Writes 20,000 files below `files` in a folder, for `packages/Dockerfile.copy`.
pub fn write_many_files(folder: &Path) {
    for directory in 0..200 {
        let path = folder.join(format!("files/{}/{directory}", directory % 7));
        fs::create_dir_all(&path).unwrap();
        for file in 0..100 {
            fs::write(path.join(format!("{file}.txt")), format!("{directory}/{file}")).unwrap();
        }
    }
}

/// A real registry on loopback, shared by the tests of this binary.
pub struct Registry {
    /// `host:port`.
    pub host: String,
    _folder: tempfile::TempDir,
}

/// Returns the registry, started at first use; it dies with this process.
pub fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    \
             enabled: true\nhttp:\n  addr: {host}\n",
            folder.path().join("data").display()
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        // setpriv's parent-death signal: a test binary has no place to stop its servers. The parent
        // that counts is a thread, so it is one that lives as long as the process.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "docker-registry", "serve"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        std::thread::spawn(move || {
            let mut process = command.spawn().unwrap();
            process.wait().unwrap();
        });
        while TcpStream::connect(&host).is_err() {
            std::thread::yield_now();
        }
        Registry { host, _folder: folder }
    })
}

/// One build, made argument by argument.
pub struct Build {
    command: Command,
    work: TempDir,
}

/// What a build printed and how it ended.
pub struct Built {
    /// Everything on standard output and standard error.
    pub output: Output,
}

impl Build {
    /// Prepares `zuwai build` of a context directory.
    pub fn of(context: &Path) -> Self {
        Self::doing("build", context)
    }

    /// Prepares `zuwai plan` of a context directory.
    pub fn plan(context: &Path) -> Self {
        Self::doing("plan", context)
    }

    fn doing(what: &str, context: &Path) -> Self {
        let work = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_zuwai"));
        command.args([what, "--log-format=text"]).arg("--context").arg(context);
        command.arg("--kaniko-dir").arg(work.path());
        // A Dockerfile in the current directory wins over the context's, and the checkout has one.
        command.current_dir(work.path());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        Self { command, work }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<'a>(self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        arguments.into_iter().fold(self, |build, argument| build.arg(argument))
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Names one of the bases of `hack/bases.sh`.
    pub fn base(self, name: &str, base: &str) -> Self {
        let layout = bases().join(base);
        self.arg(format!("--build-context={name}=oci-layout://{}", layout.display()))
    }

    /// Runs it, whatever the outcome.
    pub fn run(self) -> Built {
        self.start().end()
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        let command = self.command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        Running { child, work: self.work }
    }

    /// Runs it and expects success.
    pub fn succeed(self) -> Built {
        let built = self.run();
        assert!(built.output.status.success(), "the build failed:\n{}", built.text());
        built
    }
}

/// A build that was started.
pub struct Running {
    child: Child,
    work: TempDir,
}

impl Running {
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for its end, whatever the outcome.
    pub fn end(self) -> Built {
        let (built, left, _work) = self.end_anyhow();
        assert_eq!(left, Vec::<PathBuf>::new(), "a build leaves nothing in its work directory");
        built
    }

    /// Waits for its end, and returns what it has left in its work directory too.
    pub fn end_anyhow(self) -> (Built, Vec<PathBuf>, TempDir) {
        let output = self.child.wait_with_output().unwrap();
        let left = fs::read_dir(self.work.path().join("builds"))
            .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default();
        (Built { output }, left, self.work)
    }
}

impl Built {
    /// Returns both streams as text, for messages.
    pub fn text(&self) -> String {
        let out = String::from_utf8_lossy(&self.output.stdout);
        let error = String::from_utf8_lossy(&self.output.stderr);
        format!("{out}{error}")
    }

    /// Returns what the log of format `json` says of the snapshots after commands, in order.
    pub fn snapshots_of_commands(&self) -> Vec<Value> {
        let log = String::from_utf8_lossy(&self.output.stderr);
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_taken = |line: &Value| {
            line["msg"].as_str().is_some_and(|text| text.starts_with("Snapshot taken"))
                // What copies says itself where it wrote.
                && !line["tracker"].is_null()
        };
        lines.filter(is_taken).collect()
    }

    /// Returns the tree that the last RUN of the Dockerfile printed with `tree.py`.
    pub fn printed_tree(&self) -> Tree {
        Tree::parse(&self.text())
    }
}

/// A tree as `tree.py` describes it, by path.
#[derive(Debug, PartialEq)]
pub struct Tree(pub BTreeMap<String, Value>);

impl Tree {
    /// Reads what `tree.py` printed, whatever stands before it on a line.
    pub fn parse(text: &str) -> Self {
        let rows = text.lines().filter_map(|line| line.split_once("TREE ").map(|(_, row)| row));
        let rows = rows.map(|row| serde_json::from_str::<Value>(row).unwrap());
        Self(rows.map(|row| (row["path"].as_str().unwrap().to_owned(), row)).collect())
    }

    /// Describes a directory on this machine.
    pub fn of(root: &Path, excluded: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/witness/tree.py");
        let output = Command::new("python3").arg(script).arg(root).args(excluded).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::parse(&String::from_utf8(output.stdout).unwrap())
    }

    /// Drops paths that have no place in an image, such as sockets.
    pub fn without(mut self, unwanted: impl Fn(&str, &Value) -> bool) -> Self {
        self.0.retain(|path, row| !unwanted(path, row));
        self
    }

    /// Fails with the differences, path by path, if there are any.
    pub fn assert_equals(&self, other: &Tree, what: &str) {
        let mut differences = Vec::new();
        for (path, row) in &self.0 {
            match other.0.get(path) {
                Some(there) if there == row => {}
                Some(there) => {
                    differences.push(format!("{path:?}\n  left:  {row}\n  image: {there}"))
                }
                None => differences.push(format!("{path:?} is missing in the image: {row}")),
            }
        }
        let extra = other.0.keys().filter(|path| !self.0.contains_key(*path));
        differences.extend(extra.map(|path| format!("{path:?} should not be in the image")));
        assert!(
            differences.is_empty(),
            "{what}: {} differences\n{}",
            differences.len(),
            differences.iter().take(40).cloned().collect::<Vec<_>>().join("\n")
        );
        assert!(self.0.len() > 1, "{what}: the commands' tree was not printed");
    }
}

/// An image read back from the registry by `skopeo` and unpacked by `umoci`.
pub struct ReadBack {
    folder: tempfile::TempDir,
}

impl ReadBack {
    /// Copies `repository:tag` out of the registry.
    pub fn pull(repository_and_tag: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = format!("docker://{}/{repository_and_tag}", registry().host);
        run(Command::new("skopeo")
            .args(["copy", "--src-tls-verify=false", &source])
            .arg(format!("oci:{}:image", folder.path().join("layout").display())));
        Self { folder }
    }

    /// Returns the OCI layout that skopeo wrote.
    pub fn layout(&self) -> PathBuf {
        self.folder.path().join("layout")
    }

    /// Unpacks the image and returns its root file system.
    pub fn unpack(&self) -> PathBuf {
        let rootfs = self.folder.path().join("bundle/rootfs");
        unpack_layout(&format!("{}:image", self.layout().display()), &rootfs);
        rootfs
    }

    /// Runs a command in a container of the image, unpacked before, with `runc`.
    pub fn run_in_container(&self, arguments: &[&str]) -> Output {
        let bundle = self.folder.path().join("bundle");
        let path = bundle.join("config.json");
        run(Command::new("umoci")
            .args(["raw", "runtime-config", "--image"])
            .arg(format!("{}:image", self.layout().display()))
            .arg("--rootfs")
            .arg(bundle.join("rootfs"))
            .arg(&path));
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["process"]["terminal"] = false.into();
        if !arguments.is_empty() {
            config["process"]["args"] = arguments.into();
        }
        fs::write(&path, config.to_string()).unwrap();
        let name = format!("zuwai-test-{}", std::process::id());
        run(Command::new("runc").args(["run", "--bundle"]).arg(&bundle).arg(name))
    }

    /// Returns the image's config as skopeo reports it from the registry.
    pub fn config(repository_and_tag: &str) -> Value {
        let source = format!("docker://{}/{repository_and_tag}", registry().host);
        let output = run(Command::new("skopeo").args([
            "inspect",
            "--config",
            "--tls-verify=false",
            &source,
        ]));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Runs a program and expects success.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    if !output.status.success() {
        let mut stderr = std::io::stderr();
        stderr.write_all(&output.stdout).unwrap();
        stderr.write_all(&output.stderr).unwrap();
        panic!("{command:?} failed");
    }
    output
}

/// Unpacks an image of a layout, named as umoci does, with umoci. Not as a bundle: for that it digests each
/// name of a file, and busybox has 300.
pub fn unpack_layout(image: &str, rootfs: &Path) {
    fs::create_dir_all(rootfs.parent().unwrap()).unwrap();
    run(Command::new("umoci").args(["raw", "unpack", "--image", image]).arg(rootfs));
}

/// Returns the blobs of an OCI layout for `zuwai::image::validate`.
pub struct LayoutBlobs(pub PathBuf);

impl zuwai::image::BlobView for LayoutBlobs {
    fn open(&self, digest: &snapshot::Digest) -> std::io::Result<Box<dyn std::io::Read>> {
        Ok(Box::new(fs::File::open(self.0.join("blobs/sha256").join(digest.hex()))?))
    }
}

/// Checks the only image of a layout with the product's own `validate`.
pub fn validate_layout(layout: &Path) {
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest: snapshot::Digest =
        index["manifests"][0]["digest"].as_str().unwrap().parse().unwrap();
    let manifest = fs::read(layout.join("blobs/sha256").join(digest.hex())).unwrap();
    assert_eq!(snapshot::Digest::of(&manifest), digest);
    zuwai::image::validate(&manifest, &LayoutBlobs(layout.to_path_buf())).unwrap();
}
