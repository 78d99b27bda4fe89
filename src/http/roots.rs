//! Certificate authorities: what the user named, what the system has, and an embedded floor.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::options::RootSources;

/// Largest certificate file that is read, in bytes; a distribution's whole bundle has 300 kB.
const LARGEST_FILE: u64 = 16 << 20;

/// Reads all roots. A source that cannot be read is logged, not an error: the embedded set serves
/// public registries in a container that has no certificates at all, and a private registry's
/// handshake fails with its own message.
pub(super) fn load(sources: &RootSources) -> RootCertStore {
    let mut collected = Collected::default();
    if let Some(file) = &sources.file {
        match read_pem(file) {
            Ok(certificates) => collected.extend(certificates),
            Err(error) => {
                tracing::warn!(path = %file.display(), %error, "cannot read SSL_CERT_FILE");
            }
        }
    }
    for directory in &sources.directories {
        match read_directory(directory) {
            Ok(certificates) => collected.extend(certificates),
            Err(error) => {
                tracing::debug!(path = %directory.display(), %error, "no certificates in directory");
            }
        }
    }
    for bundle in &sources.system_bundles {
        match read_pem(bundle) {
            Ok(certificates) => {
                collected.extend(certificates);
                break;
            }
            Err(error) => {
                tracing::debug!(path = %bundle.display(), %error, "no system certificates in file");
            }
        }
    }
    collected.extend(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    tracing::debug!(count = collected.store.len(), "certificate authorities loaded");
    collected.store
}

/// Reads the PEM certificates of one file; other PEM sections are skipped.
pub(super) fn read_pem(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > LARGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a certificate file"));
    }
    let bytes = fs::read(path)?;
    // A broken section must not hide the good ones around it.
    Ok(CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok).collect())
}

fn read_directory(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let mut certificates = Vec::new();
    let mut names: Vec<_> =
        fs::read_dir(path)?.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    names.sort();
    for file in names {
        match read_pem(&file) {
            Ok(found) => certificates.extend(found),
            Err(error) => {
                tracing::debug!(path = %file.display(), %error, "skipped in certificate directory");
            }
        }
    }
    Ok(certificates)
}

/// Directories hold each certificate several times (hash links, bundles); each counts once.
struct Collected {
    store: RootCertStore,
    seen: HashSet<Vec<u8>>,
}

impl Default for Collected {
    fn default() -> Self {
        Self { store: RootCertStore::empty(), seen: HashSet::new() }
    }
}

impl Collected {
    fn extend(&mut self, certificates: impl IntoIterator<Item = CertificateDer<'static>>) {
        for certificate in certificates {
            if self.seen.insert(certificate.to_vec())
                && let Err(error) = self.store.add(certificate)
            {
                tracing::debug!(%error, "certificate is no usable authority");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(name: &str) -> String {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn every_source_counts_once_and_the_embedded_set_is_always_there() {
        let directory = tempfile::tempdir().unwrap();
        let embedded = load(&RootSources::default()).len();
        assert!(embedded > 100);

        let file = directory.path().join("bundle.pem");
        let broken = "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
        fs::write(&file, format!("{}{broken}{}", authority("one"), authority("two"))).unwrap();
        let certificates = directory.path().join("certs");
        fs::create_dir(&certificates).unwrap();
        fs::copy(&file, certificates.join("again.pem")).unwrap();
        fs::write(certificates.join("three.crt"), authority("three")).unwrap();
        fs::write(certificates.join("note.txt"), "not a certificate").unwrap();
        fs::create_dir(certificates.join("directory")).unwrap();
        let system = directory.path().join("system.pem");
        fs::write(&system, authority("four")).unwrap();
        let unused = directory.path().join("unused.pem");
        fs::write(&unused, authority("five")).unwrap();

        let missing = directory.path().join("missing");
        let all = load(&RootSources {
            file: Some(file),
            directories: vec![missing.clone(), certificates],
            system_bundles: vec![missing.clone(), system, unused],
        });
        assert_eq!(all.len(), embedded + 4);

        let none = load(&RootSources { file: Some(missing), ..RootSources::default() });
        assert_eq!(none.len(), embedded);
    }
}
