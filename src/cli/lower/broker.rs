//! The broker: where it listens, and what for.

use super::{absolute, filled, registry};
use crate::broker::{Allowed, BrokerOptions};
use crate::cli::args::{BrokerArgs, ServingArgs};
use crate::cli::env::{Environment, Facts};
use crate::cli::error::Error;
use crate::image::Reference;

/// Lowers the flags of a broker; warnings are added.
///
/// # Errors
/// A value that cannot mean anything, or a broker without a socket or anything to do.
pub fn broker(
    args: &BrokerArgs,
    environment: &Environment,
    facts: &Facts,
    warnings: &mut Vec<String>,
) -> Result<BrokerOptions, Error> {
    let listen = filled(&args.serving.listen).ok_or(Error::NoSocket)?;
    let allowed = allowed(&args.serving)?;
    if allowed.is_empty() {
        return Err(Error::NothingAllowed);
    }
    Ok(BrokerOptions {
        listen: absolute(listen.trim_start_matches("unix://"), facts),
        allowed,
        registry: registry::broker(args, environment, facts, warnings)?,
    })
}

fn allowed(args: &ServingArgs) -> Result<Allowed, Error> {
    let pull = args.allow_pull.iter().map(|text| match reference("--allow-pull", text)? {
        (reference, None) => Ok(reference),
        (_, Some(_)) => {
            Err(wrong("--allow-pull", text, "a whole repository is allowed, not a tag"))
        }
    });
    let push = args.allow_push.iter().map(|text| reference("--allow-push", text));
    Ok(Allowed::new(&pull.collect::<Result<Vec<_>, _>>()?, &push.collect::<Result<Vec<_>, _>>()?))
}

/// Reads a reference, and the tag that was written, for a reference without one has `latest`.
fn reference(flag: &'static str, text: &str) -> Result<(Reference, Option<String>), Error> {
    let reference: Reference =
        text.parse().map_err(|source| Error::Reference { flag, value: text.to_owned(), source })?;
    if reference.digest().is_some() {
        return Err(wrong(flag, text, "a repository is allowed, not a digest"));
    }
    // After the last slash, since a host may have a port.
    let last = text.rsplit('/').next().unwrap_or(text);
    let tag = last.split_once(':').map(|(_, tag)| tag.to_owned());
    Ok((reference, tag))
}

fn wrong(flag: &'static str, text: &str, reason: &str) -> Error {
    Error::WrongValue { flag, value: text.to_owned(), reason: reason.to_owned() }
}
