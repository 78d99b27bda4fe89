//! What steps read of contexts, and how that was when their keys were made of it.

use jiff::{SignedDuration, Timestamp};
use snapshot::{FileKind, RootfsPath};

use super::parts::input_part;
use crate::build::fetches::{RemoteIdentity, shown};
use crate::build::session::Session;
use crate::cache::MadeOf;
use crate::context::BuildContext;
use crate::execute::{Input, Seen, Source};
use crate::plan::{BindMount, CopySource, CopyStep, Remote, RunMount, Step, StepKind};

/// How much older than its reading a change has to be for no other change to have the same time: twice
/// the longest tick of a kernel.
const TICK: SignedDuration = SignedDuration::from_millis(20);

/// How contexts were read for a key.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) seen: Seen,
    pub(super) began: Timestamp,
}

impl Reading {
    /// Tells whether something had only just changed.
    pub(super) fn is_fresh(&self) -> bool {
        let snapshot::Timestamp { seconds, nanoseconds } = self.seen.newest;
        let nanoseconds = i32::try_from(nanoseconds).unwrap_or_default();
        // A time that is none of this calendar is not one of just now.
        let newest = Timestamp::new(seconds, nanoseconds).unwrap_or_default();
        self.began.duration_since(newest) < TICK
    }
}

/// Adds what an ADD fetches.
pub(super) fn add_fetched(made_of: &mut MadeOf, remote: Remote<'_>, identity: &RemoteIdentity) {
    made_of.file(shown(remote), |writer| match identity {
        RemoteIdentity::Content(digest) => writer.digest("fetched", digest),
        RemoteIdentity::Commit(id) => writer.text("commit", id),
    });
}

/// Tells whether a step reads a context.
pub(super) fn reads_context(step: &Step) -> bool {
    let is_context =
        |from: &CopySource| matches!(from, CopySource::Context | CopySource::NamedContext(_));
    Reads::of_step(step).iter().any(|reads| is_context(&reads.copy.from))
}

/// What a step reads of another tree.
pub(super) struct Reads {
    pub(super) copy: CopyStep,
    is_mount: bool,
}

impl Reads {
    pub(super) fn of_copy(copy: &CopyStep) -> Self {
        Self { copy: copy.clone(), is_mount: false }
    }

    pub(super) fn of_mount(bind: &BindMount) -> Self {
        Self { copy: bind.as_copy(), is_mount: true }
    }

    /// Returns all that a step reads.
    pub(super) fn of_step(step: &Step) -> Vec<Self> {
        match &step.kind {
            StepKind::Run(run) => {
                let binds = run.mounts.iter().filter_map(|mount| match mount {
                    RunMount::Bind(bind) => Some(Self::of_mount(bind)),
                    RunMount::Cache(_) | RunMount::Tmpfs(_) | RunMount::Secret(_) => None,
                });
                binds.collect()
            }
            StepKind::Copy(copy) => vec![Self::of_copy(copy)],
            StepKind::Workdir(_) | StepKind::Metadata => Vec::new(),
        }
    }

    /// Returns the tree it is read from, a context.
    pub(super) fn source<'a>(
        &self,
        context: &'a BuildContext,
        keeps: &'a dyn Fn(&RootfsPath) -> bool,
    ) -> Source<'a> {
        let source = Source::context(context.root(), keeps);
        if self.is_mount { source.mounted() } else { source }
    }
}

/// Returns the context that a step reads, if that is there.
pub(super) fn context_of<'a>(
    session: &'a Session<'_>,
    from: &CopySource,
) -> Option<&'a BuildContext> {
    match from {
        CopySource::Context => Some(&session.context),
        CopySource::NamedContext(name) => session.named_directory(name).ok(),
        CopySource::Stage(_) | CopySource::Image(_) => None,
    }
}

/// Adds what a copy reads.
pub(super) fn add_files(made_of: &mut MadeOf, inputs: &[Input]) {
    for input in inputs {
        let slash = if input.kind == FileKind::Directory { "/" } else { "" };
        let path = String::from_utf8_lossy(input.path.as_bytes());
        let shown = format!("{}{slash}", path.trim_start_matches('/'));
        made_of.file(shown, |writer| input_part(writer, input));
    }
}
