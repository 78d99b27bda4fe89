//! Whether layers of earlier builds are used.

use super::absolute;
use super::shared::lifetime;
use crate::build::options::{CacheOptions, CachePlace, Cached, CopyDeltas, Destination, NewLayers};
use crate::cli::args::{BuildArgs, CacheArgs};
use crate::cli::env::Facts;
use crate::cli::error::Error;
use crate::image::Reference;

const REPOSITORY: &str = "--cache-repo";
const FROM: &str = "--cache-from";
const KEY: &str = "--cache-signing-key";
const DELTA: &str = "--cache-copy-delta";

/// Lowers the flags of the layer cache; `None` where it is off, or nothing says where it is.
pub fn cache(
    args: &CacheArgs,
    destinations: &[Destination],
    facts: &Facts,
) -> Result<Option<CacheOptions>, Error> {
    if !args.cache {
        // Who names a key or another cache means them to count.
        let first = args.cache_from.first().map(|from| (FROM, from));
        let key = Some((KEY, &args.cache_signing_key)).filter(|(_, key)| !key.is_empty());
        return match first.or(key) {
            Some((flag, value)) => Err(Error::WrongValue {
                flag,
                value: value.clone(),
                reason: "it needs `--cache`".to_owned(),
            }),
            None => Ok(None),
        };
    }
    let place = match (args.cache_repo.as_str(), destinations.first()) {
        ("", Some(destination)) => Some(CachePlace::Repository(beside(&destination.reference))),
        // A plan needs no destination.
        ("", None) => None,
        (text, _) => Some(place(REPOSITORY, text, facts)?),
    };
    let sources = args.cache_from.iter().map(|text| self::place(FROM, text, facts));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    let key = args.cache_signing_key.as_str();
    let signing_key = (!key.is_empty()).then(|| absolute(key, facts));
    let cached = |is_on| if is_on { Cached::Yes } else { Cached::No };
    Ok(place.map(|place| CacheOptions {
        place,
        sources,
        signing_key,
        time_to_live: lifetime(args.cache_ttl),
        copy_layers: cached(args.cache_copy_layers),
        copy_deltas: match args.cache_copy_delta {
            true => CopyDeltas::Written,
            false => CopyDeltas::Never,
        },
        run_layers: cached(args.cache_run_layers),
        new_layers: match args.no_push_cache {
            true => NewLayers::NotStored,
            false => NewLayers::Stored,
        },
    }))
}

/// Checks that what has changed of a COPY can become a layer of its own, where that is asked for.
pub fn check_delta(args: &BuildArgs) -> Result<(), Error> {
    let cache = &args.cache;
    let reason = match cache.cache_copy_delta {
        true if !cache.cache => "it needs `--cache`",
        true if !cache.cache_copy_layers => "it needs `--cache-copy-layers`",
        true if args.image.reproducible => {
            "with `--reproducible` layers do not depend on what was built before"
        }
        true if args.snapshot.single_snapshot => {
            "with `--single-snapshot` no step has its own layer"
        }
        true | false => return Ok(()),
    };
    let (value, reason) = ("true".to_owned(), reason.to_owned());
    Err(Error::WrongValue { flag: DELTA, value, reason })
}

fn beside(destination: &Reference) -> Reference {
    let repository = format!("{}/cache", destination.repository());
    Reference::with_tag(destination.registry().to_owned(), repository, "latest".to_owned())
}

fn place(flag: &'static str, text: &str, facts: &Facts) -> Result<CachePlace, Error> {
    let wrong = |reason: String| Error::WrongValue { flag, value: text.to_owned(), reason };
    if let Some(path) = text.strip_prefix("oci:") {
        return match path.is_empty() {
            true => Err(wrong("expected a path after `oci:`".to_owned())),
            false => Ok(CachePlace::Directory(absolute(path, facts))),
        };
    }
    let reference: Reference =
        text.parse().map_err(|error: oci_client::ParseError| wrong(error.to_string()))?;
    let name = text.rsplit('/').next().unwrap_or(text);
    let has_tag = name.contains(':') && text.contains('/');
    if has_tag || reference.digest().is_some() {
        return Err(wrong("expected a repository, without tag and digest".to_owned()));
    }
    Ok(CachePlace::Repository(reference))
}
