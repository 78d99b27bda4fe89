//! OCI and Docker vocabulary: references, descriptors, manifests, configs, platforms, immutable images.
//!
//! Pure: no IO and no clock.
