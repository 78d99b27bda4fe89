//! What a build that runs commands would have here: its first steps, done for their outcome.
//!
//! Nothing is guessed that a build finds out by trying, and nothing is decided here that a build
//! decides: the forms of sandbox, the choice among them, the work directory and the trackers are
//! those of [`build`](super::build), by the same functions in the same order.

use std::io;
use std::path::{Path, PathBuf};

use snapshot::track::{Allowance, TrackerKind, max_user_watches};
use snapshot::{Blindness, Rootfs};

use super::error::BuildError;
use super::options::BuildOptions;
use super::roots::{admit, own_directories};
use super::session::sandbox_options;
use super::stay::Record;
use super::tracking::{RECORDING, decide, limits};
use super::trees;
use super::trial::{TrialPlace, why_no_overlay};
use crate::sandbox::{Form, HostFiles, Refusal, Right, Sandbox, try_form};
use crate::store::Store;

/// What a build would have here, as far as it would come.
#[derive(Debug, Default)]
pub struct Outlook {
    /// Each form of sandbox.
    pub forms: Vec<FormTrial>,
    /// The one that a build takes.
    pub sandbox: Option<ChosenSandbox>,
    /// Where root file systems would be.
    pub home: Option<PathBuf>,
    /// What the file system there does not tell of.
    pub blind_to: Vec<Blindness>,
    /// What files and users of images take there, and the kernel's answer where it refuses.
    pub rights: Vec<(Right, Option<io::Error>)>,
    /// How many inodes may be watched; `None` where the node's limit cannot be read.
    pub watches: Option<Allowance>,
    /// Each tracker that records something.
    pub trackers: Vec<TrackerTrial>,
    /// The one that a build takes, for stages that are worth it.
    pub tracker: Option<ChosenTracker>,
    /// Whether unpacked images can be shared.
    pub trees: Option<TreesTrial>,
    /// What would end a build that runs commands.
    pub error: Option<BuildError>,
}

/// Whether a stage's root can lie over an image that is unpacked in the directory that builds share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreesTrial {
    /// That directory.
    pub directory: PathBuf,
    /// What came of it.
    pub outcome: TreesOutcome,
}

/// What came of a trial of unpacked images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreesOutcome {
    /// They can be used.
    Usable,
    /// They cannot.
    Refused(String),
    /// There is no such directory.
    NoDirectory,
}

/// A form of sandbox, and why it cannot be used, if it cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormTrial {
    /// The form.
    pub form: Form,
    /// Why not.
    pub refusal: Option<Refusal>,
}

/// The sandbox of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenSandbox {
    /// Its form.
    pub form: Form,
    /// Why that one.
    pub reason: String,
    /// What the user should know of it.
    pub warning: Option<String>,
}

/// A tracker, and why it cannot be used, if it cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerTrial {
    /// The tracker.
    pub kind: TrackerKind,
    /// Why not.
    pub refusal: Option<String>,
}

/// The tracker of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenTracker {
    /// Which.
    pub kind: TrackerKind,
    /// Why that one.
    pub reason: String,
}

/// Does what a build with these options does first, and leaves nothing behind but the work
/// directory.
///
/// Called while the process has one thread, like [`build`](super::build); where this process is not
/// root's, it enters a user namespace and stays there.
pub fn outlook(options: &BuildOptions) -> Outlook {
    let mut outlook = Outlook::default();
    outlook.error = outlook.look(options).err();
    outlook
}

impl Outlook {
    fn look(&mut self, options: &BuildOptions) -> Result<(), BuildError> {
        let asked = sandbox_options(options, HostFiles::read()?);
        for form in Form::ALL {
            self.forms.push(FormTrial { form, refusal: try_form(&asked, form)? });
        }
        let sandbox = Sandbox::choose(asked)?;
        self.sandbox = Some(ChosenSandbox {
            form: sandbox.form(),
            reason: sandbox.reason().to_owned(),
            warning: sandbox.warning().map(str::to_owned),
        });
        let store = Store::open(&options.execution.work_directory)?;
        let looked = self.look_closer(options, TrialPlace { sandbox: &sandbox, store: &store });
        let removed = store.remove();
        looked?;
        Ok(removed?)
    }

    fn look_closer(
        &mut self,
        options: &BuildOptions,
        place: TrialPlace<'_>,
    ) -> Result<(), BuildError> {
        // Nothing may be tried where another build takes it for a change.
        let in_place = place.sandbox.open_place(&own_directories(&options.execution))?;
        let claim = in_place.map(|in_place| in_place.claim()).transpose()?;
        if let Some(claim) = &claim
            // What an earlier build left a build removes first.
            && !Record::is_there(&options.execution.work_directory)
        {
            admit(claim, &options.execution)?;
        }
        self.home = Some(match claim {
            Some(_) => PathBuf::from("/"),
            None => place.store.folder().to_owned(),
        });
        self.blind_to = place.on_grounds(|path| {
            let rootfs = Rootfs::open(path)?;
            Ok(snapshot::blind_to(&rootfs)?)
        })?;
        self.rights = place.on_grounds(|path: &Path| Ok(place.sandbox.try_rights(path)?))?;
        let limits = limits(&options.snapshots);
        self.watches = max_user_watches().ok().map(|watches| limits.allowance(watches));
        for kind in RECORDING {
            let refusal = place.try_tracker(kind, limits)?;
            self.trackers.push(TrackerTrial { kind, refusal });
        }
        let refusal_of = |kind| {
            let tried = self.trackers.iter().find(|trial| trial.kind == kind);
            Ok::<_, BuildError>(tried.and_then(|trial| trial.refusal.clone()))
        };
        let (choice, reason) = decide(options.snapshots.mode, refusal_of)?;
        self.tracker = Some(ChosenTracker { kind: choice.kind, reason });
        self.trees = Some(try_trees(options, place));
        Ok(())
    }
}

fn try_trees(options: &BuildOptions, place: TrialPlace<'_>) -> TreesTrial {
    let directory = options.shared.directory.clone();
    let outcome = match why_no_overlay(place.sandbox.form()) {
        Some(reason) => TreesOutcome::Refused(reason.to_owned()),
        None if !directory.is_dir() => TreesOutcome::NoDirectory,
        None => match trees::try_out(&directory, place.store.folder()) {
            None => TreesOutcome::Usable,
            Some(reason) => TreesOutcome::Refused(reason),
        },
    };
    TreesTrial { directory, outcome }
}
