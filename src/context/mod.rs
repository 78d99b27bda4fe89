//! Where a build comes from: directories, tar archives, named contexts, and `.dockerignore`.
//!
//! Must not know registries or stages.

pub mod dockerignore;
pub mod pattern;
