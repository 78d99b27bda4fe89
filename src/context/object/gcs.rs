//! Objects of Google Cloud Storage.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use reqwest::Method;
use serde_json::Value;

use super::bridge::Bridge;
use super::error::ObjectError;
use super::metadata::{Question, ask};
use super::s3::read_file;
use super::{Found, get as get_object, log_identity, retries};
use crate::http::HttpClient;

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

/// How Google Cloud Storage is reached, and as whom. What is `None` was not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcsSettings {
    /// The URL of a stand-in, which wants no credentials (`STORAGE_EMULATOR_HOST`).
    pub emulator: Option<String>,
    /// A file with credentials (`GOOGLE_APPLICATION_CREDENTIALS`), which has to be there.
    pub credentials: Option<PathBuf>,
    /// Where gcloud leaves a user's credentials, which may be there.
    pub user_credentials: Option<PathBuf>,
    /// `host[:port]` of the metadata server.
    pub metadata_host: String,
}

/// As whom Google is asked.
enum Identity {
    File(PathBuf),
    Machine { token: String },
    Anonymous,
}

/// Asks for an object.
pub(super) async fn get(
    object: &GcsObject,
    settings: &GcsSettings,
    http: &HttpClient,
) -> Result<Found, ObjectError> {
    let identity = identity(settings, http).await?;
    let name = match &identity {
        Identity::File(_) => "credentials file",
        Identity::Machine { .. } => "machine's service account",
        Identity::Anonymous => "anonymous",
    };
    log_identity("Google Cloud Storage", name);
    let bridge = Bridge::new(http);
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&object.bucket)
        .with_retry(retries())
        .with_http_connector(bridge.clone());
    if let Some(url) = &settings.emulator {
        builder = builder.with_base_url(url);
    }
    let token = |bearer: &str| {
        let credential = GcpCredential { bearer: bearer.to_owned() };
        Arc::new(StaticCredentialProvider::new(credential))
    };
    builder = match &identity {
        Identity::File(path) => {
            let text =
                path.to_str().ok_or_else(|| unusable(path, "its path is not valid UTF-8"))?;
            builder.with_application_credentials(text)
        }
        Identity::Machine { token: bearer } => builder.with_credentials(token(bearer)),
        // A credential is set all the same: without one, it would look for one itself.
        Identity::Anonymous => builder.with_credentials(token("")).with_skip_signature(true),
    };
    let store = builder.build().map_err(|error| bridge.explain(&error))?;
    let found = get_object(&store, bridge, &object.path).await;
    match identity {
        Identity::Anonymous => found.map_err(|error| error.anonymous(LOOKED)),
        _ => found,
    }
}

async fn identity(settings: &GcsSettings, http: &HttpClient) -> Result<Identity, ObjectError> {
    if settings.emulator.is_some() {
        return Ok(Identity::Anonymous);
    }
    if let Some(path) = &settings.credentials {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ObjectError::ReadCredentials { path: path.clone(), source })?;
        check(path, &text)?;
        return Ok(Identity::File(path.clone()));
    }
    if let Some(path) = &settings.user_credentials
        && let Some(text) = read_file(path)?
    {
        check(path, &text)?;
        return Ok(Identity::File(path.clone()));
    }
    let host = &settings.metadata_host;
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
    let header = ("metadata-flavor", "Google");
    let Some(answer) = ask(http, &Question { method: Method::GET, url: &url, header }).await else {
        return Ok(Identity::Anonymous);
    };
    match serde_json::from_slice::<Value>(&answer).ok().as_ref().map(|value| &value["access_token"])
    {
        Some(Value::String(token)) => Ok(Identity::Machine { token: token.clone() }),
        _ => Err(ObjectError::Metadata {
            host: host.clone(),
            reason: "there is no `access_token` in its answer".to_owned(),
        }),
    }
}

/// Refuses a file of a kind that cannot be used, by name.
fn check(path: &Path, text: &str) -> Result<(), ObjectError> {
    let value: Value = serde_json::from_str(text)
        // The error's text may quote the file.
        .map_err(|error| unusable(path, &format!("no JSON at line {}", error.line())))?;
    match value["type"].as_str() {
        Some("service_account" | "authorized_user") => Ok(()),
        Some(kind) => {
            Err(unusable(path, &format!("credentials of type `{kind}` are not supported")))
        }
        None => Err(unusable(path, "it has no `type`")),
    }
}

fn unusable(path: &Path, reason: &str) -> ObjectError {
    ObjectError::Credentials { path: path.to_owned(), reason: reason.to_owned() }
}
