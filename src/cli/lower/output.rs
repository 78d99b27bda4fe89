//! Destinations and files.

use url::Url;

use super::{absolute, filled};
use crate::build::options::{Destination, DigestSink, OutputOptions, Push};
use crate::cli::args::OutputArgs;
use crate::cli::env::{Environment, Facts};
use crate::cli::error::Error;
use crate::cli::masks;

/// Lowers the flags of the output.
pub fn output(
    args: &OutputArgs,
    environment: &Environment,
    facts: &Facts,
) -> Result<OutputOptions, Error> {
    let sink = |text: &str, flag| filled(text).map(|text| sink(text, flag, facts)).transpose();
    if args.benchmark_file.starts_with("gs://") {
        return Err(Error::WrongValue {
            flag: "--benchmark-file",
            value: args.benchmark_file.clone(),
            reason: "it can only be a file of this machine".to_owned(),
        });
    }
    Ok(OutputOptions {
        destinations: args
            .destination
            .iter()
            .map(|text| destination(text))
            .collect::<Result<_, _>>()?,
        push: if args.no_push { Push::No } else { Push::Yes },
        tar_path: filled(&args.tar_path).map(|text| absolute(text, facts)),
        oci_layout_path: filled(&args.oci_layout_path).map(|text| absolute(text, facts)),
        digest_file: sink(&args.digest_file, "--digest-file")?,
        image_name_with_digest_file: sink(
            &args.image_name_with_digest_file,
            "--image-name-with-digest-file",
        )?,
        image_name_tag_with_digest_file: sink(
            &args.image_name_tag_with_digest_file,
            "--image-name-tag-with-digest-file",
        )?,
        builder_output: environment
            .path("BUILDER_OUTPUT")
            .map(|path| facts.current_directory.join(path)),
        benchmark_file: filled(&args.benchmark_file).map(|text| absolute(text, facts)),
    })
}

fn destination(text: &str) -> Result<Destination, Error> {
    const FLAG: &str = "--destination";
    let reference: oci_client::Reference = text.parse().map_err(|source| Error::Reference {
        flag: FLAG,
        value: text.to_owned(),
        source,
    })?;
    match reference.digest() {
        None => Ok(Destination { reference, typed: text.to_owned() }),
        Some(_) => Err(Error::WrongValue {
            flag: FLAG,
            value: text.to_owned(),
            reason: "a destination is named by a tag, not by a digest".to_owned(),
        }),
    }
}

fn sink(text: &str, flag: &'static str, facts: &Facts) -> Result<DigestSink, Error> {
    if !text.starts_with("https://") {
        return Ok(DigestSink::File(absolute(text, facts)));
    }
    Url::parse(text).map(DigestSink::Put).map_err(|error| Error::WrongValue {
        flag,
        value: masks::url(text),
        reason: error.to_string(),
    })
}
