//! Which registries are clouds' own, by their names; pure.
//!
//! A cloud's credential goes to nobody else, so names are compared label by label and to their end.

use crate::identity::azure::AzureCloud;
use crate::registry::host::RegistryHost;
use crate::registry::options::AmbientSource;

/// A cloud's own registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CloudRegistry {
    /// Amazon's, of one account.
    Ecr(EcrRegistry),
    /// Amazon's public one.
    EcrPublic,
    /// Google's: Container Registry and Artifact Registry.
    Google,
    /// Azure's.
    Acr(AzureCloud),
}

/// A registry of an account of Amazon's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EcrRegistry {
    /// The region.
    pub(super) region: String,
    /// The host that gives tokens for it.
    pub(super) api: String,
}

/// The ends of names of regions' services, in `ACCOUNT.dkr.ecr.REGION.…`.
const AMAZON: [&[&str]; 7] = [
    &["amazonaws", "com"],
    &["amazonaws", "com", "cn"],
    &["amazonaws", "eu"],
    &["sc2s", "sgov", "gov"],
    &["c2s", "ic", "gov"],
    &["cloud", "adc-e", "uk"],
    &["csp", "hci", "ic", "gov"],
];

/// The same of names that have addresses of both kinds, in `ACCOUNT.dkr-ecr.REGION.…`, and what the
/// services' own names end in.
const AMAZON_DUAL: [(&[&str], &str); 2] = [
    (&["on", "aws"], "api.aws"),
    (&["on", "amazonwebservices", "com", "cn"], "api.amazonwebservices.com.cn"),
];

const AZURE: [(&[&str], AzureCloud); 4] = [
    (&["azurecr", "io"], AzureCloud::Public),
    (&["azurecr", "cn"], AzureCloud::China),
    (&["azurecr", "de"], AzureCloud::Germany),
    (&["azurecr", "us"], AzureCloud::Government),
];

impl CloudRegistry {
    /// Returns the cloud's registry that `host` is; `None` when it is nobody's.
    pub(super) fn of(host: &RegistryHost) -> Option<Self> {
        // Another port would be another server.
        let name = host.as_str().strip_suffix(":443").unwrap_or(host.as_str());
        let labels: Vec<&str> = name.split('.').collect();
        if !labels.iter().all(|label| is_label(label)) {
            return None;
        }
        match labels.as_slice() {
            ["public", "ecr", "aws"] => Some(Self::EcrPublic),
            ["gcr", "io"] | [_, "gcr", "io"] | [_, "pkg", "dev"] => Some(Self::Google),
            [account, rest @ ..] if is_account(account) => ecr(rest).map(Self::Ecr),
            [_, rest @ ..] => {
                AZURE.iter().find(|(suffix, _)| *suffix == rest).map(|(_, cloud)| Self::Acr(*cloud))
            }
            [] => None,
        }
    }

    /// Returns what it takes to log in there.
    pub(super) fn source(&self) -> AmbientSource {
        match self {
            Self::Ecr(_) | Self::EcrPublic => AmbientSource::Ecr,
            Self::Google => AmbientSource::Google,
            Self::Acr(_) => AmbientSource::Acr,
        }
    }
}

/// Reads what follows the account.
fn ecr(labels: &[&str]) -> Option<EcrRegistry> {
    match labels {
        ["dkr", service @ ("ecr" | "ecr-fips"), region, suffix @ ..] => {
            let suffix = AMAZON.iter().find(|known| **known == suffix)?.join(".");
            let api = match *service {
                "ecr-fips" => format!("ecr-fips.{region}.{suffix}"),
                _ => format!("api.ecr.{region}.{suffix}"),
            };
            Some(EcrRegistry { region: (*region).to_owned(), api })
        }
        [service @ ("dkr-ecr" | "dkr-ecr-fips"), region, suffix @ ..] => {
            let (_, end) = AMAZON_DUAL.iter().find(|(known, _)| *known == suffix)?;
            let service = service.trim_start_matches("dkr-");
            Some(EcrRegistry {
                region: (*region).to_owned(),
                api: format!("{service}.{region}.{end}"),
            })
        }
        _ => None,
    }
}

fn is_account(label: &str) -> bool {
    label.len() == 12 && label.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str) -> Option<CloudRegistry> {
        CloudRegistry::of(&RegistryHost::new(host))
    }

    #[test]
    fn amazons_registries_have_their_regions_service() {
        let check = |host: &str, region: &str, api: &str| {
            let expected = EcrRegistry { region: region.to_owned(), api: api.to_owned() };
            assert_eq!(of(host), Some(CloudRegistry::Ecr(expected)), "{host}");
        };
        let account = |rest: &str| format!("123456789012.{rest}");
        check(
            &account("dkr.ecr.eu-west-1.amazonaws.com"),
            "eu-west-1",
            "api.ecr.eu-west-1.amazonaws.com",
        );
        check(
            &account("DKR.ECR.eu-west-1.amazonaws.com:443"),
            "eu-west-1",
            "api.ecr.eu-west-1.amazonaws.com",
        );
        check(
            &account("dkr.ecr.cn-north-1.amazonaws.com.cn"),
            "cn-north-1",
            "api.ecr.cn-north-1.amazonaws.com.cn",
        );
        check(
            &account("dkr.ecr.us-gov-west-1.amazonaws.com"),
            "us-gov-west-1",
            "api.ecr.us-gov-west-1.amazonaws.com",
        );
        check(
            &account("dkr.ecr-fips.us-gov-west-1.amazonaws.com"),
            "us-gov-west-1",
            "ecr-fips.us-gov-west-1.amazonaws.com",
        );
        check(
            &account("dkr.ecr.us-iso-east-1.c2s.ic.gov"),
            "us-iso-east-1",
            "api.ecr.us-iso-east-1.c2s.ic.gov",
        );
        check(
            &account("dkr.ecr.us-isob-east-1.sc2s.sgov.gov"),
            "us-isob-east-1",
            "api.ecr.us-isob-east-1.sc2s.sgov.gov",
        );
        check(
            &account("dkr.ecr.eusc-de-east-1.amazonaws.eu"),
            "eusc-de-east-1",
            "api.ecr.eusc-de-east-1.amazonaws.eu",
        );
        check(&account("dkr-ecr.us-west-2.on.aws"), "us-west-2", "ecr.us-west-2.api.aws");
        check(&account("dkr-ecr-fips.us-west-2.on.aws"), "us-west-2", "ecr-fips.us-west-2.api.aws");
        check(
            &account("dkr-ecr.cn-north-1.on.amazonwebservices.com.cn"),
            "cn-north-1",
            "ecr.cn-north-1.api.amazonwebservices.com.cn",
        );
        assert_eq!(of("public.ecr.aws"), Some(CloudRegistry::EcrPublic));
    }

    #[test]
    fn googles_and_azures_registries_are_known_by_their_ends() {
        for host in [
            "gcr.io",
            "eu.gcr.io",
            "GCR.io:443",
            "europe-west1-docker.pkg.dev",
            "us-docker.pkg.dev",
        ] {
            assert_eq!(of(host), Some(CloudRegistry::Google), "{host}");
        }
        for (host, cloud) in [
            ("acme.azurecr.io", AzureCloud::Public),
            ("Acme-hash.azurecr.io", AzureCloud::Public),
            ("acme.azurecr.cn", AzureCloud::China),
            ("acme.azurecr.de", AzureCloud::Germany),
            ("acme.azurecr.us:443", AzureCloud::Government),
        ] {
            assert_eq!(of(host), Some(CloudRegistry::Acr(cloud)), "{host}");
        }
    }

    #[test]
    fn what_only_looks_like_a_clouds_registry_is_nobodys() {
        for host in [
            "azurecr.io",
            ".azurecr.io",
            "xazurecr.io",
            "acme.xazurecr.io",
            "acme.azurecr.io.evil",
            "acme.azurecr.io.",
            "acme.azurecr.io:5000",
            "a.b.azurecr.io",
            "acme.azurecr.com",
            "acme.azurecr.io@evil.example",
            "user@acme.azurecr.io",
            "acme.azurecr.i\u{43e}",
            "xgcr.io",
            "gcr.io.evil",
            "gcr.io@evil",
            "gcr.io.",
            "gcr.io:5000",
            "a.b.gcr.io",
            "gcr.io.example",
            "pkg.dev",
            "xpkg.dev",
            "us-docker.pkg.dev.evil",
            "us-docker.xpkg.dev",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil",
            "123456789012.dkr.ecr.eu-west-1.xamazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.evil.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com:8443",
            "123456789012.dkr.ecr..amazonaws.com",
            "123456789012.dkr.ecr.amazonaws.com",
            "123456789012.dkr-ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.on.aws",
            "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
            "1234567890123.dkr.ecr.eu-west-1.amazonaws.com",
            "12345678901a.dkr.ecr.eu-west-1.amazonaws.com",
            "x.123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.e\u{443}-west-1.amazonaws.com",
            "dkr.ecr.eu-west-1.amazonaws.com",
            "ecr.aws",
            "xpublic.ecr.aws",
            "x.public.ecr.aws",
            "public.ecr.aws.evil",
            "registry.example",
            "localhost:5000",
            "",
        ] {
            assert_eq!(of(host), None, "{host}");
        }
    }
}
