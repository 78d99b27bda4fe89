//! What can go wrong between us and a registry, in words for whoever has to fix it.

use std::io;

use snapshot::Digest;

use super::credentials::{CredentialError, CredentialOrigin};
use super::refusal::Refusal;
use crate::http::{HttpError, RedirectError};
use crate::report::fault::{Class, Fault, one_line};

/// A failed exchange with a registry: what was being done, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct RegistryError {
    action: String,
    #[source]
    cause: Box<Cause>,
}

/// Why an exchange with a registry failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// There was no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The answer led somewhere we do not follow.
    #[error(transparent)]
    Redirect(#[from] RedirectError),
    /// The registry, or its token server, refused.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The registry refused the manifest of an image with zstd layers, and said that it cannot read
    /// it.
    #[error(transparent)]
    ZstdRefused(Box<Refusal>),
    /// Credentials that should be there cannot be had.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// Credentials would be readable by anyone on the way.
    #[error("`{host}` wants credentials but only speaks plain HTTP ({origin})")]
    CredentialsInClear {
        /// The registry.
        host: String,
        /// Which credentials.
        origin: CredentialOrigin,
    },
    /// A map or reference names something that is no host.
    #[error("`{host}` is not the host of a registry")]
    Host {
        /// As written.
        host: String,
    },
    /// The registry names a token server that we do not talk to.
    #[error("`{host}` names `{realm}` as its token server: {reason}")]
    Realm {
        /// The registry.
        host: String,
        /// The realm, redacted.
        realm: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Both ways to speak to a registry failed.
    #[error("https: {https}; plain HTTP: {http}")]
    BothSchemes {
        /// Why https does not work.
        https: String,
        /// Why plain HTTP does not work.
        http: HttpError,
    },
    /// The content does not have the digest it was asked by.
    #[error("`{host}` served wrong content for {what}: digest is `{actual}`, not `{expected}`")]
    Digest {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What it should be.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The content is shorter or longer than the manifest says.
    #[error("`{host}` served wrong content for {what}: size is {actual} bytes, not {expected}")]
    Size {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// What the manifest says.
        expected: u64,
        /// What was announced or received; at least this.
        actual: u64,
    },
    /// A manifest or config that cannot be understood or must not be trusted.
    #[error("`{host}` served {what} that is not usable: {reason}")]
    Content {
        /// The registry.
        host: String,
        /// What was asked for, such as `a manifest`.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The image is of a kind that cannot be built upon.
    #[error("{0}")]
    Unsupported(Unsupported),
    /// No entry of an index fits.
    #[error("no image for platform `{wanted}`, only for {available}")]
    NoPlatform {
        /// What was asked for.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// The manifest names blobs that the registry does not have (any more).
    #[error("`{host}` does not have {} of the image's blobs, such as `{first}`", .missing.len())]
    MissingBlobs {
        /// The registry.
        host: String,
        /// One of them.
        first: Digest,
        /// All of them.
        missing: Vec<Digest>,
    },
    /// The registry's answer to an upload has no usable `Location`.
    #[error("`{host}` gave no usable upload location: {reason}")]
    Location {
        /// The registry.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What is downloaded cannot be written.
    #[error("cannot write what `{host}` sent")]
    Sink {
        /// The registry.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is to be uploaded cannot be read.
    #[error("cannot read what is to be uploaded")]
    Source(#[source] io::Error),
    /// What was being uploaded is not wanted any more.
    #[error("the upload was given up")]
    GivenUp,
    /// A registry and all its mirrors failed.
    #[error("{}", list(.0))]
    AllFailed(Vec<RegistryError>),
}

/// Kinds of image that cannot be built upon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A manifest of Docker's first schema.
    #[error("the image has a schema 1 manifest, a form that Docker gave up in 2017")]
    SchemaOne,
    /// A registry that speaks only the first protocol.
    #[error("`{0}` does not speak version 2 of the registry protocol")]
    VersionOne(String),
    /// An image for Windows.
    #[error("the image is for Windows")]
    Windows,
    /// A layer that is not in the registry.
    #[error("layer `{0}` is a foreign layer, which registries do not hold")]
    ForeignLayer(String),
    /// Not an image.
    #[error("`{0}` is not an image's config")]
    Artifact(String),
    /// A digest of another algorithm than SHA-256.
    #[error("digest `{0}` is not of the form `sha256:` and 64 hexadecimal digits")]
    DigestAlgorithm(String),
    /// More layers than any image has.
    #[error("the image has {0} layers, more than the {limit} that are accepted", limit = super::manifest::LAYER_LIMIT)]
    TooManyLayers(usize),
}

impl RegistryError {
    pub(super) fn new(action: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self { action: action.into(), cause: Box::new(cause.into()) }
    }

    /// Returns why it failed.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Returns the status that the registry answered, if it refused.
    pub fn status(&self) -> Option<u16> {
        match self.cause() {
            Cause::Refused(refusal) | Cause::ZstdRefused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// Returns the blobs that must be uploaded again before the manifest.
    pub fn missing_blobs(&self) -> &[Digest] {
        match self.cause() {
            Cause::MissingBlobs { missing, .. } => missing,
            _ => &[],
        }
    }
}

impl From<Refusal> for Cause {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<Unsupported> for Cause {
    fn from(unsupported: Unsupported) -> Self {
        Self::Unsupported(unsupported)
    }
}

impl Cause {
    /// Returns whether trying the same again can help.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Http(error) => error.is_temporary(),
            Self::Refused(refusal) | Self::ZstdRefused(refusal) => refusal.is_temporary(),
            Self::BothSchemes { http, .. } => http.is_temporary(),
            Self::AllFailed(errors) => errors.iter().any(Fault::is_temporary),
            Self::MissingBlobs { .. } => true,
            Self::Redirect(_)
            | Self::Credentials(_)
            | Self::CredentialsInClear { .. }
            | Self::Host { .. }
            | Self::Realm { .. }
            | Self::Digest { .. }
            | Self::Size { .. }
            | Self::Content { .. }
            | Self::Unsupported(_)
            | Self::NoPlatform { .. }
            | Self::Location { .. }
            | Self::Sink { .. }
            | Self::Source(_)
            | Self::GivenUp => false,
        }
    }
}

impl Fault for RegistryError {
    fn class(&self) -> Class {
        match self.cause() {
            Cause::Refused(refusal) | Cause::ZstdRefused(refusal) => refusal.class(),
            Cause::Credentials(_) | Cause::CredentialsInClear { .. } => Class::Auth,
            Cause::Unsupported(_) | Cause::NoPlatform { .. } | Cause::Host { .. } => Class::User,
            Cause::Sink { source, .. } | Cause::Source(source) => Class::of_io(source),
            Cause::AllFailed(errors) => errors.last().map_or(Class::Infrastructure, Fault::class),
            Cause::Http(_)
            | Cause::Redirect(_)
            | Cause::Realm { .. }
            | Cause::BothSchemes { .. }
            | Cause::Digest { .. }
            | Cause::Size { .. }
            | Cause::Content { .. }
            | Cause::MissingBlobs { .. }
            | Cause::Location { .. }
            | Cause::GivenUp => Class::Infrastructure,
        }
    }

    fn is_temporary(&self) -> bool {
        self.cause.is_temporary()
    }

    fn hint(&self) -> Option<String> {
        match self.cause() {
            Cause::Refused(refusal) => refusal.hint(),
            Cause::ZstdRefused(refusal) => Some(format!(
                "`{}` may not take OCI manifests, or no zstd layers: leave out `--compression=zstd`",
                refusal.host
            )),
            Cause::Http(HttpError::TlsHandshake { host, source }) => Some(tls_hint(host, source)),
            Cause::CredentialsInClear { host, .. } => Some(format!(
                "serve it over https, or accept the risk with `--insecure-registry={host}`"
            )),
            Cause::Location { host, reason } if reason.contains("https") => {
                Some(format!("a proxy in front of `{host}` may not pass `X-Forwarded-Proto` on"))
            }
            Cause::Unsupported(Unsupported::SchemaOne) => {
                Some("pull and push the image with a current Docker, then use that".to_owned())
            }
            Cause::Unsupported(Unsupported::Windows) => Some(
                "choose a Linux image, perhaps with `--custom-platform=linux/amd64`".to_owned(),
            ),
            Cause::NoPlatform { .. } => {
                Some("choose another platform with `--custom-platform`".to_owned())
            }
            Cause::AllFailed(errors) => errors.last().and_then(Fault::hint),
            _ => None,
        }
    }
}

fn tls_hint(host: &str, error: &rustls::Error) -> String {
    let name = host.split('/').next().unwrap_or_default();
    match error {
        rustls::Error::InvalidCertificate(_) => format!(
            "if the certificate is of an own authority, give it with \
             `--registry-certificate={name}=/path/to/ca.pem`"
        ),
        rustls::Error::AlertReceived(_) => format!(
            "if the server wants a client certificate, give it with \
             `--registry-client-cert={name}=/path/to/cert.pem,/path/to/key.pem`"
        ),
        _ => {
            format!("if the registry speaks plain HTTP, allow it with `--insecure-registry={name}`")
        }
    }
}

fn list(errors: &[RegistryError]) -> String {
    let texts: Vec<String> = errors.iter().map(|error| one_line(error)).collect();
    texts.join("; ")
}
