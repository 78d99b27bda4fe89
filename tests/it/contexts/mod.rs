//! Contexts from elsewhere: whole builds with kaniko's arguments, against servers in this process.
//!
//! `hack/context-servers.sh` runs the real programs behind the same protocols.

#![expect(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

mod buckets;
pub mod git;
mod identities;
pub mod server;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

/// What the context's file holds.
pub const HELLO: &str = "hello from the context\n";

/// Returns the archive of a context, with the files below `prefix`.
pub fn archive_below(prefix: &str) -> Vec<u8> {
    let gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    for (name, text) in [("Dockerfile", "FROM scratch\nCOPY hello /\n"), ("hello", HELLO)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("{prefix}{name}"), text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// Returns the archive of a context.
pub fn archive() -> Vec<u8> {
    archive_below("")
}

/// A build whose context is elsewhere.
pub struct Build {
    pub folder: TempDir,
    arguments: Vec<String>,
    variables: BTreeMap<String, String>,
}

/// How a build ended.
pub struct Ended {
    pub success: bool,
    pub text: String,
    /// What its layers hold, decompressed.
    layers: Vec<u8>,
}

impl Build {
    pub fn of(context: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments = vec![format!("--context={context}")];
        let build = Self { folder, arguments, variables: BTreeMap::new() };
        // No metadata server, unless the test has one.
        build.env("AWS_EC2_METADATA_DISABLED", "true")
    }

    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Writes a file into the build's folder, and returns where it is.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Lets the build believe this authority.
    pub fn trusting(self, tls: &Tls) -> Self {
        let path = self.file("ca.pem", &tls.certificate);
        self.env("SSL_CERT_FILE", path)
    }

    /// Runs it as kaniko's executor is run.
    pub async fn run(self) -> Ended {
        let Self { folder, arguments, variables } = self;
        let layout = folder.path().join("layout");
        let program = folder.path().join("executor");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_zuwai"), &program).unwrap();
        let mut command = Command::new(program);
        command
            .args(["--log-format=text", "--no-push", "--destination=registry.example/app:v1"])
            .arg(format!("--oci-layout-path={}", layout.display()))
            .arg(format!("--kaniko-dir={}", folder.path().join("work").display()))
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", folder.path())
            .envs(variables)
            .stdin(Stdio::null());
        tokio::task::spawn_blocking(move || {
            let output = command.output().unwrap();
            let text =
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let mut layers = Vec::new();
            for blob in std::fs::read_dir(layout.join("blobs/sha256")).into_iter().flatten() {
                let bytes = std::fs::read(blob.unwrap().path()).unwrap();
                // Of what is no layer nothing is wanted.
                let _ = GzDecoder::new(bytes.as_slice()).read_to_end(&mut layers);
            }
            drop(folder);
            Ended { success: output.status.success(), text, layers }
        })
        .await
        .unwrap()
    }
}

impl Ended {
    /// Asserts that the image has the context's file.
    #[track_caller]
    pub fn works(&self) {
        self.has(HELLO);
    }

    /// Asserts that a layer of the image holds a text.
    #[track_caller]
    pub fn has(&self, text: &str) {
        assert!(self.success, "{}", self.text);
        assert!(self.has_text(text), "no `{text}` in the image: {}", self.text);
    }

    /// Returns what is in the layers, sorted: name, mode, owner, time, and the content without the
    /// end of its line.
    pub fn entries(&self) -> Vec<String> {
        let mut archive = tar::Archive::new(self.layers.as_slice());
        archive.set_ignore_zeros(true);
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let header = entry.header();
            let (mode, uid, gid) =
                (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap());
            let (time, content) = (header.mtime().unwrap(), String::from_utf8_lossy(&content));
            found.push(format!("{name} {mode:o} {uid}:{gid} {time} {}", content.trim_end()));
        }
        found.sort();
        found
    }

    /// Returns the names of what is in the layers, but for the root, sorted.
    #[track_caller]
    pub fn names(&self) -> Vec<String> {
        assert!(self.success, "{}", self.text);
        let entries = self.entries();
        let names = entries.iter().filter_map(|entry| entry.split(' ').next());
        names.filter(|name| *name != "./").map(str::to_owned).collect()
    }

    /// Tells whether a layer of the image holds a text.
    pub fn has_text(&self, text: &str) -> bool {
        self.layers.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Asserts that the build failed with these lines, and showed none of the secrets.
    #[track_caller]
    pub fn fails(&self, expected: &str) {
        assert!(!self.success && self.text.contains(expected), "{}", self.text);
        assert!(!self.text.contains("hunter2"), "{}", self.text);
    }
}

/// A certificate that is its own authority.
pub struct Tls {
    pub certificate: String,
    pub key: String,
}

impl Tls {
    /// Makes one for names and addresses.
    pub fn of(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        Self { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    pub fn pair(&self) -> (&str, &str) {
        (&self.certificate, &self.key)
    }
}

/// Writes a compressed text.
pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
