//! Context, Dockerfile and named contexts.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;
use url::Url;

use super::{absolute, cloud, filled, git};
use crate::build::options::{
    ContextOptions, ContextSource, CredentialSource, DockerfileSource, NamedContext,
    NamedContextSource,
};
use crate::cli::args::{DEFAULT_CONTEXT, SourceArgs};
use crate::cli::env::{Environment, Facts};
use crate::cli::error::Error;
use crate::cli::masks;
use crate::context::object::{AzureBlob, GcsObject, ObjectSource, S3Object};

/// Lowers the flags of the context.
pub fn context(
    args: &SourceArgs,
    environment: &Environment,
    facts: &Facts,
    warnings: &mut Vec<String>,
) -> Result<ContextOptions, Error> {
    let text = with_bucket(args, warnings);
    Ok(ContextOptions {
        source: source(&text, args, environment, facts)?,
        sub_path: filled(&args.context_sub_path).map(sub_path).transpose()?.flatten(),
        named: args
            .build_context
            .iter()
            .map(|text| named(text, facts))
            .collect::<Result<_, _>>()?,
    })
}

/// Returns the context, or what `--bucket` says in its place: kaniko's oldest way to name one.
///
/// As with kaniko, a directory that was named stands over it; the directory that is meant when
/// nothing is named does not.
fn with_bucket<'a>(args: &'a SourceArgs, warnings: &mut Vec<String>) -> Cow<'a, str> {
    let context = args.context.as_str();
    match args.bucket.as_str() {
        "" => context.into(),
        bucket if is_directory(context) => {
            warnings.push(format!(
                "`--bucket={}` has no effect beside `--context={context}`, a directory; write the \
                 context as `gs://BUCKET/PATH`",
                masks::url(bucket)
            ));
            context.into()
        }
        bucket if bucket.contains("://") => bucket.into(),
        bucket => format!("gs://{bucket}").into(),
    }
}

fn is_directory(context: &str) -> bool {
    !context.is_empty() && context != DEFAULT_CONTEXT && !context.contains("://")
}

fn source(
    text: &str,
    args: &SourceArgs,
    environment: &Environment,
    facts: &Facts,
) -> Result<ContextSource, Error> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(ContextSource::Directory(absolute(text, facts)));
    };
    match scheme {
        "dir" => Ok(ContextSource::Directory(absolute(rest, facts))),
        "tar" if rest == "stdin" => Ok(ContextSource::TarStdin),
        "tar" => Ok(ContextSource::Tar(absolute(rest, facts))),
        "s3" => {
            let (bucket, key) = bucket_and_object(text, rest)?;
            let settings = Box::new(cloud::s3(environment, facts)?);
            let object = S3Object { bucket, key };
            Ok(ContextSource::Object(ObjectSource::S3 { object, settings }))
        }
        "gs" => {
            let (bucket, path) = bucket_and_object(text, rest)?;
            let settings = cloud::gcs(environment, facts)?;
            let object = GcsObject { bucket, path };
            Ok(ContextSource::Object(ObjectSource::Gcs { object, settings }))
        }
        "https" => https(text, environment, facts),
        "git" => Ok(ContextSource::Git(git::source(text, rest, &args.git, environment)?)),
        _ => Err(wrong_context(
            text,
            format!(
                "unknown build context prefix `{scheme}://`, expected one of gs://, dir://, s3://, \
                 git://, tar://, https://"
            ),
        )),
    }
}

/// Refuses a context.
pub fn wrong_context(text: &str, reason: impl Into<String>) -> Error {
    Error::WrongValue { flag: "--context", value: masks::url(text), reason: reason.into() }
}

/// Parts `BUCKET/PATH`, `%xx` in the path decoded; without a path it is kaniko's usual name.
fn bucket_and_object(text: &str, rest: &str) -> Result<(String, String), Error> {
    let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(wrong_context(text, "the bucket is missing"));
    }
    let path = percent_decode_str(path.trim_start_matches('/'))
        .decode_utf8()
        .map_err(|_| wrong_context(text, "its path is not valid UTF-8"))?;
    let path = if path.is_empty() { "context.tar.gz".into() } else { path };
    Ok((bucket.to_owned(), path.into_owned()))
}

/// A blob of Azure where the host is one of Azure's, else whatever the URL leads to.
fn https(text: &str, environment: &Environment, facts: &Facts) -> Result<ContextSource, Error> {
    let url = Url::parse(text).map_err(|error| wrong_context(text, error.to_string()))?;
    let host = url.host_str().unwrap_or_default();
    let Some((account, cloud)) = AzureBlob::account_of(host) else {
        return Ok(ContextSource::Url(url));
    };
    // A signed URL says itself who may read it.
    if url.query_pairs().any(|(key, _)| key == "sig") {
        return Ok(ContextSource::Url(url));
    }
    let path = url.path().trim_start_matches('/');
    let (container, name) = match path.split_once('/') {
        Some((container, name)) if !container.is_empty() && !name.is_empty() => (container, name),
        _ => return Err(wrong_context(text, "expected `https://HOST/CONTAINER/BLOB`")),
    };
    let decode = |part: &str| {
        let decoded = percent_decode_str(part).decode_utf8();
        let decoded = decoded.map_err(|_| wrong_context(text, "its path is not valid UTF-8"));
        Ok::<_, Error>(decoded?.into_owned())
    };
    let blob = AzureBlob {
        account: account.to_owned(),
        cloud,
        container: decode(container)?,
        name: decode(name)?,
    };
    let settings = cloud::azure_store(environment, facts)?;
    Ok(ContextSource::Object(ObjectSource::Azure { blob, settings }))
}

/// Cleans a path inside the context; `None` is the context itself.
pub fn sub_path(text: &str) -> Result<Option<PathBuf>, Error> {
    let mut path = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                if !path.pop() {
                    return Err(Error::WrongValue {
                        flag: "--context-sub-path",
                        value: text.to_owned(),
                        reason: "the path leaves the context".to_owned(),
                    });
                }
            }
        }
    }
    Ok((!path.as_os_str().is_empty()).then_some(path))
}

/// Lowers `--dockerfile`.
pub fn dockerfile(args: &SourceArgs, facts: &Facts) -> Result<DockerfileSource, Error> {
    dockerfile_at(&args.dockerfile, facts)
}

/// Lowers where a Dockerfile is.
pub fn dockerfile_at(text: &str, facts: &Facts) -> Result<DockerfileSource, Error> {
    let wrong = |reason: String| Error::WrongValue {
        flag: "--dockerfile",
        value: masks::url(text),
        reason,
    };
    match text {
        "" => Err(wrong("a path is needed".to_owned())),
        "-" | "/dev/stdin" => Ok(DockerfileSource::Stdin),
        _ if text.starts_with("http://") || text.starts_with("https://") => {
            let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
            Ok(DockerfileSource::Url(url))
        }
        _ => Ok(DockerfileSource::File {
            typed: PathBuf::from(text),
            in_current_directory: absolute(text, facts),
        }),
    }
}

/// Refuses to read standard input twice.
pub fn check_stdin(
    context: &ContextOptions,
    dockerfile: &DockerfileSource,
    credentials: &CredentialSource,
    args: &SourceArgs,
) -> Result<(), Error> {
    let mut readers = Vec::new();
    if context.source == ContextSource::TarStdin {
        readers.push("--context=tar://stdin".to_owned());
    }
    if *dockerfile == DockerfileSource::Stdin {
        readers.push(format!("--dockerfile={}", args.dockerfile));
    }
    if *credentials == CredentialSource::Descriptor(0) {
        readers.push("--registry-auth-stdin".to_owned());
    }
    match readers.as_slice() {
        [first, second, ..] => {
            Err(Error::StdinTwice { first: first.clone(), second: second.clone() })
        }
        _ => Ok(()),
    }
}

fn named(text: &str, facts: &Facts) -> Result<NamedContext, Error> {
    const FLAG: &str = "--build-context";
    let wrong = |reason: &str| Error::WrongValue {
        flag: FLAG,
        value: masks::url(text),
        reason: reason.to_owned(),
    };
    let (name, value) = text.split_once('=').ok_or_else(|| wrong("expected `NAME=VALUE`"))?;
    match (name, value) {
        ("", _) => return Err(wrong("the name is empty")),
        (_, "") => return Err(wrong("the value is empty")),
        // BuildKit keeps these two for itself.
        ("scratch" | "context", _) => return Err(wrong("this name is reserved")),
        _ => {}
    }
    let source = match value.split_once("://") {
        None => NamedContextSource::Directory(absolute(value, facts)),
        Some(("oci-layout", rest)) => oci_layout(rest, facts),
        Some(("docker-image", rest)) => {
            NamedContextSource::Image(rest.parse().map_err(|source| Error::Reference {
                flag: FLAG,
                value: rest.to_owned(),
                source,
            })?)
        }
        Some((scheme, _)) => {
            return Err(Error::NotSupported { flag: format!("{FLAG}={name}={scheme}://") });
        }
    };
    Ok(NamedContext { name: name.to_owned(), source })
}

/// Reads `DIR[:TAG][@DIGEST]` as Docker does: a digest stands over a tag.
fn oci_layout(text: &str, facts: &Facts) -> NamedContextSource {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    NamedContextSource::OciLayout {
        path: absolute(path, facts),
        reference: digest.or(tag).map(str::to_owned),
    }
}
