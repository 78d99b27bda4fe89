//! Whose entries are believed: anybody's who can write to the cache, or those of whoever holds a key.
//!
//! Ed25519 over the seal, which is over all that counts of a document. With a public key entries can be
//! believed and none can be made, which is what a build of a stranger's changes should have.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::entry::EntryError;
use super::key::Key;

pub(super) const SEAL: &str = "zuwai.cache.seal";
const SIGNATURE: &str = "zuwai.cache.signature";

/// Begins what is signed, so that no signature is one of something else.
const PREFIX: &[u8] = b"zuwai.cache.signature.v1\n";

/// What comes before the 32 bytes of an Ed25519 public key in its DER form (RFC 8410, section 4).
const PUBLIC_PREFIX: &[u8] =
    &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PUBLIC_BYTES: usize = 32;

/// Largest key file that is read.
const LIMIT_BYTES: u64 = 64 << 10;

/// Whose entries are believed.
#[derive(Debug, Default)]
pub enum Trust {
    /// Whoever can write to the cache.
    #[default]
    Writers,
    /// Whoever holds the key, which signs new entries.
    Signers(Box<Ed25519KeyPair>),
    /// The same; without the key there are no new entries.
    SignersOnly([u8; PUBLIC_BYTES]),
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The file cannot be read.
    #[error("cannot read the key `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// There is no key in it.
    #[error(
        "`{}` holds no Ed25519 key in PEM form, as `openssl genpkey -algorithm ed25519` makes it: \
         {why}", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
}

impl Trust {
    /// Reads a key: a private one (PKCS #8, `PRIVATE KEY`), or a public one (`PUBLIC KEY`).
    ///
    /// # Errors
    /// [`SigningKeyError`].
    pub fn from_file(path: &Path) -> Result<Self, SigningKeyError> {
        let mut text = String::new();
        fs::File::open(path)
            .and_then(|file| file.take(LIMIT_BYTES).read_to_string(&mut text))
            .map_err(|source| SigningKeyError::Read { path: path.to_path_buf(), source })?;
        Self::from_pem(&text)
            .map_err(|why| SigningKeyError::Malformed { path: path.to_path_buf(), why })
    }

    fn from_pem(text: &str) -> Result<Self, &'static str> {
        if let Some(der) = pem(text, "PRIVATE KEY")? {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der);
            return Ok(Self::Signers(Box::new(pair.map_err(|_| "it is of another kind")?)));
        }
        let der = pem(text, "PUBLIC KEY")?.ok_or("there is neither a private nor a public one")?;
        let key = der.strip_prefix(PUBLIC_PREFIX).and_then(|key| key.try_into().ok());
        key.map(Self::SignersOnly).ok_or("it is of another kind")
    }

    /// Tells whether what is stored will be believed by those who read it.
    pub fn can_store(&self) -> bool {
        match self {
            Self::Writers | Self::Signers(_) => true,
            Self::SignersOnly(_) => false,
        }
    }

    /// Adds to a document what makes it believed.
    pub(super) fn seal(&self, seal: &Key, annotations: &mut BTreeMap<String, String>) {
        annotations.insert(SEAL.to_owned(), seal.hex());
        if let Self::Signers(pair) = self {
            let signature = STANDARD.encode(pair.sign(&signed(seal)));
            annotations.insert(SIGNATURE.to_owned(), signature);
        }
    }

    /// Tells whether a document is whole and to be believed.
    pub(super) fn check(
        &self,
        seal: &Key,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), EntryError> {
        let get = |name: &'static str| annotations.get(name).map(String::as_str);
        if get(SEAL).ok_or(EntryError::Annotation(SEAL))? != seal.hex() {
            return Err(EntryError::Seal);
        }
        let public: &[u8] = match self {
            Self::Writers => return Ok(()),
            Self::Signers(pair) => pair.public_key().as_ref(),
            Self::SignersOnly(key) => key,
        };
        let signature = get(SIGNATURE).ok_or(EntryError::Unsigned)?;
        let signature = STANDARD.decode(signature).map_err(|_| EntryError::Signature)?;
        UnparsedPublicKey::new(&ED25519, public)
            .verify(&signed(seal), &signature)
            .map_err(|_| EntryError::Signature)
    }
}

fn signed(seal: &Key) -> Vec<u8> {
    [PREFIX, seal.hex().as_bytes()].concat()
}

/// Returns what is between the lines of a PEM document of this label, if there is one.
fn pem(text: &str, label: &str) -> Result<Option<Vec<u8>>, &'static str> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let Some((_, rest)) = text.split_once(&begin) else { return Ok(None) };
    let (body, _) = rest.split_once(&end).ok_or("it has no end")?;
    let body: String = body.split_whitespace().collect();
    STANDARD.decode(body).map(Some).map_err(|_| "it is not base64")
}

#[cfg(test)]
mod tests {
    use super::super::key::KeyWriter;
    use super::*;

    // Made for this test with `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEILq8NyU+Db9A7HgiUlUJipsDW5eCfj+73VQsTBP18y7+\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAUCvwr9G5lcq79+D5C1Ju49z3wGkmT6uSR211BctJT+A=\n-----END PUBLIC KEY-----\n";
    const OTHER: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEILbNsUV89HpfHDzz58iwO/jJd0tX3+N2d47aCgQUbFD4\n-----END PRIVATE KEY-----\n";

    fn seal(text: &str) -> Key {
        KeyWriter::new(text).finish()
    }

    fn sealed(by: &Trust, seal: &Key) -> BTreeMap<String, String> {
        let mut annotations = BTreeMap::new();
        by.seal(seal, &mut annotations);
        annotations
    }

    #[test]
    fn what_is_signed_with_the_key_is_believed_and_nothing_else() {
        let (signers, others) =
            (Trust::from_pem(PRIVATE).unwrap(), Trust::from_pem(OTHER).unwrap());
        let readers = Trust::from_pem(PUBLIC).unwrap();
        assert_eq!((signers.can_store(), readers.can_store()), (true, false));
        let it = seal("a");
        let check = |by: &Trust, to: &Trust| to.check(&it, &sealed(by, &it));
        for trust in [&signers, &readers] {
            assert_eq!(check(&signers, trust), Ok(()));
            assert_eq!(check(&Trust::Writers, trust), Err(EntryError::Unsigned));
            assert_eq!(check(&others, trust), Err(EntryError::Signature));
            // The signature of something else.
            let mut swapped = sealed(&signers, &seal("b"));
            swapped.insert(SEAL.to_owned(), it.hex());
            assert_eq!(trust.check(&it, &swapped), Err(EntryError::Signature));
            assert_eq!(trust.check(&seal("b"), &sealed(&signers, &it)), Err(EntryError::Seal));
        }
        // Who asks for no signatures is not bothered by them.
        assert_eq!(check(&signers, &Trust::Writers), Ok(()));
    }

    #[test]
    fn what_is_no_key_is_said() {
        for text in ["", "x", &PRIVATE[..50], &PUBLIC.replace("MCow", "MCox")] {
            assert!(Trust::from_pem(text).is_err(), "{text}");
        }
    }
}
