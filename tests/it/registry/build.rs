//! Whole builds upon bases of scripted registries.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use snapshot::Digest;
use tempfile::TempDir;
use zuwai::image::descriptor;

use super::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, SmallImage};
use crate::regsim::RegSim;

/// The name by which builds know this machine where loopback would have privileges.
pub const NAME: &str = "registry.example";

/// An image with one empty layer, which a build can unpack.
pub fn base() -> SmallImage {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    base_of(|config| config["architecture"] = architecture.into(), |_| ())
}

/// The same with another config and manifest.
pub fn base_of(
    change_config: impl FnOnce(&mut Value),
    change_manifest: impl FnOnce(&mut Value),
) -> SmallImage {
    let tar = vec![0; 1024];
    let mut layer = GzEncoder::new(Vec::new(), Compression::fast());
    layer.write_all(&tar).unwrap();
    let layer = layer.finish().unwrap();
    let mut config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&tar).to_string()]},
        "history": [{"created_by": "base"}],
    });
    change_config(&mut config);
    let config = serde_json::to_vec(&config).unwrap();
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, &Digest::of(&config), config.len() as u64),
        "layers": [descriptor(OCI_LAYER, &Digest::of(&layer), layer.len() as u64)],
    });
    change_manifest(&mut manifest);
    SmallImage { config, layer, manifest: serde_json::to_vec(&manifest).unwrap() }
}

/// A build of one line upon a base.
pub struct Build {
    pub folder: TempDir,
    arguments: Vec<String>,
    variables: BTreeMap<String, String>,
    /// As `ulimit -f` takes it.
    file_limit: String,
}

/// How a build ended.
pub struct Ended {
    pub success: bool,
    pub text: String,
}

/// Returns the port of a scripted registry.
pub fn port(sim: &RegSim) -> String {
    sim.host().rsplit_once(':').unwrap().1.to_owned()
}

impl Build {
    pub fn from(base: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dockerfile = format!("FROM {base}\nLABEL made=here\n");
        std::fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
        std::fs::write(folder.path().join("hosts"), format!("127.0.0.1 localhost {NAME}\n"))
            .unwrap();
        let file_limit = "unlimited".to_owned();
        Self { folder, arguments: Vec::new(), variables: BTreeMap::new(), file_limit }
    }

    /// Replaces the Dockerfile.
    pub fn dockerfile(self, text: &str) -> Self {
        std::fs::write(self.folder.path().join("Dockerfile"), text).unwrap();
        self
    }

    /// Makes a name known to the build.
    pub fn host(self, address: &str, name: &str) -> Self {
        let path = self.folder.path().join("hosts");
        let known = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{known}{address} {name}\n")).unwrap();
        self
    }

    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub fn to(self, destination: impl Into<String>) -> Self {
        let destination: String = destination.into();
        self.arg(format!("--destination={destination}"))
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Lets the build write no file of more than `kib` KiB.
    pub fn no_file_over(mut self, kib: u64) -> Self {
        self.file_limit = (kib * 2).to_string();
        self
    }

    /// Writes a `config.json` and names its folder in `DOCKER_CONFIG`.
    pub fn config(self, config: &serde_json::Value) -> Self {
        let folder = self.folder.path().join("docker");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        self.env("DOCKER_CONFIG", folder.to_str().unwrap())
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs the build with our hosts file, in a mount namespace of its own.
    pub async fn run(self) -> Ended {
        let folder = self.folder;
        let script = "mount --bind \"$0/hosts\" /etc/hosts && ulimit -f \"$1\" && shift && \
                      exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation=private", "sh", "-c", script])
            .arg(folder.path())
            .arg(self.file_limit)
            .arg(env!("CARGO_BIN_EXE_zuwai"))
            .args(["build", "--log-format=text", "--context"])
            .arg(folder.path())
            .arg("--kaniko-dir")
            .arg(folder.path().join("work"))
            .args(self.arguments)
            // A Dockerfile in the current directory would win over the context's.
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(self.variables)
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        drop(folder);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Ended { success: output.status.success(), text }
    }
}

impl Ended {
    #[track_caller]
    pub fn works(&self) {
        assert!(self.success, "{}", self.text);
    }

    #[track_caller]
    pub fn fails(&self, expected: &str) {
        assert!(!self.success && self.text.contains(expected), "{}", self.text);
    }
}
