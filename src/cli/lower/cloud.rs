//! As whom buckets are asked, from the environment: the variables of the clouds' own libraries.

use std::path::PathBuf;

use crate::cli::env::{Environment, Facts};
use crate::cli::error::Error;
use crate::context::object::{
    AwsKeys, AzureSettings, ContainerCredentials, GcsSettings, MetadataService, PathStyle,
    S3Settings, SharedFiles, WebIdentity,
};
use crate::secret::Secret;

/// Reads what Amazon's libraries read, and kaniko's two variables.
pub fn s3(environment: &Environment, facts: &Facts) -> Result<S3Settings, Error> {
    let text = |name: &str| Ok::<_, Error>(environment.filled(name)?.map(str::to_owned));
    let secret = |name: &str| Ok::<_, Error>(environment.filled(name)?.map(Secret::new));
    let keys = match (text("AWS_ACCESS_KEY_ID")?, secret("AWS_SECRET_ACCESS_KEY")?) {
        (Some(id), Some(key)) => {
            Some(AwsKeys { id, secret: key, token: secret("AWS_SESSION_TOKEN")? })
        }
        _ => None,
    };
    let web_identity =
        match (file("AWS_WEB_IDENTITY_TOKEN_FILE", environment, facts), text("AWS_ROLE_ARN")?) {
            (Some(token_file), Some(role)) => {
                Some(WebIdentity { token_file, role, session: text("AWS_ROLE_SESSION_NAME")? })
            }
            _ => None,
        };
    let token_file = file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", environment, facts);
    let container = match (text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")?, token_file) {
        (Some(path), _) => Some(ContainerCredentials::Relative(path)),
        (None, Some(token_file)) => text("AWS_CONTAINER_CREDENTIALS_FULL_URI")?
            .map(|url| ContainerCredentials::Full { url, token_file }),
        (None, None) => None,
    };
    let shared = |name: &str, usual: &str| {
        file(name, environment, facts).or_else(|| at_home(usual, environment, facts))
    };
    Ok(S3Settings {
        endpoint: text("S3_ENDPOINT")?,
        path_style: match is_true("S3_FORCE_PATH_STYLE", environment)? {
            true => PathStyle::Forced,
            false => PathStyle::VirtualHost,
        },
        region: text("AWS_REGION")?.or(text("AWS_DEFAULT_REGION")?),
        keys,
        web_identity,
        sts_endpoint: text("AWS_ENDPOINT_URL_STS")?,
        shared: SharedFiles {
            credentials: shared("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
            config: shared("AWS_CONFIG_FILE", ".aws/config"),
            profile: text("AWS_PROFILE")?,
        },
        container,
        metadata: match text("AWS_EC2_METADATA_SERVICE_ENDPOINT")? {
            _ if is_true("AWS_EC2_METADATA_DISABLED", environment)? => MetadataService::Disabled,
            Some(url) => MetadataService::At(url),
            None => MetadataService::Usual,
        },
    })
}

/// Reads what Google's libraries read.
pub fn gcs(environment: &Environment, facts: &Facts) -> Result<GcsSettings, Error> {
    let emulator = environment
        .filled("STORAGE_EMULATOR_HOST")?
        .map(|host| if host.contains("://") { host.to_owned() } else { format!("http://{host}") });
    let user_credentials = match file("CLOUDSDK_CONFIG", environment, facts) {
        Some(directory) => Some(directory),
        None => at_home(".config/gcloud", environment, facts),
    };
    Ok(GcsSettings {
        emulator,
        credentials: file("GOOGLE_APPLICATION_CREDENTIALS", environment, facts),
        user_credentials: user_credentials
            .map(|directory| directory.join("application_default_credentials.json")),
        metadata_host: environment
            .filled("GCE_METADATA_HOST")?
            .unwrap_or("metadata.google.internal")
            .to_owned(),
    })
}

/// Reads kaniko's variable, and what Azure's libraries read.
pub fn azure(environment: &Environment, facts: &Facts) -> Result<AzureSettings, Error> {
    let text = |name: &str| Ok::<_, Error>(environment.filled(name)?.map(str::to_owned));
    let secret = |name: &str| Ok::<_, Error>(environment.filled(name)?.map(Secret::new));
    Ok(AzureSettings {
        access_key: secret("AZURE_STORAGE_ACCESS_KEY")?,
        client: text("AZURE_CLIENT_ID")?,
        tenant: text("AZURE_TENANT_ID")?,
        client_secret: secret("AZURE_CLIENT_SECRET")?,
        federated_token_file: file("AZURE_FEDERATED_TOKEN_FILE", environment, facts),
        authority: text("AZURE_AUTHORITY_HOST")?,
    })
}

fn file(name: &str, environment: &Environment, facts: &Facts) -> Option<PathBuf> {
    environment.path(name).map(|path| facts.current_directory.join(path))
}

fn at_home(path: &str, environment: &Environment, facts: &Facts) -> Option<PathBuf> {
    file("HOME", environment, facts).map(|home| home.join(path))
}

/// Says what kaniko and Amazon's libraries say: only the word itself is true.
fn is_true(name: &str, environment: &Environment) -> Result<bool, Error> {
    Ok(environment.filled(name)?.is_some_and(|value| value.eq_ignore_ascii_case("true")))
}
