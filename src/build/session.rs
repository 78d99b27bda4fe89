//! What every phase of one build shares: options, store, sandbox, network, Dockerfile, contexts.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use snapshot::layer::{Compression, GzipLevel, LayerOptions, LevelError, MtimeRule, ZstdLevel};
use snapshot::track::TrackerKind;
use snapshot::{Mode, SnapshotOptions, Timestamp};
use tokio::runtime::Runtime;
use url::Url;

use super::commands::Commands;
use super::error::{BuildError, FailedStep, StepError};
use super::fetches::Fetches;
use super::in_dockerfile::InDockerfile;
use super::kept::Kept;
use super::options::{
    BuildOptions, CompressionChoice, Isolation, NamedContextSource, SnapshotFrequency,
    SnapshotMode, Timestamps,
};
use super::permission::Permission;
use super::{ignored, network};
use crate::context::BuildContext;
use crate::dockerfile::{ParseError, Source};
use crate::execute::Outline;
use crate::http::HttpClient;
use crate::image::{History, ImageFormat, LayerCompression};
use crate::interrupt::Interrupt;
use crate::plan::{HISTORY_COMMENT, Origin, PlanError, PlannedStage, Step};
use crate::registry::Registry;
use crate::report::event::{self, EventSink};
use crate::sandbox::{Form, GRACE, HostFiles, SandboxOptions};
use crate::secret::SecretBytes;
use crate::store::{CacheVolumes, Store, StoreError};
use crate::unpack::ImageHeaders;
use crate::uploads::Uploads;

/// What every phase of one build shares.
pub(super) struct Session<'a> {
    pub(super) options: &'a BuildOptions,
    pub(super) events: &'a dyn EventSink,
    pub(super) store: Store,
    /// What earlier builds and warmers have left.
    pub(super) kept: Kept,
    pub(super) commands: Commands,
    /// Asked before anything that takes long is begun.
    pub(super) interrupt: &'a Interrupt,
    pub(super) runtime: Runtime,
    pub(super) registry: Registry,
    pub(super) permission: Permission,
    /// Layers of the image on their way to its destinations.
    pub(super) uploads: Uploads,
    pub(super) http: HttpClient,
    pub(super) context: BuildContext,
    /// Directories that named contexts stand for, by lower-case name.
    pub(super) directories: BTreeMap<String, BuildContext>,
    /// What steps fetch.
    pub(super) fetches: Fetches,
    pub(super) dockerfile: DockerfileText,
    /// What commands may be given, by id.
    pub(super) secrets: BTreeMap<String, SecretBytes>,
    /// RFC 3339 time for config and history.
    pub(super) created: String,
}

/// The Dockerfile's name and lines, for errors.
pub(super) struct DockerfileText {
    pub(super) file: String,
    pub(super) source: Source,
}

impl DockerfileText {
    /// Returns the line of a step that is written in the Dockerfile.
    pub(super) fn line_of(&self, step: &Step) -> Option<u32> {
        match step.origin {
            Origin::Instruction | Origin::From => u32::try_from(step.span.start.line).ok(),
            Origin::Trigger => None,
        }
    }

    pub(super) fn at_step(&self, step: &Step, error: StepError) -> BuildError {
        BuildError::Step(Box::new(InDockerfile {
            error: FailedStep { text: step.text.clone(), error },
            file: self.file.clone(),
            snippet: Some(self.source.snippet(step.span)),
        }))
    }

    pub(super) fn unplanned(&self, error: PlanError) -> BuildError {
        unplanned(&self.file, error)
    }
}

/// Attaches the Dockerfile's name to what cannot be planned of it.
pub(crate) fn unplanned(file: &str, error: PlanError) -> BuildError {
    let snippet = error.snippet.clone();
    BuildError::Plan(Box::new(InDockerfile { error, file: file.to_owned(), snippet }))
}

/// Attaches the Dockerfile's name to a mistake in it.
pub(crate) fn unparsed(file: &str, error: ParseError) -> BuildError {
    let snippet = Some(error.snippet.clone());
    BuildError::Parse(Box::new(InDockerfile { error, file: file.to_owned(), snippet }))
}

/// Returns the time that config and history say, RFC 3339: now, or the epoch where equal builds
/// shall give equal bytes.
pub(super) fn creation_time(options: &BuildOptions) -> String {
    match options.layers.timestamps {
        Timestamps::Kept => jiff::Timestamp::now().to_string(),
        Timestamps::Zeroed => jiff::Timestamp::UNIX_EPOCH.to_string(),
    }
}

/// Returns where commands shall run.
pub(super) fn sandbox_options(options: &BuildOptions, host_files: HostFiles) -> SandboxOptions {
    let execution = &options.execution;
    SandboxOptions {
        supervisor: execution.supervisor.clone(),
        host_files,
        form: match execution.isolation {
            Isolation::Auto => None,
            Isolation::Namespaces => Some(Form::Namespaces),
            Isolation::UserNamespace => Some(Form::UserNamespace),
            Isolation::InPlace => Some(Form::InPlace),
        },
        overwrite: execution.overwrite,
        surroundings: execution.surroundings,
        grace: GRACE,
    }
}

impl Session<'_> {
    /// Returns a step as events show it; `number` counts from 0.
    pub(super) fn shown(&self, stage: &PlannedStage, number: usize, step: &Step) -> event::Step {
        event::Step {
            stage: stage.index,
            number: number + 1,
            total: stage.steps.len(),
            line: self.dockerfile.line_of(step),
            text: step.text.clone(),
        }
    }

    /// Waits until it is known that every destination may be pushed to.
    pub(super) fn permitted(&self) -> Result<(), BuildError> {
        self.permission.wait(&self.runtime, self.interrupt)
    }

    /// Removes what the build kept on disk.
    pub(super) fn close(self) -> Result<(), StoreError> {
        // The contexts' handles may be in the folder that goes.
        drop((self.context, self.directories, self.fetches));
        self.store.remove()
    }

    /// Sends text to an `https://` digest sink.
    pub(super) fn put_text(&self, url: &Url, text: String) -> Result<(), BuildError> {
        self.runtime.block_on(network::put_text(&self.http, url, text))
    }

    /// Returns how snapshots of a stage are taken.
    pub(super) fn snapshot_options(&self) -> Result<SnapshotOptions, BuildError> {
        let choices = &self.options.snapshots;
        let ignore = ignored::ignore_list(choices)?;
        Ok(SnapshotOptions {
            mode: match choices.mode {
                SnapshotMode::Tracker(TrackerKind::Content) => Mode::Full,
                SnapshotMode::Time => Mode::Time,
                SnapshotMode::Auto | SnapshotMode::Tracker(_) => Mode::Redo,
            },
            ignore,
            threads: Some(self.threads()),
            mtime: self.mtime_rule(),
        })
    }

    /// Returns the outline of what headers tell; of nothing where there are no layers.
    pub(super) fn outline(&self, headers: Option<Arc<ImageHeaders>>) -> Outline {
        let outline = headers.map_or_else(Outline::of_scratch, Outline::of_image);
        outline.with_mtimes(self.mtime_rule())
    }

    /// Returns the media type family that the options force, if they do.
    ///
    /// Docker's family has no zstd layers, so `--compression=zstd` makes the whole image OCI.
    pub(super) fn forced_format(&self) -> Option<ImageFormat> {
        match self.options.layers.compression {
            CompressionChoice::Zstd { .. } => Some(ImageFormat::Oci),
            CompressionChoice::Gzip { .. } => None,
        }
    }

    /// Returns the family of an image from scratch; kaniko's default is Docker's.
    pub(super) fn scratch_format(&self) -> ImageFormat {
        self.forced_format().unwrap_or(ImageFormat::Docker)
    }

    /// Returns the directories of commands' cache mounts: those that outlive the build, or its own
    /// where nothing can be kept.
    pub(super) fn volumes(&self) -> CacheVolumes {
        let shared = self.kept.store();
        match shared.is_writable() {
            true => shared.volumes(),
            false => CacheVolumes::new(self.store.folder().join("mounts")),
        }
    }

    pub(super) fn is_single_snapshot(&self) -> bool {
        self.options.snapshots.frequency == SnapshotFrequency::OncePerStage
    }

    pub(super) fn history(&self, created_by: &str) -> History {
        History {
            created: Some(self.created.clone()),
            created_by: Some(created_by.to_owned()),
            comment: Some(HISTORY_COMMENT.to_owned()),
            ..History::default()
        }
    }

    pub(super) fn threads(&self) -> NonZeroUsize {
        let found = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.options.layers.threads.unwrap_or_else(found)
    }

    /// Returns the directory or layout that a named context stands for.
    pub(super) fn named_layout(&self, name: &str) -> Result<(&Path, Option<&str>), BuildError> {
        let named = self.options.context.named.iter().rev();
        match named
            .into_iter()
            .find(|one| one.name.eq_ignore_ascii_case(name))
            .map(|one| &one.source)
        {
            Some(NamedContextSource::OciLayout { path, reference }) => {
                Ok((path, reference.as_deref()))
            }
            _ => Err(BuildError::NamedContext { name: name.to_owned(), expected: "an OCI layout" }),
        }
    }

    pub(super) fn named_directory(&self, name: &str) -> Result<&BuildContext, BuildError> {
        self.directories.get(&name.to_lowercase()).ok_or_else(|| BuildError::NamedContext {
            name: name.to_owned(),
            expected: "a directory",
        })
    }

    pub(super) fn layer_options(&self) -> Result<LayerOptions, LevelError> {
        // A level that does not fit the encoders' type is refused as one that is too high.
        let number = |level| i32::try_from(level).unwrap_or(i32::MAX);
        let compression = match self.options.layers.compression {
            CompressionChoice::Gzip { level: None } => {
                Compression::Gzip { level: GzipLevel::default() }
            }
            CompressionChoice::Gzip { level: Some(level) } => {
                Compression::Gzip { level: GzipLevel::new(number(level))? }
            }
            CompressionChoice::Zstd { level: None } => {
                Compression::Zstd { level: ZstdLevel::default() }
            }
            CompressionChoice::Zstd { level: Some(level) } => {
                Compression::Zstd { level: ZstdLevel::new(number(level))? }
            }
        };
        Ok(LayerOptions { compression, threads: self.threads(), mtime: self.mtime_rule() })
    }

    /// Returns what layers say of modification times.
    pub(super) fn mtime_rule(&self) -> MtimeRule {
        match self.options.layers.timestamps {
            Timestamps::Kept => MtimeRule::Keep,
            Timestamps::Zeroed => MtimeRule::Set(Timestamp { seconds: 0, nanoseconds: 0 }),
        }
    }

    pub(super) fn layer_media_type(&self) -> &'static str {
        let compression = match self.options.layers.compression {
            CompressionChoice::Gzip { .. } => LayerCompression::Gzip,
            CompressionChoice::Zstd { .. } => LayerCompression::Zstd,
        };
        ImageFormat::Oci.layer_type(compression).expect("OCI has a type for every compression")
    }
}
