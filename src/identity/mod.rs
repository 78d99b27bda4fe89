//! As whom clouds are asked: the identities of Amazon, Google and Azure that a container can have.
//!
//! Owns how an identity is found and what it is exchanged for; must not know what it is used for,
//! and reads no environment: `cli` made the settings. The idea to hold in mind: whatever is named (a
//! variable, a file, a profile) stands over what is only there, so that a metadata server is asked
//! last and never twice, and one that does not answer costs two seconds of a build at most.

pub mod aws;
pub mod azure;
mod bridge;
mod error;
mod exchange;
pub mod google;
mod kept;
mod metadata;
pub mod program;
mod refusal;

use std::time::Duration;

use bytes::Bytes;
use object_store::{BackoffConfig, RetryConfig};

pub use bridge::{Bridge, UNKNOWN_BYTES};
pub use error::IdentityError;
pub use refusal::Refusal;

use crate::http::HttpClient;
use crate::secret::Secret;

/// A token that a cloud gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudToken {
    /// The token.
    pub text: Secret,
    /// How long it lives from now on; `None` where that was not said.
    pub lifetime: Option<Duration>,
    /// What gave it, for people.
    pub identity: &'static str,
}

/// Posts a form whose answer is a credential, again where that can help; no redirect is followed.
/// `hidden` is what no error repeats.
///
/// # Errors
/// When the server refuses, or cannot be reached.
pub async fn post_form(
    http: &HttpClient,
    url: &url::Url,
    pairs: &[(&str, &str)],
    hidden: &[&str],
) -> Result<Bytes, IdentityError> {
    let exchange = exchange::Exchange { hidden, ..exchange::Exchange::form(http, url, pairs) };
    exchange.send(http).await
}

/// How often `object_store` tries a request again: as often as downloads of layers are.
pub fn store_retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(15),
            base: 2.0,
        },
        max_retries: 5,
        // Of the whole transfer, so not to be reached by a large context.
        retry_timeout: Duration::from_secs(3600),
    }
}

/// Reads a file that has to be there.
fn read_needed(path: &std::path::Path) -> Result<String, IdentityError> {
    std::fs::read_to_string(path)
        .map_err(|source| IdentityError::ReadCredentials { path: path.to_owned(), source })
}
