//! One measured build, in a process of its own.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use super::error::CompareError;
use super::layer::{Layer, judge};
use super::mode::Mode;
use super::observer::{Observer, Watch};
use super::record::RunRecord;
use super::tree::Ignored;
use crate::build::{
    self, BuildOptions,
    options::{ContextSource, NamedContextSource, Unpacking},
};
use crate::interrupt::Interrupt;
use crate::report::event::EventSink;
use crate::report::fault::one_line;

/// What a measured process has to know beside the build's flags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    /// The mode's name.
    pub(super) mode: String,
    /// Whether the tree is read after each step, to find what was missed.
    pub(super) check: bool,
    /// Files to write one's own process number to, before anything else.
    pub(super) control_groups: Vec<PathBuf>,
    /// Where the record goes.
    pub(super) record: PathBuf,
}

/// Runs the build that the file `job` and `options` describe, and writes what it took.
///
/// # Errors
/// [`CompareError::Build`] when the build failed, which is in the record too, or an error of the
/// measuring itself.
pub fn measure(
    job: &Path,
    options: &BuildOptions,
    log: &dyn EventSink,
    interrupt: &Interrupt,
) -> Result<(), CompareError> {
    let text = fs::read(job).map_err(CompareError::at("read", job))?;
    let document = |source| CompareError::Document { path: job.to_owned(), source };
    let job: Job = serde_json::from_slice(&text).map_err(document)?;
    for group in &job.control_groups {
        fs::write(group, "0").map_err(CompareError::at("write", group))?;
    }
    let mode: Mode = job.mode.parse().map_err(|_| CompareError::UnknownStep(job.mode.clone()))?;
    let watch = Watch { mode, check: job.check, ignored: ignored(options) };
    let observer = Observer::new(log, watch);
    // What is measured is what happens to files on disk.
    let mut options = options.clone();
    options.execution.unpacking = Unpacking::Always;
    let built = build::build(&options, &observer, interrupt);
    let (mut record, changes) = observer.finish();
    let outcome = match &built {
        Ok(_) => match &options.output.oci_layout_path {
            Some(layout) => check_layers(&mut record, &changes, layout),
            None => Ok(()),
        },
        Err(error) => {
            let text = one_line(error);
            record.error = Some(text.clone());
            Err(CompareError::Build(text))
        }
    };
    // Resident memory is in KiB.
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
    record.peak_rss_bytes =
        usage.and_then(|usage| u64::try_from(usage.max_rss()).ok()).unwrap_or_default() * 1024;
    record.own_cpu_s = super::observer::process_cpu().as_secs_f64();
    let text = serde_json::to_vec(&record).map_err(document_at(&job.record))?;
    fs::write(&job.record, text).map_err(CompareError::at("write", &job.record))?;
    outcome
}

pub(super) fn document_at(path: &Path) -> impl FnOnce(serde_json::Error) -> CompareError {
    let path = path.to_owned();
    move |source| CompareError::Document { path, source }
}

/// Compares what changed on disk with the layers of the image.
fn check_layers(
    record: &mut RunRecord,
    changes: &super::observer::ChangesByStep,
    layout: &Path,
) -> Result<(), CompareError> {
    for (step, changes) in record.steps.iter_mut().zip(changes) {
        let (None, Some(changes)) = (&step.truth, changes) else { continue };
        let layer = match &step.layer_digest {
            None => Layer::default(),
            Some(digest) => Layer::open(layout, digest)
                .map_err(|source| CompareError::Layer { digest: digest.clone(), source })?,
        };
        step.truth = Some(judge(&layer, changes));
    }
    Ok(())
}

/// Returns what the build itself leaves out: paths that flags name and, where it builds in `/`, its
/// own files.
fn ignored(options: &BuildOptions) -> Ignored {
    let mut paths: Vec<PathBuf> =
        options.snapshots.ignored_paths.iter().map(PathBuf::from).collect();
    if options.snapshots.var_run == build::options::VarRun::Ignored {
        paths.push(PathBuf::from("/var/run"));
    }
    // These do no harm where each stage has a root of its own: nothing is there.
    paths.push(options.execution.work_directory.clone());
    if let ContextSource::Directory(path) = &options.context.source {
        paths.push(path.clone());
    }
    for named in &options.context.named {
        if let NamedContextSource::Directory(path) | NamedContextSource::OciLayout { path, .. } =
            &named.source
        {
            paths.push(path.clone());
        }
    }
    let bytes = |path: &PathBuf| {
        let text = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
        text.strip_prefix(b"/").unwrap_or(text).to_vec()
    };
    Ignored { paths: paths.iter().map(bytes).collect() }
}
