//! Where a build comes from: directories, tar archives, named contexts, and `.dockerignore`.
//!
//! Must not know registries or stages.
