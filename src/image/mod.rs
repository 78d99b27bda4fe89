//! OCI and Docker vocabulary: references, descriptors, manifests, configs, platforms, immutable images.
//!
//! Pure: no IO and no clock. The idea to hold in mind: an [`Image`] is a value; a step appends a
//! layer and a history entry and gives a new image, and only at the end are config and manifest
//! bytes made of it. References and manifest types are `oci-client`'s; the image config is ours,
//! because the crates' own types lose fields that Docker users rely on.

mod config;
mod descriptor;
mod format;
mod platform;
mod validate;
mod value;

pub use config::{Empty, Healthcheck, History, ImageConfig, RootFs, RuntimeConfig};
pub use descriptor::{DescriptorError, descriptor, digest_of, size_of};
pub use format::{ImageFormat, LayerCompression, MediaTypeError, is_foreign_layer};
pub use oci_client::Reference;
pub use oci_client::manifest::{
    ImageIndexEntry, OciDescriptor as Descriptor, OciImageIndex as ImageIndex,
    OciImageManifest as Manifest,
};
pub use platform::{Platform, PlatformError, PlatformText};
pub use validate::{BlobView, ValidateError, validate};
pub use value::{EncodedImage, Image, ImageError, Layer};
