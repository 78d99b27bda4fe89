//! Context, Dockerfile and named contexts.

use std::path::{Component, Path, PathBuf};

use url::Url;

use super::{absolute, filled};
use crate::build::options::{
    ContextOptions, ContextSource, DockerfileSource, NamedContext, NamedContextSource,
};
use crate::cli::args::SourceArgs;
use crate::cli::env::Facts;
use crate::cli::error::Error;
use crate::cli::masks;

/// Lowers the flags of the context.
pub fn context(args: &SourceArgs, facts: &Facts) -> Result<ContextOptions, Error> {
    Ok(ContextOptions {
        source: source(&args.context, facts)?,
        sub_path: filled(&args.context_sub_path).map(sub_path).transpose()?.flatten(),
        named: args
            .build_context
            .iter()
            .map(|text| named(text, facts))
            .collect::<Result<_, _>>()?,
    })
}

fn source(text: &str, facts: &Facts) -> Result<ContextSource, Error> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(ContextSource::Directory(absolute(text, facts)));
    };
    match scheme {
        "dir" => Ok(ContextSource::Directory(absolute(rest, facts))),
        "tar" if rest == "stdin" => Ok(ContextSource::TarStdin),
        "tar" => Ok(ContextSource::Tar(absolute(rest, facts))),
        "gs" | "s3" | "git" | "https" => {
            Err(Error::NotSupported { flag: format!("--context={scheme}://") })
        }
        _ => Err(Error::WrongValue {
            flag: "--context",
            value: masks::url(text),
            reason: format!(
                "unknown build context prefix `{scheme}://`, expected one of gs://, dir://, s3://, \
                 git://, tar://, https://"
            ),
        }),
    }
}

/// Cleans a path inside the context; `None` is the context itself.
fn sub_path(text: &str) -> Result<Option<PathBuf>, Error> {
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
    let text = args.dockerfile.as_str();
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
    args: &SourceArgs,
) -> Result<(), Error> {
    match (&context.source, dockerfile) {
        (ContextSource::TarStdin, DockerfileSource::Stdin) => {
            Err(Error::StdinTwice { dockerfile: args.dockerfile.clone() })
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
