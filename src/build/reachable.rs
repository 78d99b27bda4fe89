//! What registries say to a build with these options.

use tokio::runtime;

use super::error::BuildError;
use super::network;
use super::options::BuildOptions;
use crate::http::RetryPolicy;
use crate::image::Reference;
use crate::registry::Examined;

/// Asks the registry of each reference what it allows a build with these options.
///
/// # Errors
/// When the network cannot be set up, or a file with credentials cannot be read.
pub fn examine_registries(
    options: &BuildOptions,
    references: &[Reference],
) -> Result<Vec<Examined>, BuildError> {
    let (http, registry) = network::prepare(options)?;
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().map_err(BuildError::Runtime)?;
    let registry = network::reach(options, &http, &registry, &runtime)?;
    // Whoever asks can ask again.
    let registry = registry.as_favour(RetryPolicy { retries: 0, ..RetryPolicy::default() });
    Ok(runtime.block_on(async {
        let mut examined = Vec::new();
        for reference in references {
            examined.push(registry.examine(reference).await);
        }
        examined
    }))
}
