//! Manifests and indexes as they come off the wire: checked, then parsed; pure.
//!
//! Header, body and shape must tell one story. A document that is an image to one reader and an
//! index to another (CVE-2021-41190) is refused.

use oci_client::manifest as types;
use serde::Deserialize;
use snapshot::Digest;

use super::error::{Cause, Unsupported};
use crate::image::{self, Descriptor, ImageConfig, Manifest, Platform};

/// Largest manifest or index that is read, in bytes; as in containers/image.
pub(super) const MANIFEST_LIMIT: u64 = 4 << 20;
/// Largest image config that is read, in bytes.
pub(super) const CONFIG_LIMIT: u64 = 4 << 20;
/// Most layers of one image; overlay file systems take fewer.
pub(super) const LAYER_LIMIT: usize = 512;

/// The media types to ask for, as an `Accept` header.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// Content types that say nothing; some stores serve every file as one of these.
const MEANINGLESS: &[&str] =
    &["application/json", "application/octet-stream", "text/plain", "binary/octet-stream"];

/// A parsed document.
#[derive(Debug)]
pub(super) enum Document {
    /// One image.
    Image { media_type: String, manifest: Box<Manifest> },
    /// A list of images.
    Index(Index),
}

/// A list of images by platform.
#[derive(Debug, Deserialize)]
pub(super) struct Index {
    pub(super) manifests: Vec<IndexEntry>,
}

/// One image of an index.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IndexEntry {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) platform: Option<EntryPlatform>,
}

/// The platform of an index entry, in whatever spelling.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct EntryPlatform {
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) architecture: String,
    pub(super) variant: Option<String>,
    #[serde(rename = "os.version")]
    pub(super) os_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    schema_version: i64,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// What is known of a document before it is parsed.
pub(super) struct Claims<'a> {
    /// The content type it was served with.
    pub(super) header: Option<&'a str>,
    /// The media type by which an index names it.
    pub(super) descriptor: Option<&'a str>,
}

/// Parses `body`, which `host` served.
///
/// # Errors
/// When the document is malformed, contradicts itself or what was claimed, or is of an old schema.
pub(super) fn parse(host: &str, claims: &Claims<'_>, body: &[u8]) -> Result<Document, Cause> {
    let unusable =
        |reason: String| Cause::Content { host: host.to_owned(), what: "a manifest", reason };
    let header = claims.header.map(essence).filter(|kind| !MEANINGLESS.contains(&kind.as_str()));
    if header.as_deref().is_some_and(is_schema_one) {
        return Err(Unsupported::SchemaOne.into());
    }
    let probe: Probe = serde_json::from_slice(body).map_err(|error| unusable(error.to_string()))?;
    if probe.schema_version == 1 || probe.fs_layers.is_some() {
        return Err(Unsupported::SchemaOne.into());
    }
    if probe.schema_version != 2 {
        return Err(unusable(format!("schema version is {}, not 2", probe.schema_version)));
    }
    let own = probe.media_type.as_deref().map(essence);
    let kind = match (header, own) {
        (Some(header), Some(own)) if header != own => {
            return Err(unusable(format!("it is `{own}` but was sent as `{header}`")));
        }
        (Some(kind), _) | (None, Some(kind)) => kind,
        // OCI lets documents leave their type out.
        (None, None) if probe.manifests.is_some() => types::OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned(),
        (None, None) => types::OCI_IMAGE_MEDIA_TYPE.to_owned(),
    };
    if let Some(promised) = claims.descriptor.map(essence)
        && promised != kind
    {
        return Err(unusable(format!("it is `{kind}` but the index calls it `{promised}`")));
    }
    let has_list = probe.manifests.is_some();
    let has_image = probe.layers.is_some() || probe.config.is_some();
    if has_list && has_image {
        return Err(unusable("it is both an image and an index".to_owned()));
    }
    match kind.as_str() {
        types::OCI_IMAGE_MEDIA_TYPE | types::IMAGE_MANIFEST_MEDIA_TYPE => {
            let manifest: Manifest =
                serde_json::from_slice(body).map_err(|error| unusable(error.to_string()))?;
            Ok(Document::Image { media_type: kind, manifest: Box::new(manifest) })
        }
        types::OCI_IMAGE_INDEX_MEDIA_TYPE | types::IMAGE_MANIFEST_LIST_MEDIA_TYPE => {
            let index =
                serde_json::from_slice(body).map_err(|error| unusable(error.to_string()))?;
            Ok(Document::Index(index))
        }
        other => Err(unusable(format!("`{other}` is not a manifest's media type"))),
    }
}

/// Checks that an image's parts can be pulled: known digests, sizes and kinds.
///
/// # Errors
/// Says which part cannot be used.
pub(super) fn check_image(host: &str, manifest: &Manifest) -> Result<(), Cause> {
    if manifest.layers.len() > LAYER_LIMIT {
        return Err(Unsupported::TooManyLayers(manifest.layers.len()).into());
    }
    for descriptor in manifest.layers.iter().chain([&manifest.config]) {
        check_descriptor(host, descriptor)?;
    }
    match manifest.config.media_type.as_str() {
        types::IMAGE_CONFIG_MEDIA_TYPE | types::IMAGE_DOCKER_CONFIG_MEDIA_TYPE => {}
        other => return Err(Unsupported::Artifact(other.to_owned()).into()),
    }
    let foreign = manifest.layers.iter().find(|layer| image::is_foreign_layer(&layer.media_type));
    match foreign {
        Some(layer) => Err(Unsupported::ForeignLayer(layer.digest.clone()).into()),
        None => Ok(()),
    }
}

/// Returns a descriptor's digest and size.
///
/// # Errors
/// When the digest is of another algorithm than SHA-256 or the size is negative.
pub(super) fn check_descriptor(
    host: &str,
    descriptor: &Descriptor,
) -> Result<(Digest, u64), Cause> {
    let digest = sha256(&descriptor.digest)?;
    let size = image::size_of(descriptor).map_err(|error| Cause::Content {
        host: host.to_owned(),
        what: "a manifest",
        reason: error.to_string(),
    })?;
    Ok((digest, size))
}

/// Parses a digest, which must be SHA-256.
pub(super) fn sha256(text: &str) -> Result<Digest, Cause> {
    text.parse().map_err(|_| Unsupported::DigestAlgorithm(text.to_owned()).into())
}

/// Parses an image's config, of which the manifest must not have lied about the kind of system.
///
/// # Errors
/// When it is malformed or for Windows.
pub(super) fn parse_config(host: &str, bytes: &[u8]) -> Result<ImageConfig, Cause> {
    let config: ImageConfig = serde_json::from_slice(bytes).map_err(|error| Cause::Content {
        host: host.to_owned(),
        what: "an image config",
        reason: error.to_string(),
    })?;
    if config.os.eq_ignore_ascii_case("windows") {
        return Err(Unsupported::Windows.into());
    }
    Ok(config)
}

/// Chooses the entry of `index` for `wanted`.
///
/// The operating system and architecture must be equal; of several, the one nearest to the wanted
/// variant is taken: itself, then lower ones that run on the same processor (`arm/v6` where `v7`
/// is wanted). Entries without a platform count as linux/amd64, as kaniko has it.
///
/// # Errors
/// [`Cause::NoPlatform`] lists what there is.
pub(super) fn choose(index: &Index, wanted: &Platform) -> Result<IndexEntry, Cause> {
    let variants = fitting_variants(wanted);
    let best = index
        .manifests
        .iter()
        .filter_map(|entry| {
            let offered = offered(entry)?;
            let fits = offered.os == wanted.os
                && offered.architecture == wanted.architecture
                && match (&wanted.os_version, &offered.os_version) {
                    (Some(wanted), Some(offered)) => wanted == offered,
                    _ => true,
                };
            let rank =
                variants.iter().position(|variant| *variant == offered.variant.as_deref())?;
            fits.then_some((rank, entry))
        })
        .min_by_key(|(rank, _)| *rank);
    if let Some((_, entry)) = best {
        return Ok(entry.clone());
    }
    let mut available: Vec<String> = index
        .manifests
        .iter()
        .filter_map(offered)
        .map(|platform| format!("`{platform}`"))
        .collect();
    available.sort();
    available.dedup();
    if available.iter().all(|name| name.starts_with("`windows/")) && !available.is_empty() {
        return Err(Unsupported::Windows.into());
    }
    let available =
        if available.is_empty() { "none at all".to_owned() } else { available.join(", ") };
    Err(Cause::NoPlatform { wanted: wanted.to_string(), available })
}

fn offered(entry: &IndexEntry) -> Option<Platform> {
    let Some(platform) = &entry.platform else {
        return Some(Platform::new("linux", "amd64", None));
    };
    // Attestations hang in indexes as images for `unknown/unknown`.
    if platform.os == "unknown" || platform.os.is_empty() {
        return None;
    }
    let variant = platform.variant.as_deref();
    let offered = Platform::new(&platform.os, &platform.architecture, variant);
    Some(Platform { os_version: platform.os_version.clone(), ..offered })
}

/// Returns the variants that run where `wanted` does, best first. `None` stands for the
/// architecture's default, which [`Platform`] writes without a variant.
fn fitting_variants(wanted: &Platform) -> Vec<Option<&str>> {
    match (wanted.architecture.as_str(), wanted.variant.as_deref()) {
        ("arm", Some("v8")) => vec![Some("v8"), Some("v7"), Some("v6"), Some("v5"), None],
        ("arm", Some("v7") | None) => vec![Some("v7"), None, Some("v6"), Some("v5")],
        ("arm", Some("v6")) => vec![Some("v6"), Some("v5")],
        ("amd64", Some("v4")) => vec![Some("v4"), Some("v3"), Some("v2"), None],
        ("amd64", Some("v3")) => vec![Some("v3"), Some("v2"), None],
        ("amd64", Some("v2")) => vec![Some("v2"), None],
        (_, None) => vec![None],
        (_, Some(variant)) => vec![Some(variant), None],
    }
}

/// Returns a media type in lower case without its parameters.
fn essence(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_schema_one(kind: &str) -> bool {
    kind.starts_with("application/vnd.docker.distribution.manifest.v1+")
}

#[cfg(test)]
mod tests;
