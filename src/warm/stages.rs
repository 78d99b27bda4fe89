//! The images of a Dockerfile: what its stages start from, and what they copy from.

use std::collections::BTreeMap;
use std::io;

use super::{Outcome, Wanted, WarmError, WarmOptions, Warmer};
use crate::build;
use crate::build::options::{DockerfileSource, StageSelection};
use crate::context::dockerfile::{FoundDockerfile, MAX_TEXT_BYTES, read_file, read_stdin};
use crate::dockerfile;
use crate::http::{HttpClient, redact};
use crate::image::{Platform, PlatformText};
use crate::plan::{self, ImageName, ImageRequest, PlanInputs};

/// Fetches the images of a Dockerfile, round by round: what a base triggers may name more.
pub(super) fn fetch(
    warmer: &Warmer<'_>,
    options: &WarmOptions,
    source: &DockerfileSource,
    http: &HttpClient,
) -> Result<Outcome, WarmError> {
    let found = match source {
        DockerfileSource::File { typed, in_current_directory } => {
            read_file(typed, in_current_directory)?
        }
        DockerfileSource::Stdin => read_stdin(io::stdin())?,
        DockerfileSource::Url(url) => {
            let text = warmer.runtime.block_on(build::fetch(http, url, MAX_TEXT_BYTES))?;
            FoundDockerfile::from_text(&redact(url), text)
        }
    };
    let parsed =
        dockerfile::parse(&found.text).map_err(|error| build::unparsed(&found.name, error))?;
    let build_platform = Platform::of_this_machine();
    let (mut images, named_contexts) = (BTreeMap::new(), BTreeMap::new());
    let mut outcome = Outcome::default();
    loop {
        let inputs = PlanInputs {
            build_args: &options.build_args,
            target: None,
            platform: options.platform.as_ref().map(PlatformText::as_str),
            build_platform: &build_platform,
            labels: &[],
            named_contexts: &named_contexts,
            images: &images,
            selection: StageSelection::UpToTarget,
        };
        let missing = plan::references(&parsed, &inputs)
            .map_err(|error| build::unplanned(&found.name, error))?;
        let wanted: Vec<(ImageRequest, Wanted)> = missing
            .into_iter()
            .filter_map(|request| {
                let ImageName::Reference(typed) = &request.image else { return None };
                let wanted = Wanted { typed: typed.clone(), platform: request.platform.clone() };
                Some((request, wanted))
            })
            .collect();
        if wanted.is_empty() {
            return Ok(outcome);
        }
        let fetched = warmer.fetch(wanted.iter().map(|(_, wanted)| wanted.clone()))?;
        let has_failed = fetched.first_failure.is_some();
        for (request, wanted) in wanted {
            if let Some(config) = fetched.configs.get(&wanted) {
                images.insert(request, config.clone());
            }
        }
        outcome.add(fetched);
        // What further ones there are cannot be known.
        if has_failed {
            return Ok(outcome);
        }
    }
}
