//! A request of the distribution API, as far as a build makes them, read strictly; pure.
//!
//! What is not known is refused: lists of tags, the catalog, deleting, referrers, other queries. No
//! path is decoded, so that there is one way to write each.

use reqwest::Method;
use snapshot::Digest;
use url::form_urlencoded;

use super::refusal::Refused;

/// Longest tag, in bytes.
const LONGEST_TAG: usize = 128;

/// A request about one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// The repository's name, as it stands in the path.
    pub(super) repository: String,
    pub(super) method: Method,
    pub(super) thing: Thing,
}

/// What of a repository is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    /// A manifest, by a tag or digest.
    Manifest(String),
    /// A blob.
    Blob(Digest),
    /// A new upload, perhaps in place of a mount: a digest and a repository of the same registry.
    NewUpload(Option<(Digest, String)>),
    /// An upload that we gave this name to; completed where a digest is given.
    Upload(String, Option<Digest>),
}

/// What a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Write,
}

impl Ask {
    /// Reads a request's line.
    pub(super) fn read(method: &Method, path: &str, query: Option<&str>) -> Result<Self, Refused> {
        let unknown = || Refused::unsupported();
        let rest = path.strip_prefix("/v2/").ok_or_else(unknown)?;
        let query = Query::read(query);
        let (repository, thing) = if let Some((name, reference)) = rest.rsplit_once("/manifests/") {
            if !is_tag(reference) && reference.parse::<Digest>().is_err() {
                return Err(unknown());
            }
            (name, Thing::Manifest(reference.to_owned()))
        } else if let Some((name, id)) = rest.rsplit_once("/blobs/uploads/") {
            match id {
                "" => (name, Thing::NewUpload(query.mount()?)),
                id => (name, Thing::Upload(id.to_owned(), query.digest()?)),
            }
        } else if let Some((name, digest)) = rest.rsplit_once("/blobs/") {
            (name, Thing::Blob(digest.parse().map_err(|_| unknown())?))
        } else {
            return Err(unknown());
        };
        let may_query = matches!(
            (method.as_str(), &thing),
            ("POST", Thing::NewUpload(_)) | ("PUT", Thing::Upload(_, Some(_)))
        );
        let is_known = match &thing {
            Thing::Manifest(_) => matches!(method.as_str(), "GET" | "HEAD" | "PUT"),
            Thing::Blob(_) => matches!(method.as_str(), "GET" | "HEAD"),
            Thing::NewUpload(_) => *method == Method::POST,
            Thing::Upload(_, None) => matches!(method.as_str(), "GET" | "PATCH" | "DELETE"),
            Thing::Upload(_, Some(_)) => *method == Method::PUT,
        };
        if !is_known || !is_name(repository) || (!query.0.is_empty() && !may_query) {
            return Err(unknown());
        }
        Ok(Self { repository: repository.to_owned(), method: method.clone(), thing })
    }

    /// Returns what the request takes.
    pub(super) fn right(&self) -> Right {
        match (&self.thing, self.method.as_str()) {
            (Thing::Manifest(_) | Thing::Blob(_), "GET" | "HEAD") => Right::Read,
            _ => Right::Write,
        }
    }

    /// Returns the tag that is written, if one is.
    pub(super) fn written_tag(&self) -> Option<&str> {
        match &self.thing {
            Thing::Manifest(name) if name.parse::<Digest>().is_err() => Some(name),
            _ => None,
        }
    }

    /// Returns the repository that a blob is to be taken over from.
    pub(super) fn mounted_from(&self) -> Option<&str> {
        match &self.thing {
            Thing::NewUpload(Some((_, from))) => Some(from),
            _ => None,
        }
    }
}

/// A query's pairs, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(text: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(text.unwrap_or_default().as_bytes());
        Self(pairs.map(|(key, value)| (key.into_owned(), value.into_owned())).collect())
    }

    fn digest(&self) -> Result<Option<Digest>, Refused> {
        match self.0.as_slice() {
            [] => Ok(None),
            [(key, value)] if key == "digest" => {
                value.parse().map(Some).map_err(|_| Refused::unsupported())
            }
            _ => Err(Refused::unsupported()),
        }
    }

    fn mount(&self) -> Result<Option<(Digest, String)>, Refused> {
        match self.0.as_slice() {
            [] => Ok(None),
            [(mount, digest), (from, name)]
                if mount == "mount" && from == "from" && is_name(name) =>
            {
                let digest = digest.parse().map_err(|_| Refused::unsupported())?;
                Ok(Some((digest, name.clone())))
            }
            _ => Err(Refused::unsupported()),
        }
    }
}

fn is_name(name: &str) -> bool {
    name.split('/').all(|part| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte)
            })
    })
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || b".-".contains(&byte))
}
