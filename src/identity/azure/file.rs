//! The file that tells Kubernetes as whom a node asks Azure: `azure.json`.

use serde::Deserialize;

use super::AzureSettings;
use crate::identity::error::IdentityError;
use crate::identity::kept::KeptFile;
use crate::secret::Secret;

/// What a node of AKS has in the place of an application that it does not need.
const MACHINE: &str = "msi";

/// Those fields of Kubernetes' `AzureAuthConfig` that say as whom.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    #[serde(default)]
    tenant_id: String,
    #[serde(default)]
    aad_client_id: String,
    #[serde(default)]
    aad_client_secret: String,
    #[serde(default)]
    aad_client_cert_path: String,
    #[serde(default)]
    use_managed_identity_extension: bool,
    #[serde(default, rename = "userAssignedIdentityID")]
    user_assigned_identity: String,
}

/// Returns what a file says; where tokens are given is still as in `others`.
///
/// # Errors
/// When it cannot be read, is not JSON, or names nobody that can be used.
pub(super) fn read(
    file: &KeptFile,
    others: &AzureSettings,
) -> Result<AzureSettings, IdentityError> {
    let path = file.path();
    let fields: Fields = serde_json::from_str(file.needed()?).map_err(|error| {
        // Its own words may repeat a value.
        let reason = format!("it is not the expected JSON at line {}", error.line());
        IdentityError::unusable(path, reason)
    })?;
    let places = AzureSettings {
        authority: others.authority.clone(),
        endpoint: others.endpoint.clone(),
        ..AzureSettings::default()
    };
    if fields.use_managed_identity_extension {
        let client = Some(fields.user_assigned_identity).filter(|id| !id.is_empty());
        return Ok(AzureSettings { client, ..places });
    }
    let is_application = [&fields.tenant_id, &fields.aad_client_id, &fields.aad_client_secret]
        .iter()
        .all(|field| !field.is_empty() && *field != MACHINE);
    if is_application {
        return Ok(AzureSettings {
            client: Some(fields.aad_client_id),
            tenant: Some(fields.tenant_id),
            client_secret: Some(Secret::new(fields.aad_client_secret)),
            ..places
        });
    }
    let reason = match fields.aad_client_cert_path.is_empty() {
        true => {
            "it has neither `tenantId`, `aadClientId` and `aadClientSecret` nor \
             `useManagedIdentityExtension`"
        }
        false => "certificates of applications (`aadClientCertPath`) are not supported",
    };
    Err(IdentityError::unusable(path, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<AzureSettings, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("azure.json");
        std::fs::write(&path, text).unwrap();
        let others = AzureSettings {
            client: Some("of the environment".to_owned()),
            authority: Some("https://login.example".to_owned()),
            ..AzureSettings::default()
        };
        read(&KeptFile::read(&path), &others)
            .map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn an_application_or_the_machine_is_named() {
        let places = AzureSettings {
            authority: Some("https://login.example".to_owned()),
            ..AzureSettings::default()
        };
        let text = r#"{"cloud": "AzurePublicCloud", "tenantId": "t", "aadClientId": "c",
            "aadClientSecret": "s", "useManagedIdentityExtension": false}"#;
        let application = AzureSettings {
            client: Some("c".to_owned()),
            tenant: Some("t".to_owned()),
            client_secret: Some(Secret::new("s")),
            ..places.clone()
        };
        assert_eq!(said(text), Ok(application));
        let text = r#"{"tenantId": "t", "aadClientId": "msi", "aadClientSecret": "msi",
            "useManagedIdentityExtension": true, "userAssignedIdentityID": "u"}"#;
        let machine = AzureSettings { client: Some("u".to_owned()), ..places.clone() };
        assert_eq!(said(text), Ok(machine));
        let text = r#"{"useManagedIdentityExtension": true, "userAssignedIdentityID": ""}"#;
        assert_eq!(said(text), Ok(places));
    }

    #[test]
    fn what_cannot_be_used_is_said_without_its_values() {
        for (text, reason) in [
            (r#"{"aadClientSecret": hunter2}"#, "it is not the expected JSON at line 1"),
            (
                r#"{"tenantId": "t", "aadClientId": "msi", "aadClientSecret": "msi"}"#,
                "it has neither `tenantId`, `aadClientId` and `aadClientSecret` nor \
                 `useManagedIdentityExtension`",
            ),
            (
                r#"{"tenantId": "t", "aadClientId": "c", "aadClientCertPath": "/c.pfx"}"#,
                "certificates of applications (`aadClientCertPath`) are not supported",
            ),
        ] {
            let expected = format!("cannot use the credentials in `FILE`: {reason}");
            assert_eq!(said(text), Err(expected));
        }
    }
}
