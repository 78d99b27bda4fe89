//! The image as a value: config, layers, history.

use snapshot::Digest;

use super::config::{History, ImageConfig};
use super::descriptor::{DescriptorError, descriptor, digest_of};
use super::format::{ImageFormat, LayerCompression, MediaTypeError, is_foreign_layer};
use super::{Descriptor, Manifest, Platform};

/// One layer: the compressed blob and the digest of the tar inside it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The blob as manifests name it.
    pub descriptor: Descriptor,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
}

/// An image; every change gives a new value.
#[derive(Clone, Debug)]
pub struct Image {
    config: ImageConfig,
    layers: Vec<Layer>,
    format: ImageFormat,
}

/// An image's documents, ready to be stored or sent.
#[derive(Clone, Debug)]
pub struct EncodedImage {
    /// Config document.
    pub config: Vec<u8>,
    /// What the manifest says of the config.
    pub config_descriptor: Descriptor,
    /// Manifest document.
    pub manifest: Vec<u8>,
    /// The manifest's media type.
    pub manifest_type: &'static str,
    /// The manifest's digest, by which the image is known.
    pub digest: Digest,
    /// The layers' descriptors as the manifest lists them, bottom first.
    pub layers: Vec<Descriptor>,
}

/// A manifest and config that do not make an image together.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Layers and DiffIDs must pair up.
    #[error("the manifest has {layers} layers and the config has {diff_ids} DiffIDs")]
    LayerCount {
        /// Layers in the manifest.
        layers: usize,
        /// DiffIDs in the config.
        diff_ids: usize,
    },
    /// A DiffID that is no sha256 digest.
    #[error("DiffID `{text}` cannot be used")]
    DiffId {
        /// The text found.
        text: String,
        /// What is wrong with it.
        #[source]
        source: snapshot::DigestError,
    },
    /// A descriptor that cannot be used.
    #[error("a layer of the manifest cannot be used")]
    Descriptor(#[from] DescriptorError),
    /// A layer in a form that cannot be read.
    #[error("a layer of the manifest cannot be used")]
    LayerType(#[source] MediaTypeError),
    /// A media type that cannot be used in this image's family.
    #[error("a layer cannot be written in the image's media type family")]
    MediaType(#[from] MediaTypeError),
    /// A value that JSON cannot hold; serde's own words are the source.
    #[error("cannot write the image's documents as JSON")]
    Encode(#[source] serde_json::Error),
}

impl Image {
    /// Returns the image that `FROM scratch` starts with: nothing but a platform.
    pub fn scratch(platform: &Platform, format: ImageFormat) -> Self {
        let config = ImageConfig {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            os_version: platform.os_version.clone(),
            variant: platform.variant.clone(),
            ..ImageConfig::default()
        };
        Self { config, layers: Vec::new(), format }
    }

    /// Returns the image that a manifest and its config describe.
    ///
    /// A history that does not pair with the layers is made to: missing entries are added, a
    /// history with too many layers is dropped, because `docker history` and OCI validation count
    /// on the pairing.
    ///
    /// # Errors
    /// [`ImageError`] when layers and DiffIDs do not pair, a digest is not sha256, or a layer has a
    /// form that nobody here can read.
    pub fn from_parts(
        manifest: &Manifest,
        mut config: ImageConfig,
        format: ImageFormat,
    ) -> Result<Self, ImageError> {
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Err(ImageError::LayerCount {
                layers: manifest.layers.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (descriptor, text) in manifest.layers.iter().zip(diff_ids) {
            digest_of(descriptor)?;
            LayerCompression::of_layer(&descriptor.media_type).map_err(ImageError::LayerType)?;
            let diff_id =
                text.parse().map_err(|source| ImageError::DiffId { text: text.clone(), source })?;
            layers.push(Layer { descriptor: descriptor.clone(), diff_id });
        }
        let described = config.history.iter().filter(|entry| !entry.empty_layer).count();
        if described > layers.len() {
            config.history.clear();
        }
        let described = config.history.iter().filter(|entry| !entry.empty_layer).count();
        for _ in described..layers.len() {
            config.history.push(History {
                comment: Some("layer of the base image without a history entry".to_owned()),
                ..History::default()
            });
        }
        Ok(Self { config, layers, format })
    }

    /// Returns the image with one more history entry and, where `layer` is given, that layer on top.
    pub fn append(mut self, layer: Option<Layer>, history: History) -> Self {
        let history = History { empty_layer: layer.is_none(), ..history };
        self.config.history.push(history);
        if let Some(layer) = layer {
            self.config.rootfs.diff_ids.push(layer.diff_id.to_string());
            self.layers.push(layer);
        }
        self
    }

    /// Returns the image with the runtime config, author and platform that `planned` names; layers
    /// and history stay as they are.
    pub fn with_settings_of(mut self, planned: &ImageConfig) -> Self {
        self.config.config.clone_from(&planned.config);
        self.config.author.clone_from(&planned.author);
        self.config.architecture.clone_from(&planned.architecture);
        self.config.os.clone_from(&planned.os);
        self.config.os_version.clone_from(&planned.os_version);
        self.config.variant.clone_from(&planned.variant);
        self
    }

    /// Returns the image with its time of creation set, RFC 3339.
    pub fn with_created(mut self, created: String) -> Self {
        self.config.created = Some(created);
        self
    }

    /// Returns the image written in another family of media types.
    pub fn with_format(mut self, format: ImageFormat) -> Self {
        self.format = format;
        self
    }

    /// Returns the config document's value.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// Returns the layers, bottom first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Returns the family of media types that the image is written in.
    pub fn format(&self) -> ImageFormat {
        self.format
    }

    /// Returns the image's documents.
    ///
    /// # Errors
    /// [`ImageError::MediaType`] when a layer has no type in the image's family (zstd in Docker's).
    pub fn encode(&self) -> Result<EncodedImage, ImageError> {
        let config = serde_json::to_vec(&self.config).map_err(ImageError::Encode)?;
        let config_descriptor =
            descriptor(self.format.config_type(), &Digest::of(&config), config.len() as u64);
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let mut descriptor = layer.descriptor.clone();
            if !is_foreign_layer(&descriptor.media_type) {
                let compression = LayerCompression::of_layer(&descriptor.media_type)?;
                descriptor.media_type = self.format.layer_type(compression)?.to_owned();
            }
            layers.push(descriptor);
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(self.format.manifest_type().to_owned()),
            config: config_descriptor.clone(),
            layers: layers.clone(),
            ..Manifest::default()
        };
        let manifest = serde_json::to_vec_pretty(&manifest).map_err(ImageError::Encode)?;
        Ok(EncodedImage {
            digest: Digest::of(&manifest),
            manifest_type: self.format.manifest_type(),
            config,
            config_descriptor,
            manifest,
            layers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> Layer {
        let digest = Digest::of(text.as_bytes());
        let kind = ImageFormat::Oci.layer_type(LayerCompression::Gzip).unwrap();
        Layer { descriptor: descriptor(kind, &digest, 1), diff_id: digest }
    }

    fn history(text: &str) -> History {
        History { created_by: Some(text.to_owned()), ..History::default() }
    }

    #[test]
    fn append_pairs_layers_with_history() {
        let image = Image::scratch(&"linux/amd64".parse().unwrap(), ImageFormat::Docker)
            .append(Some(layer("a")), history("COPY a /"))
            .append(None, history("ENV A=1"));
        assert_eq!(image.layers().len(), 1);
        let empties: Vec<bool> = image.config().history.iter().map(|h| h.empty_layer).collect();
        assert_eq!(empties, [false, true]);
        let encoded = image.encode().unwrap();
        assert_eq!(
            encoded.layers[0].media_type,
            "application/vnd.docker.image.rootfs.diff.tar.gzip"
        );
        assert_eq!(encoded.digest, image.encode().unwrap().digest);
    }

    #[test]
    fn a_base_without_history_gets_entries_for_its_layers() {
        let one = layer("a");
        let manifest = Manifest { layers: vec![one.descriptor.clone()], ..Manifest::default() };
        let mut config = ImageConfig::default();
        config.rootfs.diff_ids.push(one.diff_id.to_string());
        let image = Image::from_parts(&manifest, config.clone(), ImageFormat::Oci).unwrap();
        assert_eq!(image.config().history.len(), 1);
        config.rootfs.diff_ids.push(one.diff_id.to_string());
        assert!(matches!(
            Image::from_parts(&manifest, config, ImageFormat::Oci),
            Err(ImageError::LayerCount { layers: 1, diff_ids: 2 })
        ));
    }

    #[test]
    fn zstd_layers_are_refused_in_docker_images() {
        let mut one = layer("a");
        one.descriptor.media_type =
            ImageFormat::Oci.layer_type(LayerCompression::Zstd).unwrap().to_owned();
        let image = Image::scratch(&"linux/amd64".parse().unwrap(), ImageFormat::Docker)
            .append(Some(one), history("COPY a /"));
        assert!(matches!(image.encode(), Err(ImageError::MediaType(MediaTypeError::ZstdInDocker))));
    }
}
