//! Finding out what one step, or what a stage starts from, is made of.

use std::hash::RandomState;

use jiff::Timestamp;
use snapshot::RootfsPath;
use snapshot::layer::Changed;

use super::{Keys, StepKey};
use crate::build::bases::{Bases, name_of};
use crate::build::caching::Purpose;
use crate::build::caching::parts::{
    copy_parts, layer_parts, mount_parts, option_parts, run_parts, workdir_parts,
};
use crate::build::caching::reading::{Reading, Reads, add_fetched, add_files, context_of};
use crate::build::known::KnownContexts;
use crate::build::options::CopyDeltas;
use crate::build::session::Session;
use crate::cache::{Key, MadeOf};
use crate::execute::{ContentDigests, ExecuteError, Watch, inputs};
use crate::plan::{Base, CopySource, CopyStep, Plan, PlannedStage, RunMount, Step, StepKind};
use crate::report::fault::one_line;

pub(super) struct Reader<'a> {
    session: &'a Session<'a>,
    bases: &'a Bases<'a>,
    pub(super) plan: &'a Plan,
    purpose: Purpose,
    contexts: KnownContexts<'a>,
    /// What was read for keys.
    pub(super) digests: ContentDigests,
    pub(super) hasher: RandomState,
    watch: Watch,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        session: &'a Session<'a>,
        bases: &'a Bases<'a>,
        plan: &'a Plan,
        purpose: Purpose,
    ) -> Self {
        let deltas = session.options.cache.as_ref().map(|cache| cache.copy_deltas);
        let hasher = RandomState::new();
        let watch = Watch::new(&hasher, &Changed::default());
        let digests = ContentDigests::new(session.threads());
        let digests = match deltas {
            Some(CopyDeltas::Written) => digests.remembering_all(),
            Some(CopyDeltas::Never) | None => digests,
        };
        let contexts = KnownContexts::open(session);
        Self { session, bases, plan, purpose, contexts, digests, hasher, watch }
    }

    /// Keeps what was found out of files, for later builds.
    pub(super) fn keep(&self) {
        self.contexts.keep();
    }

    /// Tells whether files are best read when their steps are made, because nothing is known of them as
    /// they are. Where nothing is made, later builds learn of them only from reading them.
    pub(super) fn reads_late(&self) -> bool {
        match self.purpose {
            Purpose::Build => !self.contexts.is_of_use(),
            Purpose::Show => self.contexts.is_empty(),
        }
    }

    /// Returns the key of what another stage has made, which is that one's own.
    pub(super) fn base_stage(&self, base: usize, last: &Key) -> Option<StepKey> {
        let mut made_of = MadeOf::default();
        made_of.part("stage", self.stage_name(base), |writer| writer.key("last", last));
        Some(self.key_of_base(*last, made_of))
    }

    /// Returns the key of a base's files, and of all that decides how steps become layers; `None` for a
    /// base that is a stage.
    pub(super) fn base(&self, stage: &PlannedStage) -> Option<StepKey> {
        let (name, image) = match &stage.base {
            Base::Stage(_) => return None,
            Base::Scratch => ("the base".to_owned(), None),
            Base::Image(request) => {
                (format!("the base `{}`", name_of(request)), Some(self.bases.image(request)))
            }
        };
        let mut made_of = MadeOf::default();
        option_parts(&mut made_of, self.session.options, &stage.platform);
        layer_parts(&mut made_of, name, image.as_ref());
        Some(self.key_of_base(made_of.key("base", None), made_of))
    }

    fn key_of_base(&self, key: Key, made_of: MadeOf) -> StepKey {
        let reading = self.reading(Timestamp::now());
        StepKey { key, ground: None, made_of, reading, has_read_bytes: false }
    }

    fn stage_name(&self, position: usize) -> String {
        match self.plan.stages.get(position) {
            Some(PlannedStage { name: Some(name), .. }) => format!("stage `{name}`"),
            Some(stage) => format!("stage {}", stage.index),
            None => "a stage".to_owned(),
        }
    }

    /// Returns the key of a step; `None` where what it reads cannot be read: the step will say why.
    pub(super) fn step(&self, parent: &Key, step: &Step, known: &Keys<'_>) -> Option<StepKey> {
        let mut made_of = MadeOf::default();
        // Before this is watched: it may have others read.
        step.source_stages().for_each(|source| _ = known.last(source));
        self.watch.take();
        let asked_count = self.digests.asked_count();
        let began = Timestamp::now();
        let domain = match &step.kind {
            StepKind::Run(run) => {
                run_parts(&mut made_of, run, &step.config);
                for mount in &run.mounts {
                    let is_given = |id: &str| self.session.secrets.contains_key(id);
                    mount_parts(&mut made_of, mount, &is_given);
                    if let RunMount::Bind(bind) = mount
                        && !self.can_add(&mut made_of, step, &Reads::of_mount(bind), known)
                    {
                        return None;
                    }
                    // So that no file of one can be taken for one of the next.
                    let count = made_of.file_count() as u64;
                    made_of.part("mounted files", "how many files are mounted", |writer| {
                        writer.number("count", count);
                    });
                }
                "run"
            }
            StepKind::Workdir(workdir) => {
                workdir_parts(&mut made_of, workdir);
                "workdir"
            }
            StepKind::Copy(copy) => {
                copy_parts(&mut made_of, copy);
                if !self.can_add_fetched(&mut made_of, step, copy)
                    || !self.can_add(&mut made_of, step, &Reads::of_copy(copy), known)
                {
                    return None;
                }
                "copy"
            }
            StepKind::Metadata => return None,
        };
        let is_of_context = matches!(
            &step.kind,
            StepKind::Copy(CopyStep {
                from: CopySource::Context | CopySource::NamedContext(_),
                ..
            })
        );
        let ground = is_of_context.then(|| made_of.ground(domain, parent));
        let key = made_of.key(domain, Some(parent));
        let (reading, has_read_bytes) =
            (self.reading(began), self.digests.asked_count() > asked_count);
        Some(StepKey { key, ground, made_of, reading, has_read_bytes })
    }

    fn reading(&self, began: Timestamp) -> Reading {
        Reading { seen: self.watch.take(), began }
    }

    /// Adds what a step copies or mounts; false where that has no key.
    fn can_add(&self, made_of: &mut MadeOf, step: &Step, reads: &Reads, known: &Keys<'_>) -> bool {
        match self.source(made_of, reads, known) {
            Ok(added) => added.is_some(),
            Err(error) => {
                tracing::debug!(%error, step = step.text, "it has no key");
                false
            }
        }
    }

    /// Adds what an ADD fetches; false where that has no key. Nothing is fetched only to
    /// show what is cached.
    fn can_add_fetched(&self, made_of: &mut MadeOf, step: &Step, copy: &CopyStep) -> bool {
        for remote in copy.remotes() {
            if self.purpose == Purpose::Show && !remote.is_pinned() {
                return false;
            }
            match self.session.identity_of_remote(remote) {
                Ok(identity) => add_fetched(made_of, remote, &identity),
                Err(error) => {
                    tracing::debug!(error = one_line(&error), step = step.text, "it has no key");
                    return false;
                }
            }
        }
        true
    }

    /// Adds what a step reads; `None` where that has no key.
    fn source(
        &self,
        made_of: &mut MadeOf,
        reads: &Reads,
        known: &Keys<'_>,
    ) -> Result<Option<()>, ExecuteError> {
        match &reads.copy.from {
            CopySource::Context | CopySource::NamedContext(_) => {
                // The step will say what is wrong with one that is missing.
                let Some(context) = context_of(self.session, &reads.copy.from) else {
                    return Ok(None);
                };
                let keeps = |path: &RootfsPath| context.contains(path);
                let source = reads.source(context, &keeps).with_known(self.contexts.of(context));
                let source = source.watched_by(&self.watch);
                add_files(made_of, &inputs(&reads.copy, &source, &self.digests)?);
                Ok(Some(()))
            }
            // What the stage is made of decides what is in it: no file of it has to be there.
            CopySource::Stage(source) => Ok(known.last(*source).map(|last| {
                let name = self.stage_name(*source);
                made_of.part("stage", name, |writer| writer.key("last", &last));
            })),
            CopySource::Image(request) => {
                let platform = request.platform.to_string();
                made_of.part("platform", "the platform", |writer| writer.text("name", &platform));
                let name = format!("`{}`", name_of(request));
                layer_parts(made_of, name, Some(&self.bases.image(request)));
                Ok(Some(()))
            }
        }
    }
}
