//! Git contexts: `git://[TOKEN@]HOST/REPOSITORY[#REFERENCE][#COMMIT]`, `#REFERENCE:DIRECTORY`.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use super::source::{sub_path, wrong_context};
use crate::cli::args::GitOption;
use crate::cli::env::Environment;
use crate::cli::error::Error;
use crate::cli::go_values;
use crate::context::git::{Depth, GitCredentials, GitSource, Reference, Submodules, Wanted};
use crate::http::Verification;
use crate::secret::Secret;

/// Lowers a git context and the options that go with it; `rest` is what follows `git://`.
///
/// # Errors
/// What cannot be a repository, reference or commit.
pub fn source(
    text: &str,
    rest: &str,
    options: &[GitOption],
    environment: &Environment,
) -> Result<GitSource, Error> {
    let mut parts = rest.split('#');
    let (mut url, in_url) = repository(text, parts.next().unwrap_or_default(), environment)?;
    url.set_fragment(None);
    let credentials = credentials(environment)?.or(in_url);
    let (reference, directory) = match parts.next().unwrap_or_default().split_once(':') {
        Some((reference, directory)) => (reference, Some(directory)),
        None => (rest.split('#').nth(1).unwrap_or_default(), None),
    };
    let mut wanted = Wanted::default();
    match reference {
        "" => {}
        commit if is_commit(commit) => wanted.commit = Some(commit.to_ascii_lowercase()),
        name => wanted.reference = Some(Reference::Any(checked(text, name)?)),
    }
    match parts.next() {
        None | Some("") => {}
        Some(commit) if is_commit(commit) => wanted.commit = Some(commit.to_ascii_lowercase()),
        Some(_) => {
            let reason = "what follows the second `#` is no commit of 40 hexadecimal digits";
            return Err(wrong_context(text, reason));
        }
    }
    let options = read(options)?;
    if let Some(branch) = options.branch {
        wanted.reference = Some(Reference::BranchOrTag(checked(text, &branch)?));
    }
    let sub_path: Option<PathBuf> = directory.map(sub_path).transpose()?.flatten();
    let (submodules, depth, verification) =
        (options.submodules, options.depth, options.verification);
    Ok(GitSource { url, credentials, wanted, sub_path, submodules, depth, verification })
}

/// Returns a repository's URL without credentials, and those that were in it.
fn repository(
    text: &str,
    rest: &str,
    environment: &Environment,
) -> Result<(Url, Option<GitCredentials>), Error> {
    // As with kaniko, anything but these two words is https.
    let method = match environment.get("GIT_PULL_METHOD")? {
        Some("http") => "http",
        _ => "https",
    };
    let wrong = |error: url::ParseError| wrong_context(text, error.to_string());
    let mut url = Url::parse(&format!("{method}://{rest}")).map_err(wrong)?;
    let decoded = |text: &str| Secret::new(percent_decode_str(text).decode_utf8_lossy());
    let credentials = (!url.username().is_empty() || url.password().is_some()).then(|| {
        let password = decoded(url.password().unwrap_or_default());
        GitCredentials { user_name: decoded(url.username()), password }
    });
    let unnamed = url.set_username("").and_then(|()| url.set_password(None));
    unnamed.map_err(|()| wrong_context(text, "the host is missing"))?;
    Ok((url, credentials))
}

/// Reads kaniko's three variables; a token stands in place of a name.
fn credentials(environment: &Environment) -> Result<Option<GitCredentials>, Error> {
    let secret = |name: &str| Ok::<_, Error>(environment.filled(name)?.map(Secret::new));
    let empty = || Secret::new("");
    if let Some(user_name) = secret("GIT_TOKEN")? {
        return Ok(Some(GitCredentials { user_name, password: empty() }));
    }
    Ok(match (secret("GIT_USERNAME")?, secret("GIT_PASSWORD")?) {
        (None, None) => None,
        (name, password) => Some(GitCredentials {
            user_name: name.unwrap_or_else(empty),
            password: password.unwrap_or_else(empty),
        }),
    })
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Refuses what no reference's name can hold, and what would end a line of the protocol.
fn checked(text: &str, name: &str) -> Result<String, Error> {
    let is_bad = |c: char| c.is_control() || c.is_whitespace() || "~^?*[\\".contains(c);
    match name.contains(is_bad) || name.starts_with('-') || name.contains("..") {
        true => Err(wrong_context(text, "the reference's name has characters that none can have")),
        false => Ok(name.to_owned()),
    }
}

struct Options {
    branch: Option<String>,
    submodules: Submodules,
    depth: Depth,
    verification: Verification,
}

/// Reads `--git`; the last one of a key counts. Only one branch is ever fetched, so `single-branch`
/// has nothing to do.
fn read(options: &[GitOption]) -> Result<Options, Error> {
    let mut read = Options {
        branch: None,
        submodules: Submodules::Empty,
        depth: Depth::Commits(1),
        verification: Verification::Required,
    };
    // Words that are no booleans were refused when they were typed.
    let is_true = |value: &str| go_values::parse_bool(value).unwrap_or_default();
    for option in options {
        let (key, value) = (option.0.key.as_str(), option.0.value.as_str());
        match key {
            "branch" => read.branch = (!value.is_empty()).then(|| value.to_owned()),
            "recurse-submodules" => {
                read.submodules = match is_true(value) {
                    true => Submodules::Fetched,
                    false => Submodules::Empty,
                };
            }
            "insecure-skip-tls" => {
                read.verification = match is_true(value) {
                    true => Verification::Skipped,
                    false => Verification::Required,
                };
            }
            "depth" => {
                read.depth = match value.parse() {
                    Ok(0) => Depth::Everything,
                    Ok(commits) => Depth::Commits(commits),
                    Err(_) => {
                        return Err(Error::WrongValue {
                            flag: "--git",
                            value: format!("{key}={value}"),
                            reason: "expected a count of commits, or 0 for all".to_owned(),
                        });
                    }
                };
            }
            _ => {}
        }
    }
    Ok(read)
}
