//! What a build reads: its context, its Dockerfile, and the directories of named contexts.

use std::collections::BTreeMap;
use std::io;

use snapshot::Rootfs;

use super::error::BuildError;
use super::network;
use super::options::{BuildOptions, ContextSource, DockerfileSource, NamedContextSource};
use crate::context::{
    self, BuildContext, ContextError, Means,
    dockerfile::{FoundDockerfile, MAX_TEXT_BYTES},
};
use crate::http::redact;
use crate::store::Store;

/// What a build has read.
pub(super) struct Sources {
    pub(super) context: BuildContext,
    /// Contexts that are directories, by name in lower case.
    pub(super) directories: BTreeMap<String, BuildContext>,
    pub(super) dockerfile: FoundDockerfile,
}

/// Returns the Dockerfile where it can be read at once, from a directory on this machine. Whatever
/// is wrong is found again when all is read.
pub(super) fn peek(options: &BuildOptions) -> Option<Vec<u8>> {
    let (ContextSource::Directory(path), DockerfileSource::File { typed, in_current_directory }) =
        (&options.context.source, &options.dockerfile)
    else {
        return None;
    };
    let mut root = context::open_directory(path).ok()?;
    if let Some(sub_path) = &options.context.sub_path {
        root = context::enter(&root, sub_path).ok()?;
    }
    let found = context::dockerfile::find(typed, in_current_directory, &root);
    found.ok().map(|found| found.text)
}

/// Opens or unpacks the contexts and finds the Dockerfile.
pub(super) fn read(
    options: &BuildOptions,
    store: &Store,
    means: &Means<'_>,
) -> Result<Sources, BuildError> {
    let room = || -> Result<Rootfs, BuildError> { Ok(Rootfs::open(&store.create_context()?)?) };
    let mut root = context::open(&options.context.source, means, room)?;
    if let Some(sub_path) = &options.context.sub_path {
        root = context::enter(&root, sub_path)?;
    }
    let dockerfile = match &options.dockerfile {
        DockerfileSource::File { typed, in_current_directory } => {
            context::dockerfile::find(typed, in_current_directory, &root)?
        }
        DockerfileSource::Stdin => context::dockerfile::read_stdin(io::stdin())?,
        DockerfileSource::Url(url) => {
            let text = means.runtime.block_on(network::fetch(means.http, url, MAX_TEXT_BYTES))?;
            FoundDockerfile::from_text(&redact(url), text)
        }
    };
    let rules = context::dockerfile::ignore_rules(&root, dockerfile.ignore_file.as_ref())?;
    let context = BuildContext::new(root, &rules)?;
    let mut directories = BTreeMap::new();
    for named in &options.context.named {
        if let NamedContextSource::Directory(path) = &named.source {
            directories.insert(named.name.to_lowercase(), open_named(path)?);
        }
    }
    Ok(Sources { context, directories, dockerfile })
}

/// Opens the directory of a named context; its own `.dockerignore` counts, as with Docker.
fn open_named(path: &std::path::Path) -> Result<BuildContext, ContextError> {
    let root = context::open_directory(path)?;
    let rules = context::dockerfile::ignore_rules(&root, None)?;
    BuildContext::new(root, &rules)
}
