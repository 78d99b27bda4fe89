//! Roles that one identity takes on with another's keys.

use url::Url;

use super::super::error::IdentityError;
use super::super::exchange::encoded;
use super::profile::Profile;
use super::sign::AwsCall;
use super::{Aws, AwsKeys, FIRST_REGION};
use crate::http::HttpClient;
use crate::secret::Secret;

/// What a session is called where a profile does not say it.
const SESSION: &str = "zuwai";

/// A role that a profile names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AssumedRole {
    pub(super) base: RoleBase,
    role: String,
    session: Option<String>,
    external_id: Option<String>,
}

/// With whose keys a role is taken on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RoleBase {
    /// Those of another profile, or of the same.
    Profile(String),
    /// Those of the environment.
    Environment,
    /// Those from beside the container.
    Container,
    /// The machine's.
    Machine,
    /// Something else.
    Unknown(String),
}

impl AssumedRole {
    /// Returns the role of a profile that says with whose keys it is taken on.
    pub(super) fn of(profile: &Profile) -> Option<Self> {
        let value = |key: &str| profile.get(key).filter(|text| !text.is_empty()).cloned();
        let base = match (value("source_profile"), value("credential_source").as_deref()) {
            (Some(name), _) => RoleBase::Profile(name),
            (None, Some("Environment")) => RoleBase::Environment,
            (None, Some("EcsContainer")) => RoleBase::Container,
            (None, Some("Ec2InstanceMetadata")) => RoleBase::Machine,
            (None, Some(other)) => RoleBase::Unknown(other.to_owned()),
            (None, None) => return None,
        };
        Some(Self {
            base,
            role: value("role_arn")?,
            session: value("role_session_name"),
            external_id: value("external_id"),
        })
    }
}

impl Aws {
    /// Takes on a role.
    pub(super) async fn assume(
        &self,
        role: &AssumedRole,
        keys: &AwsKeys,
        http: &HttpClient,
    ) -> Result<AwsKeys, IdentityError> {
        let region = self.region()?.unwrap_or_else(|| FIRST_REGION.to_owned());
        let url = match &self.settings.sts_endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("https://sts.{region}.{}/", dns_suffix(&region)),
        };
        let url = Url::parse(&url).map_err(|error| IdentityError::Variable {
            variable: "AWS_ENDPOINT_URL_STS",
            reason: error.to_string(),
        })?;
        let mut pairs = vec![
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", &role.role),
            ("RoleSessionName", role.session.as_deref().unwrap_or(SESSION)),
        ];
        pairs.extend(role.external_id.as_deref().map(|id| ("ExternalId", id)));
        let call = AwsCall {
            service: "sts",
            region: &region,
            url: &url,
            content_type: "application/x-www-form-urlencoded",
            target: None,
            body: encoded(&pairs),
        };
        let answer = call.send(keys, http).await?;
        let text = String::from_utf8_lossy(&answer);
        let element = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            let (inner, _) = rest.split_once(&format!("</{name}>"))?;
            Some(inner.trim().to_owned())
        };
        let given = || {
            Some(AwsKeys {
                id: element("AccessKeyId")?,
                secret: Secret::new(element("SecretAccessKey")?),
                token: Some(Secret::new(element("SessionToken")?)),
            })
        };
        given().ok_or_else(|| IdentityError::Answer {
            host: url.host_str().unwrap_or_default().to_owned(),
            reason: "it holds no keys",
        })
    }
}

/// Returns the end of the names of a region's services.
fn dns_suffix(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "amazonaws.com.cn",
        _ if region.starts_with("us-iso-") => "c2s.ic.gov",
        _ if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        _ if region.starts_with("eusc-") => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}
