//! What one side of a TLS connection believes and shows: roots, verification, client certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::error::HttpError;
use super::roots;

/// Whether a server's certificate is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verification {
    /// Yes, against the roots and the host's name.
    #[default]
    Required,
    /// No: anyone on the way can read and change everything.
    Skipped,
}

/// A client certificate to show when the server asks for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// A PEM file with the chain, own certificate first.
    pub certificate: PathBuf,
    /// A PEM file with its private key.
    pub key: PathBuf,
}

/// What to believe and show for some hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrustRequest {
    /// Whether the server's certificate is checked.
    pub verification: Verification,
    /// PEM files of authorities beside the usual ones.
    pub authorities: Vec<PathBuf>,
    /// Shown when the server asks.
    pub client_certificate: Option<ClientCertificate>,
}

/// A loaded [`TrustRequest`]; cheap to clone, equal only to its clones.
#[derive(Clone, Debug)]
pub struct Trust {
    pub(super) config: Arc<ClientConfig>,
}

impl Trust {
    /// Reads the files of `request` and builds the TLS side of connections from them.
    pub(super) fn load(
        provider: &Arc<CryptoProvider>,
        usual_roots: &Arc<RootCertStore>,
        request: &TrustRequest,
    ) -> Result<Self, HttpError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map_err(HttpError::Tls)?;
        let builder = match request.verification {
            Verification::Required => {
                builder.with_root_certificates(with_authorities(usual_roots, &request.authorities)?)
            }
            Verification::Skipped => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAny(Arc::clone(provider)))),
        };
        let mut config = match &request.client_certificate {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(chain(&own.certificate)?, private_key(&own.key)?)
                .map_err(|source| HttpError::Certificate {
                    path: own.certificate.clone(),
                    source,
                })?,
        };
        // HTTP/1.1 only: one connection per transfer moves large blobs as fast, and an upload's
        // failure then concerns that upload alone (kaniko's forks switch HTTP/2 off for this).
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config) })
    }
}

fn with_authorities(
    usual: &Arc<RootCertStore>,
    files: &[PathBuf],
) -> Result<Arc<RootCertStore>, HttpError> {
    if files.is_empty() {
        return Ok(Arc::clone(usual));
    }
    let mut store = RootCertStore::clone(usual);
    for path in files {
        for certificate in chain(path)? {
            store
                .add(certificate)
                .map_err(|source| HttpError::Certificate { path: path.clone(), source })?;
        }
    }
    Ok(Arc::new(store))
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let certificates = roots::read_pem(path)
        .map_err(|source| HttpError::ReadCertificate { path: path.to_owned(), source })?;
    if certificates.is_empty() {
        return Err(HttpError::NoCertificate {
            expected: "PEM certificate",
            path: path.to_owned(),
        });
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, HttpError> {
    let bytes = std::fs::read(path)
        .map_err(|source| HttpError::ReadCertificate { path: path.to_owned(), source })?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| HttpError::NoCertificate {
        // The parser's own error could quote the file.
        expected: "unencrypted PEM private key",
        path: path.to_owned(),
    })
}

/// Accepts any certificate, but still wants the handshake to be signed with its key.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(request: &TrustRequest) -> Result<Trust, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Trust::load(&provider, &Arc::new(RootCertStore::empty()), request)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn files_that_do_not_hold_what_they_should_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty.pem");
        std::fs::write(&empty, "nothing here").unwrap();
        let missing = directory.path().join("missing.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = directory.path().join("own.pem");
        let own = rcgen::CertificateParams::new(vec!["me".into()]).unwrap();
        std::fs::write(&certificate, own.self_signed(&key).unwrap().pem()).unwrap();
        let key_file = directory.path().join("own.key");
        std::fs::write(&key_file, key.serialize_pem()).unwrap();

        let authority = |path: &PathBuf| {
            load(&TrustRequest { authorities: vec![path.clone()], ..TrustRequest::default() })
        };
        assert_eq!(
            authority(&missing).unwrap_err(),
            format!("cannot read `{}`", missing.display())
        );
        assert_eq!(
            authority(&empty).unwrap_err(),
            format!("no PEM certificate in `{}`", empty.display())
        );
        assert!(authority(&certificate).is_ok());

        let client = |certificate: &PathBuf, key: &PathBuf| {
            load(&TrustRequest {
                client_certificate: Some(ClientCertificate {
                    certificate: certificate.clone(),
                    key: key.clone(),
                }),
                ..TrustRequest::default()
            })
        };
        assert!(client(&certificate, &key_file).is_ok());
        assert_eq!(
            client(&certificate, &empty).unwrap_err(),
            format!("no unencrypted PEM private key in `{}`", empty.display())
        );
        let other_key = directory.path().join("other.key");
        std::fs::write(&other_key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert_eq!(
            client(&certificate, &other_key).unwrap_err(),
            format!("cannot set up TLS with `{}`", certificate.display())
        );
    }
}
