//! Credentials for registries that are in variables, or with a cloud.

use super::cloud;
use crate::cli::env::{Environment, Facts};
use crate::cli::error::Error;
use crate::identity::azure::AzureSettings;
use crate::registry::{AmbientCredentials, AmbientSource, HostPassword};
use crate::secret::Secret;

/// The flag that says which may be used.
const FLAG: &str = "--credential-helpers";

/// GitLab's variables of a registry, user name and password, that its jobs have.
const GITLAB: [(&str, &str, &str); 2] = [
    ("CI_REGISTRY", "CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD"),
    ("CI_DEPENDENCY_PROXY_SERVER", "CI_DEPENDENCY_PROXY_USER", "CI_DEPENDENCY_PROXY_PASSWORD"),
];

/// Reads them; `helpers` is what was given with the flag, if it was, and `azure_file` a file for
/// registries of Azure's, or nothing.
pub fn ambient(
    helpers: &[String],
    azure_file: &str,
    environment: &Environment,
    facts: &Facts,
) -> Result<AmbientCredentials, Error> {
    let text = |name: &str| Ok::<_, Error>(environment.filled(name)?.map(str::to_owned));
    let secret = |name: &str| Ok::<_, Error>(environment.filled(name)?.map(Secret::new));
    let mut passwords = Vec::new();
    for (host, user, password) in GITLAB {
        if let (Some(host), Some(username), Some(secret)) =
            (text(host)?, text(user)?, secret(password)?)
        {
            passwords.push(HostPassword { host, username, password: secret, variable: password });
        }
    }
    Ok(AmbientCredentials {
        sources: sources(helpers)?,
        aws: cloud::aws(environment, facts)?,
        google: cloud::google(environment, facts)?,
        azure: AzureSettings {
            file: (!azure_file.is_empty()).then(|| facts.current_directory.join(azure_file)),
            ..cloud::azure(environment, facts)?
        },
        ecr_endpoint: text("AWS_ENDPOINT_URL_ECR")?,
        ecr_public_endpoint: text("AWS_ENDPOINT_URL_ECR_PUBLIC")?,
        document: secret("DOCKER_AUTH_CONFIG")?,
        passwords,
    })
}

/// All of them, unless the flag names some; an empty name is none.
fn sources(helpers: &[String]) -> Result<Vec<AmbientSource>, Error> {
    use AmbientSource::{Acr, Ecr, GitLab, Google};
    if helpers.is_empty() {
        return Ok(vec![Google, Ecr, Acr, GitLab]);
    }
    let mut sources = Vec::new();
    for name in helpers.iter().flat_map(|names| names.split(',')).map(str::trim) {
        let source = match name {
            "" => continue,
            "google" => Google,
            "ecr" => Ecr,
            "acr" => Acr,
            "gitlab" => GitLab,
            other => {
                let reason = "expected one of google, ecr, acr, gitlab, or nothing for none";
                return Err(Error::WrongValue {
                    flag: FLAG,
                    value: other.to_owned(),
                    reason: reason.to_owned(),
                });
            }
        };
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    sources.sort();
    Ok(sources)
}
