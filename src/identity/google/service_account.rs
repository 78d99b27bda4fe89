//! A service account with its key: a claim that it signs itself is exchanged for a token (RFC 7523).

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::super::CloudToken;
use super::super::error::IdentityError;
use super::{CredentialsFile, SCOPE, TOKEN_SERVER};
use crate::http::HttpClient;

/// How long a claim may be exchanged; Google allows an hour at most.
const CLAIM: Duration = Duration::from_secs(3600);

impl CredentialsFile {
    pub(super) async fn service_account_token(
        &self,
        http: &HttpClient,
    ) -> Result<CloudToken, IdentityError> {
        let server = self.content["token_uri"].as_str().unwrap_or(TOKEN_SERVER);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let claims = json!({
            "iss": self.text("client_email")?,
            "scope": SCOPE,
            "aud": server,
            "iat": now.as_secs(),
            "exp": (now + CLAIM).as_secs(),
        });
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let Some(id) = self.content["private_key_id"].as_str() {
            header["kid"] = id.into();
        }
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claim = format!("{}.{}", part(&header), part(&claims));
        let signature = self.sign(claim.as_bytes())?;
        let assertion = format!("{claim}.{}", URL_SAFE_NO_PAD.encode(signature));
        let pairs = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion.as_str()),
        ];
        self.exchange(http, server, &pairs, &[&assertion], "service account's key").await
    }

    /// Signs with the account's key, in the way that TLS calls RSA_PKCS1_SHA256 and JWT calls RS256.
    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let unusable = || self.unusable("`private_key` is not an RSA key");
        let key = PrivateKeyDer::from_pem_slice(self.text("private_key")?.as_bytes())
            .map_err(|_| unusable())?;
        let key = any_supported_type(&key).map_err(|_| unusable())?;
        let signer =
            key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or_else(unusable)?;
        signer.sign(text).map_err(|_| unusable())
    }
}
