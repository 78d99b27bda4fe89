//! The registry client against a scripted registry, and against Debian's real one.

#![expect(clippy::unwrap_used, reason = "a test's helper fails by panicking")]

mod auth;
mod bases;
mod behind;
pub mod broker;
pub mod build;
mod download;
mod flags;
mod mirrors;
mod network;
mod parts;
mod pipeline;
mod pull;
mod push;
mod real;
mod tables;
mod tokens;
mod trust;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use snapshot::Digest;
use tempfile::TempDir;
use zuwai::http::{
    HttpClient, HttpOptions, NameResolution, ProxyOptions, RetryPolicy, RootSources, Timeouts,
};
use zuwai::image::{Descriptor, Platform, Reference, descriptor};
use zuwai::registry::{
    BlobUpload, CredentialOptions, Presence, Registry, RegistryError, RegistryOptions,
};
use zuwai::report::event::{Gauge, LongWork};

use crate::regsim::RegSim;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Retries at once, so that tests do not wait.
pub const QUICK: RetryPolicy = RetryPolicy {
    retries: 3,
    first_wait: Duration::ZERO,
    longest_wait: Duration::ZERO,
    longest_retry_after: Duration::ZERO,
    progress_bytes: 1 << 20,
};

pub fn http_options() -> HttpOptions {
    HttpOptions {
        user_agent: "zuwai-test".into(),
        roots: RootSources::default(),
        proxies: ProxyOptions::default(),
        name_resolution: NameResolution {
            resolv_conf: PathBuf::from("/nonexistent"),
            hosts: PathBuf::from("/nonexistent"),
        },
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(20),
            stall: Duration::from_secs(20),
        },
    }
}

pub fn options() -> RegistryOptions {
    RegistryOptions { pull_retry: QUICK, push_retry: QUICK, ..RegistryOptions::default() }
}

pub fn registry(options: RegistryOptions) -> Registry {
    Registry::new(&HttpClient::new(&http_options()).unwrap(), options).unwrap()
}

/// Makes a registry that reads this `config.json`. The directory must live as long as its files
/// are named in messages.
pub fn with_config(config: &serde_json::Value, options: RegistryOptions) -> (TempDir, Registry) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    let credentials = CredentialOptions {
        directories: vec![directory.path().to_owned()],
        ..CredentialOptions::default()
    };
    (directory, registry(RegistryOptions { credentials, ..options }))
}

pub fn reference(sim: &RegSim, name: &str) -> Reference {
    format!("{}/{name}", sim.host()).parse().unwrap()
}

pub fn amd64() -> Platform {
    Platform::new("linux", "amd64", None)
}

/// Bytes that are neither constant nor repeated within a piece.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(length)
    .collect()
}

pub fn layer(bytes: &[u8]) -> Descriptor {
    descriptor(OCI_LAYER, &Digest::of(bytes), bytes.len() as u64)
}

pub fn blob(bytes: Vec<u8>) -> BlobUpload {
    let descriptor = layer(&bytes);
    let bytes = Arc::new(bytes);
    BlobUpload {
        descriptor,
        mount_from: Vec::new(),
        open: Arc::new(move |offset| {
            let mut cursor = std::io::Cursor::new(bytes.to_vec());
            cursor.set_position(offset);
            Ok(Box::new(cursor))
        }),
        presence: Presence::Believed,
        gauge: Gauge::new(LongWork::Upload, "", None),
    }
}

/// A small image in parts.
pub struct SmallImage {
    pub config: Vec<u8>,
    pub layer: Vec<u8>,
    pub manifest: Vec<u8>,
}

pub fn small_image(os: &str, architecture: &str) -> SmallImage {
    let layer_bytes = noise(3000);
    let config = serde_json::json!({
        "architecture": architecture,
        "os": os,
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer_bytes).to_string()]},
        "history": [{"created_by": "test"}],
    });
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, &Digest::of(&config), config.len() as u64),
        "layers": [layer(&layer_bytes)],
    });
    SmallImage { config, layer: layer_bytes, manifest: serde_json::to_vec(&manifest).unwrap() }
}

impl SmallImage {
    /// Stores the image in a scripted registry.
    pub fn put(&self, sim: &RegSim, repository: &str, tag: &str) -> Digest {
        sim.put_blob(repository, &self.config);
        sim.put_blob(repository, &self.layer);
        sim.put_manifest(repository, tag, OCI_MANIFEST, &self.manifest)
    }
}

/// Returns an error and its causes, one per line.
pub fn lines(error: &RegistryError) -> Vec<String> {
    let mut lines = vec![error.to_string()];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        lines.push(cause.to_string());
        source = cause.source();
    }
    lines.dedup();
    lines
}

#[test]
fn operations_can_run_in_tasks_of_their_own() {
    fn is_send<T: Send>(_: &T) {}
    let registry = registry(options());
    let to: Reference = "r.example/app".parse().unwrap();
    let (descriptor, blob) = (layer(b""), blob(Vec::new()));
    let mut sink = Vec::new();
    is_send(&registry.resolve(&to, &amd64()));
    is_send(&registry.pull_blob(&to, &descriptor, &mut sink));
    is_send(&registry.push_blob(&to, &blob));
    is_send(&registry.push_manifest(&to, OCI_MANIFEST, b""));
    is_send(&registry.check_push(&to));
}
