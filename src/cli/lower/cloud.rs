//! As whom clouds are asked, from the environment: the variables of the clouds' own libraries.

use std::path::PathBuf;

use crate::cli::env::{Environment, Facts};
use crate::cli::error::Error;
use crate::context::object::{AzureStoreSettings, GcsSettings, PathStyle, S3Settings};
use crate::identity::aws::{
    AwsKeys, AwsSettings, ContainerCredentials, ContainerToken, MetadataService, SharedFiles,
    WebIdentity,
};
use crate::identity::azure::{AzureSettings, IdentityEndpoint};
use crate::identity::google::GoogleSettings;
use crate::secret::Secret;

/// Reads what Amazon's libraries read.
pub fn aws(environment: &Environment, facts: &Facts) -> Result<AwsSettings, Error> {
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
    let relative = text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")?;
    let container = match (relative, text("AWS_CONTAINER_CREDENTIALS_FULL_URI")?) {
        (Some(path), _) => Some(ContainerCredentials::Relative(path)),
        (None, Some(url)) => {
            let token_file = file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", environment, facts);
            let token = match (token_file, secret("AWS_CONTAINER_AUTHORIZATION_TOKEN")?) {
                (Some(file), _) => ContainerToken::File(file),
                (None, Some(token)) => ContainerToken::Text(token),
                (None, None) => ContainerToken::None,
            };
            Some(ContainerCredentials::Full { url, token })
        }
        (None, None) => None,
    };
    let shared = |name: &str, usual: &str| {
        file(name, environment, facts).or_else(|| at_home(usual, environment, facts))
    };
    Ok(AwsSettings {
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
        program_directories: environment.paths("PATH"),
        program_environment: environment.all(),
    })
}

/// Reads the same, and kaniko's two variables.
pub fn s3(environment: &Environment, facts: &Facts) -> Result<S3Settings, Error> {
    Ok(S3Settings {
        endpoint: environment.filled("S3_ENDPOINT")?.map(str::to_owned),
        path_style: match is_true("S3_FORCE_PATH_STYLE", environment)? {
            true => PathStyle::Forced,
            false => PathStyle::VirtualHost,
        },
        aws: aws(environment, facts)?,
    })
}

/// Reads what Google's libraries read.
pub fn google(environment: &Environment, facts: &Facts) -> Result<GoogleSettings, Error> {
    let user_credentials = match file("CLOUDSDK_CONFIG", environment, facts) {
        Some(directory) => Some(directory),
        None => at_home(".config/gcloud", environment, facts),
    };
    let metadata_host = environment.filled("GCE_METADATA_HOST")?.map(str::to_owned);
    Ok(GoogleSettings {
        credentials: file("GOOGLE_APPLICATION_CREDENTIALS", environment, facts),
        user_credentials: user_credentials
            .map(|directory| directory.join("application_default_credentials.json")),
        metadata_host: metadata_host.unwrap_or(GoogleSettings::default().metadata_host),
    })
}

/// Reads the same, and the variable of stand-ins.
pub fn gcs(environment: &Environment, facts: &Facts) -> Result<GcsSettings, Error> {
    let emulator = environment
        .filled("STORAGE_EMULATOR_HOST")?
        .map(|host| if host.contains("://") { host.to_owned() } else { format!("http://{host}") });
    Ok(GcsSettings { emulator, google: google(environment, facts)? })
}

/// Reads what Azure's libraries read.
pub fn azure(environment: &Environment, facts: &Facts) -> Result<AzureSettings, Error> {
    let text = |name: &str| Ok::<_, Error>(environment.filled(name)?.map(str::to_owned));
    let secret = |name: &str| Ok::<_, Error>(environment.filled(name)?.map(Secret::new));
    Ok(AzureSettings {
        file: None,
        client: text("AZURE_CLIENT_ID")?,
        tenant: text("AZURE_TENANT_ID")?,
        client_secret: secret("AZURE_CLIENT_SECRET")?,
        client_certificate: file("AZURE_CLIENT_CERTIFICATE_PATH", environment, facts),
        federated_token_file: file("AZURE_FEDERATED_TOKEN_FILE", environment, facts),
        authority: text("AZURE_AUTHORITY_HOST")?,
        endpoint: match (text("IDENTITY_ENDPOINT")?, secret("IDENTITY_HEADER")?) {
            (Some(url), Some(header)) => Some(IdentityEndpoint { url, header }),
            _ => None,
        },
    })
}

/// Reads the same, and kaniko's variable.
pub fn azure_store(environment: &Environment, facts: &Facts) -> Result<AzureStoreSettings, Error> {
    Ok(AzureStoreSettings {
        access_key: environment.filled("AZURE_STORAGE_ACCESS_KEY")?.map(Secret::new),
        azure: azure(environment, facts)?,
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
