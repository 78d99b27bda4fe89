//! Archives in buckets of S3, Google Cloud Storage and Azure.
//!
//! Owns how a bucket is reached and as whom; signing, retries and resumption are `object_store`'s,
//! connections are those of [`crate::http`], and who asks is for [`crate::identity`] to find out. The
//! idea to hold in mind: everything that decides is in the settings, which `cli` made from the
//! environment.

mod azure;
mod error;
mod gcs;
mod s3;

use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetResult, ObjectStore};

pub use azure::{AzureBlob, AzureStoreSettings};
pub use error::ObjectError;
pub use gcs::{GcsObject, GcsSettings};
pub use s3::{PathStyle, S3Object, S3Settings};

use super::stream::{Ended, PieceSink};
use crate::http::{HttpClient, write_blocking};
use crate::identity::{Bridge, UNKNOWN_BYTES};
use crate::report::event::Gauge;

/// An archive in a bucket, and as whom to ask for it.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectSource {
    /// `s3://BUCKET/KEY`.
    S3 {
        /// The object.
        object: S3Object,
        /// How it is reached.
        settings: Box<S3Settings>,
    },
    /// `gs://BUCKET/PATH`.
    Gcs {
        /// The object.
        object: GcsObject,
        /// How it is reached.
        settings: GcsSettings,
    },
    /// `https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB`.
    Azure {
        /// The blob.
        blob: AzureBlob,
        /// How it is reached.
        settings: AzureStoreSettings,
    },
}

impl ObjectSource {
    /// Returns what to call it in messages.
    pub fn name(&self) -> String {
        match self {
            Self::S3 { object, .. } => format!("s3://{}/{}", object.bucket, object.key),
            Self::Gcs { object, .. } => format!("gs://{}/{}", object.bucket, object.path),
            Self::Azure { blob, .. } => blob.url(),
        }
    }

    /// Downloads it into `sink`.
    pub(super) async fn download(
        &self,
        http: &HttpClient,
        gauge: &Gauge,
        sink: &mut PieceSink,
    ) -> Result<(), Failed> {
        match self {
            Self::S3 { object, settings } => {
                let found = s3::get(object, settings, http).await?;
                found.send(gauge, sink).await
            }
            Self::Gcs { object, settings } => {
                let found = gcs::get(object, settings, http).await?;
                found.send(gauge, sink).await
            }
            Self::Azure { blob, settings } => {
                let found = azure::get(blob, settings, http).await?;
                found.send(gauge, sink).await
            }
        }
    }
}

/// Why an object did not arrive.
pub(super) enum Failed {
    /// Nobody reads on.
    Unread,
    /// It cannot be had.
    Object(ObjectError),
}

impl From<ObjectError> for Failed {
    fn from(error: ObjectError) -> Self {
        Self::Object(error)
    }
}

impl Failed {
    /// Adds the context's name.
    pub(super) fn named(self, name: String) -> Ended {
        match self {
            Self::Unread => Ended::Unread,
            Self::Object(source) => {
                Ended::Failed(super::ContextError::Object { name, source: Box::new(source) })
            }
        }
    }
}

/// An object whose bytes are on their way.
struct Found {
    object: GetResult,
    bridge: Bridge,
}

impl Found {
    async fn send(self, gauge: &Gauge, sink: &mut PieceSink) -> Result<(), Failed> {
        if self.object.meta.size != UNKNOWN_BYTES {
            gauge.set_total(self.object.meta.size);
        }
        let mut pieces = self.object.into_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| ObjectError::from(self.bridge.explain(&error)))?;
            write_blocking(sink, &piece).map_err(|_| Failed::Unread)?;
            gauge.add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

/// Asks a store for an object.
async fn get(store: &impl ObjectStore, bridge: Bridge, key: &str) -> Result<Found, ObjectError> {
    let path = Path::parse(key)
        .map_err(|source| ObjectError::Key { key: key.to_owned(), source: Box::new(source) })?;
    match store.get_opts(&path, GetOptions::default()).await {
        Ok(object) => Ok(Found { object, bridge }),
        Err(error) => Err(bridge.explain(&error).into()),
    }
}

/// Says as whom a store is asked.
fn log_identity(store: &str, identity: &str) {
    tracing::info!(store, identity, "asking for the build context");
}
