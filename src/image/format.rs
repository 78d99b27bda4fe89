//! The two families of media types, and what a media type says of a layer.

use oci_client::manifest as types;

/// Which family of media types an image is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// OCI image-spec 1.0 and later.
    Oci,
    /// Docker image manifest version 2, schema 2.
    Docker,
}

/// How a layer's tar stream is compressed, as its media type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerCompression {
    /// A plain tar.
    None,
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 8878; OCI only.
    Zstd,
}

/// A media type that cannot be used where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaTypeError {
    /// A layer's media type that is none of the known ones.
    #[error("`{0}` is not a layer media type that this program can read")]
    UnknownLayer(String),
    /// Docker's family has no zstd layers.
    #[error("docker media types have no zstd layers")]
    ZstdInDocker,
    /// A manifest's media type that is none of the known ones.
    #[error("`{0}` is not an image manifest media type")]
    UnknownManifest(String),
}

const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const OCI_FOREIGN_PREFIX: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

impl ImageFormat {
    /// Returns the family of a manifest's media type.
    ///
    /// # Errors
    /// [`MediaTypeError::UnknownManifest`] for anything but the two manifest types.
    pub fn of_manifest(media_type: &str) -> Result<Self, MediaTypeError> {
        match media_type {
            types::OCI_IMAGE_MEDIA_TYPE => Ok(Self::Oci),
            types::IMAGE_MANIFEST_MEDIA_TYPE => Ok(Self::Docker),
            other => Err(MediaTypeError::UnknownManifest(other.to_owned())),
        }
    }

    /// Returns the media type of manifests in this family.
    pub fn manifest_type(self) -> &'static str {
        match self {
            Self::Oci => types::OCI_IMAGE_MEDIA_TYPE,
            Self::Docker => types::IMAGE_MANIFEST_MEDIA_TYPE,
        }
    }

    /// Returns the media type of configs in this family.
    pub fn config_type(self) -> &'static str {
        match self {
            Self::Oci => types::IMAGE_CONFIG_MEDIA_TYPE,
            Self::Docker => types::IMAGE_DOCKER_CONFIG_MEDIA_TYPE,
        }
    }

    /// Returns the media type of layers in this family.
    ///
    /// # Errors
    /// [`MediaTypeError::ZstdInDocker`]: Docker never defined a zstd layer type.
    pub fn layer_type(self, compression: LayerCompression) -> Result<&'static str, MediaTypeError> {
        match (self, compression) {
            (Self::Oci, LayerCompression::None) => Ok(types::IMAGE_LAYER_MEDIA_TYPE),
            (Self::Oci, LayerCompression::Gzip) => Ok(types::IMAGE_LAYER_GZIP_MEDIA_TYPE),
            (Self::Oci, LayerCompression::Zstd) => Ok(OCI_ZSTD),
            (Self::Docker, LayerCompression::None) => Ok(types::IMAGE_DOCKER_LAYER_TAR_MEDIA_TYPE),
            (Self::Docker, LayerCompression::Gzip) => Ok(types::IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE),
            (Self::Docker, LayerCompression::Zstd) => Err(MediaTypeError::ZstdInDocker),
        }
    }
}

impl LayerCompression {
    /// Returns what a layer's media type says of its bytes.
    ///
    /// # Errors
    /// [`MediaTypeError::UnknownLayer`] for a type that is not a layer's.
    pub fn of_layer(media_type: &str) -> Result<Self, MediaTypeError> {
        match media_type {
            types::IMAGE_LAYER_MEDIA_TYPE
            | types::IMAGE_DOCKER_LAYER_TAR_MEDIA_TYPE
            | types::IMAGE_LAYER_NONDISTRIBUTABLE_MEDIA_TYPE => Ok(Self::None),
            types::IMAGE_LAYER_GZIP_MEDIA_TYPE
            | types::IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE
            | types::IMAGE_LAYER_NONDISTRIBUTABLE_GZIP_MEDIA_TYPE
            | DOCKER_FOREIGN => Ok(Self::Gzip),
            OCI_ZSTD | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd" => {
                Ok(Self::Zstd)
            }
            other => Err(MediaTypeError::UnknownLayer(other.to_owned())),
        }
    }
}

/// Says whether a layer of this media type lives outside registries ("foreign", "nondistributable").
pub fn is_foreign_layer(media_type: &str) -> bool {
    media_type == DOCKER_FOREIGN || media_type.starts_with(OCI_FOREIGN_PREFIX)
}
