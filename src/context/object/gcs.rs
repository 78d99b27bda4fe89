//! Objects of Google Cloud Storage.

use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};

use super::error::ObjectError;
use super::{Found, get as get_object, log_identity};
use crate::http::HttpClient;
use crate::identity::google::{Google, GoogleIdentity, GoogleSettings};
use crate::identity::{Bridge, IdentityError, store_retries};

const LOOKED: &str = "`GOOGLE_APPLICATION_CREDENTIALS`, gcloud's application default credentials, \
                      and on the metadata server";

/// An object of Google Cloud Storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcsObject {
    /// The bucket.
    pub bucket: String,
    /// The object's name, without a slash at its start.
    pub path: String,
}

/// How Google Cloud Storage is reached, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcsSettings {
    /// The URL of a stand-in, which wants no credentials (`STORAGE_EMULATOR_HOST`).
    pub emulator: Option<String>,
    /// As whom.
    pub google: GoogleSettings,
}

/// Asks for an object.
pub(super) async fn get(
    object: &GcsObject,
    settings: &GcsSettings,
    http: &HttpClient,
) -> Result<Found, ObjectError> {
    let identity = match settings.emulator {
        Some(_) => None,
        None => Google::new(&settings.google).identify(http).await?,
    };
    let name = identity.as_ref().map_or("anonymous", GoogleIdentity::name);
    log_identity("Google Cloud Storage", name);
    let bridge = Bridge::new(http);
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&object.bucket)
        .with_retry(store_retries())
        .with_http_connector(bridge.clone());
    if let Some(url) = &settings.emulator {
        builder = builder.with_base_url(url);
    }
    let token = |bearer: &str| {
        let credential = GcpCredential { bearer: bearer.to_owned() };
        Arc::new(StaticCredentialProvider::new(credential))
    };
    builder = match &identity {
        // Of those it gets new tokens itself, should a download take an hour.
        Some(GoogleIdentity::File(file)) if !file.is_external() => {
            let text = file.path().to_str().ok_or_else(|| IdentityError::Credentials {
                path: file.path().to_owned(),
                reason: "its path is not valid UTF-8".to_owned(),
            })?;
            builder.with_application_credentials(text)
        }
        Some(GoogleIdentity::File(file)) => {
            builder.with_credentials(token(file.token(http).await?.text.expose()))
        }
        Some(GoogleIdentity::Machine(given)) => {
            builder.with_credentials(token(given.text.expose()))
        }
        // A credential is set all the same: without one, it would look for one itself.
        None => builder.with_credentials(token("")).with_skip_signature(true),
    };
    let store = builder.build().map_err(|error| bridge.explain(&error))?;
    let found = get_object(&store, bridge, &object.path).await;
    match identity {
        None => found.map_err(|error| error.anonymous(LOOKED)),
        Some(_) => found,
    }
}
