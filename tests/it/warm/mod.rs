//! The warmer, and the directory that it shares with builds: what is there is used, what is not right
//! is not, and whoever is killed when leaves it whole.

mod builds;
mod images;
mod races;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use snapshot::Digest;
use tempfile::TempDir;
use zuwai::image::descriptor;

use crate::registry::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, noise};
use crate::regsim::RegSim;
use crate::tarball::{Member, archive};

/// An image of some layers, each of one file of noise.
struct Image {
    config: Vec<u8>,
    layers: Vec<Vec<u8>>,
    manifest: Vec<u8>,
}

impl Image {
    fn new(layer_count: usize, layer_bytes: usize) -> Self {
        let tars: Vec<Vec<u8>> = (0..layer_count)
            .map(|number| {
                let content = noise(layer_bytes + number);
                archive(&[Member::file(format!("file-{number}"), content)])
            })
            .collect();
        let gzip = |tar: &Vec<u8>| {
            let mut layer = GzEncoder::new(Vec::new(), Compression::fast());
            layer.write_all(tar).unwrap();
            layer.finish().unwrap()
        };
        let layers: Vec<Vec<u8>> = tars.iter().map(gzip).collect();
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        let diff_ids: Vec<String> = tars.iter().map(|tar| Digest::of(tar).to_string()).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [],
        });
        let config = config.to_string().into_bytes();
        let of_layer =
            |layer: &Vec<u8>| descriptor(OCI_LAYER, &Digest::of(layer), layer.len() as u64);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, &Digest::of(&config), config.len() as u64),
            "layers": layers.iter().map(of_layer).collect::<Vec<_>>(),
        });
        Self { config, layers, manifest: manifest.to_string().into_bytes() }
    }

    fn put(&self, sim: &RegSim, repository: &str, tag: &str) -> Digest {
        sim.put_blob(repository, &self.config);
        for layer in &self.layers {
            sim.put_blob(repository, layer);
        }
        sim.put_manifest(repository, tag, OCI_MANIFEST, &self.manifest)
    }
}

/// How a program ended.
struct Ended {
    success: bool,
    text: String,
}

impl Ended {
    #[track_caller]
    fn works(self) -> String {
        assert!(self.success, "{}", self.text);
        self.text
    }
}

fn warnings(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains("level=warning")).collect()
}

/// A directory that builds and warmers share, and one for everything else.
struct Shared {
    folder: TempDir,
}

impl Shared {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cache")).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn flag(&self) -> String {
        format!("--cache-dir={}", self.path().display())
    }

    fn blob(&self, bytes: &[u8]) -> PathBuf {
        self.path().join("zuwai/blobs/sha256").join(Digest::of(bytes).hex())
    }

    fn warmer(&self, arguments: &[&str]) -> Command {
        let mut command = zuwai();
        command.args(["warm", "--log-format=text", &self.flag()]).args(arguments);
        command
    }

    /// A build that may be killed: its files are in the directory beside the shared one.
    fn builder(&self, dockerfile: &str) -> Command {
        let context = self.folder.path().join("context");
        fs::create_dir_all(&context).unwrap();
        fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        fs::write(context.join("file"), "of the context").unwrap();
        let work = self.folder.path().join("work");
        let mut command = zuwai();
        command
            .args(["build", "--log-format=text", "--no-push", &self.flag()])
            .arg(format!("--context={}", context.display()))
            .arg(format!("--kaniko-dir={}", work.display()))
            .arg(format!("--tar-path={}", self.folder.path().join("image.tar").display()))
            .arg("--destination=registry.example/app:v1");
        command
    }

    async fn warm(&self, arguments: &[&str]) -> Ended {
        run(self.warmer(arguments)).await
    }

    /// Builds a Dockerfile and returns the image's digest too. The image is written to a tarball, so
    /// that the bytes of every layer are read.
    async fn build(&self, dockerfile: &str, arguments: &[&str]) -> (Ended, String) {
        self.build_after("true", dockerfile, arguments).await
    }

    /// The same after a command in a mount namespace of the build's own; `$1` is the directory.
    async fn build_after(
        &self,
        before: &str,
        dockerfile: &str,
        arguments: &[&str],
    ) -> (Ended, String) {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let context = folder.path().join("context");
        fs::create_dir(&context).unwrap();
        fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        fs::write(context.join("file"), "of the context").unwrap();
        let script = format!("{before} && shift && exec \"$@\"");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation=private", "sh", "-c", &script, "sh"])
            .arg(self.path())
            .arg(env!("CARGO_BIN_EXE_zuwai"))
            .args(["build", "--log-format=text", "--reproducible", "--no-push"])
            .arg(format!("--context={}", path("context")))
            .arg(format!("--kaniko-dir={}", path("work")))
            .arg(format!("--tar-path={}", path("image.tar")))
            .arg("--destination=registry.example/app:v1")
            .arg(format!("--digest-file={}", path("digest")))
            .args(arguments);
        isolate(&mut command, folder.path());
        let ended = run(command).await;
        let digest = fs::read_to_string(folder.path().join("digest")).unwrap_or_default();
        (ended, digest)
    }

    /// Checks that everything which has a name is what it is named by.
    #[track_caller]
    fn verify(&self) {
        let store = self.path().join("zuwai");
        for entry in fs::read_dir(store.join("blobs/sha256")).unwrap() {
            let path = entry.unwrap().path();
            let digest = Digest::of(&fs::read(&path).unwrap()).hex();
            assert_eq!(path.file_name().unwrap().to_str(), Some(digest.as_str()));
        }
        for entry in fs::read_dir(store.join("tags")).unwrap() {
            let record: Value = read_json(&entry.unwrap().path());
            let digest: Digest = record["digest"].as_str().unwrap().parse().unwrap();
            let blob = |digest: &Digest| store.join("blobs/sha256").join(digest.hex());
            let manifest = read_json(&blob(&digest));
            let layers = manifest["layers"].as_array().unwrap().iter();
            for named in layers.chain([&manifest["config"]]) {
                let digest: Digest = named["digest"].as_str().unwrap().parse().unwrap();
                assert!(blob(&digest).exists(), "an image with a record is whole: {digest}");
            }
        }
        for entry in fs::read_dir(store.join("headers")).unwrap() {
            let stored = fs::read(entry.unwrap().path()).unwrap();
            assert!(zuwai::unpack::HeaderIndex::from_stored(&stored).is_some());
        }
        read_json(&store.join("index.json"));
    }
}

fn zuwai() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zuwai"));
    isolate(&mut command, Path::new("/"));
    command
}

fn isolate(command: &mut Command, folder: &Path) {
    let variables = BTreeMap::from([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")]);
    command.current_dir(folder).env_clear().envs(variables).stdin(Stdio::null());
}

async fn run(mut command: Command) -> Ended {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ended { success: output.status.success(), text }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Returns how many requests there were for blobs of layers.
fn layer_requests(sim: &RegSim, image: &Image) -> usize {
    let of = |layer: &Vec<u8>| sim.count("GET", &format!("/blobs/{}", Digest::of(layer)));
    image.layers.iter().map(of).sum()
}
