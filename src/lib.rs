//! zuwai builds container images from a Dockerfile inside an ordinary Kubernetes Pod.
//!
//! Data flows one way: `cli` → `context` → `dockerfile` → `plan` → `execute` → snapshot → layer →
//! `image` → `registry`. `docs/architecture.md` tells the whole; `tests/it/layering.rs` holds the
//! import rules.

pub mod archive;
pub mod broker;
pub mod build;
pub mod cache;
pub mod cli;
pub mod compare;
pub mod context;
pub mod dockerfile;
pub mod doctor;
pub mod execute;
pub mod export;
pub mod http;
pub mod identity;
pub mod image;
pub mod interrupt;
pub mod plan;
pub mod registry;
pub mod report;
pub mod sandbox;
pub mod secret;
pub mod store;
pub mod unpack;
pub mod uploads;
pub mod warm;
