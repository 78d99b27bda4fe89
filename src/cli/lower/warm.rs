//! The warmer: what it fetches, and where to.

use super::shared::lifetime;
use super::{absolute, build_arg, filled, platform, registry, source};
use crate::cli::args::WarmerArgs;
use crate::cli::env::{Environment, Facts};
use crate::cli::error::Error;
use crate::warm::{Present, WarmOptions};

/// Lowers the flags of the warmer; warnings are added.
///
/// # Errors
/// A value that cannot mean anything.
pub fn warm(
    args: &WarmerArgs,
    environment: &Environment,
    facts: &Facts,
    warnings: &mut Vec<String>,
) -> Result<WarmOptions, Error> {
    let warm = &args.warm;
    let dockerfile = filled(&warm.dockerfile);
    let build_args = warm.build_arg.iter().map(|text| build_arg(text));
    Ok(WarmOptions {
        images: warm.image.clone(),
        dockerfile: dockerfile.map(|text| source::dockerfile_at(text, facts)).transpose()?,
        build_args: build_args.map(|argument| (argument.name, argument.value)).collect(),
        directory: absolute(&warm.cache_dir, facts),
        limit_bytes: warm.cache_dir_limit.map(|limit| limit.bytes),
        present: match warm.force {
            true => Present::Replaced,
            false => Present::Kept,
        },
        time_to_live: lifetime(warm.cache_ttl),
        platform: filled(&warm.custom_platform).map(platform).transpose()?,
        registry: registry::warmer(args, environment, facts, warnings)?,
    })
}
