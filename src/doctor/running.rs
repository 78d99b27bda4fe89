//! Where commands can run.

use super::facts::Facts;
use super::finding::Finding;
use crate::build::{FormTrial, Outlook};
use crate::sandbox::{Form, Refusal, SetupAction, Sign};

/// What gives a Pod namespaces.
const NAMESPACES: &str = "`privileged: true`; or, in a Pod with `hostUsers: false`, \
     `capabilities.add: [SYS_ADMIN]` with the seccomp and AppArmor profiles `Unconfined`";

pub(super) fn findings(facts: &Facts, outlook: &Outlook) -> Vec<Finding> {
    let refusal = |form| {
        let trial = outlook.forms.iter().find(|trial| trial.form == form);
        trial.map(|FormTrial { refusal, .. }| refusal.as_ref())
    };
    let mut findings = vec![user(facts), container(&facts.signs)];
    findings.extend(namespaces(refusal(Form::Namespaces)));
    findings.push(user_namespace(facts.process.uid, refusal(Form::UserNamespace)));
    findings.push(in_place(refusal(Form::InPlace)));
    findings
}

fn user(facts: &Facts) -> Finding {
    const ABOUT: &str = "user";
    match (facts.process.uid, facts.has_machine_ids) {
        (0, true) => Finding::yes(ABOUT, "root"),
        (0, false) => Finding::yes(ABOUT, "root of a user namespace"),
        (uid, _) => Finding::no(ABOUT, format!("user {uid}"))
            .costs(
                "RUN, `COPY --from` and archives in ADD take subordinate ids and a user namespace, \
                 which Pods do not have",
            )
            .given_by("`runAsUser: 0`"),
    }
}

fn container(signs: &[Sign]) -> Finding {
    const ABOUT: &str = "container";
    if signs.is_empty() {
        return Finding::no(ABOUT, "no sign of one")
            .costs("nothing is built in `/` unless `--force` is given");
    }
    let signs: Vec<String> = signs.iter().map(Sign::to_string).collect();
    Finding::yes(ABOUT, signs.join("; "))
}

/// How far the set-up of a step in namespaces came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Namespaces,
    Mounts,
    Pivot,
}

impl Reach {
    /// Returns what was refused.
    fn of(action: &SetupAction) -> Self {
        match action {
            SetupAction::PivotRoot | SetupAction::DetachOldRoot => Self::Pivot,
            SetupAction::MakePrivate
            | SetupAction::OpenRoot(_)
            | SetupAction::RootReplaced(_)
            | SetupAction::SetHostname
            | SetupAction::Mount { .. }
            | SetupAction::Create(_) => Self::Mounts,
            SetupAction::Unshare
            | SetupAction::Fork
            | SetupAction::Plumbing
            | SetupAction::Subreaper
            | SetupAction::ProcessTable
            | SetupAction::UnshareUser
            | SetupAction::FindMapper(_)
            | SetupAction::OpenMount(_)
            | SetupAction::RaiseLoopback
            | SetupAction::MapIds(_) => Self::Namespaces,
        }
    }
}

/// Says how far a step in namespaces came: each of the three comes after the one before.
fn namespaces(refusal: Option<Option<&Refusal>>) -> Vec<Finding> {
    let rows = [
        (Reach::Namespaces, "namespaces", "mount, PID, IPC and UTS namespaces"),
        (Reach::Mounts, "mounts in namespaces", "everything that a RUN gets"),
        (Reach::Pivot, "pivot_root", "a stage's directory becomes the root"),
    ];
    let reached = refusal.map(|refusal| {
        refusal.map(|refusal| refusal.action.as_ref().map_or(Reach::Namespaces, Reach::of))
    });
    let row = |(reach, about, what): (Reach, &'static str, &str)| match (reached, refusal) {
        (Some(None), _) => Finding::yes(about, what),
        (Some(Some(refused)), _) if reach < refused => Finding::yes(about, what),
        (Some(Some(refused)), Some(Some(refusal))) if reach == refused => {
            Finding::no(about, refusal.reason.clone())
                .costs(
                    "stages are built one after the other in `/` of this container, and a RUN sees \
                     the container's files, mounts and processes",
                )
                .given_by(NAMESPACES)
        }
        _ => Finding::not_tried(about, "not reached"),
    };
    rows.into_iter().map(row).collect()
}

fn user_namespace(uid: u32, refusal: Option<Option<&Refusal>>) -> Finding {
    const ABOUT: &str = "user namespace";
    match refusal {
        None => Finding::not_tried(ABOUT, "not reached"),
        Some(None) => Finding::yes(ABOUT, "with the ids that this user has"),
        Some(Some(refusal)) => {
            let finding = Finding::no(ABOUT, refusal.reason.clone());
            match &refusal.hint {
                // What a user lacks root has, but for the profiles of a container.
                _ if uid == 0 => finding
                    .costs("nothing but `--isolation=userns`: root builds without")
                    .given_by("the seccomp and AppArmor profiles `Unconfined`"),
                Some(hint) => finding.costs(USERS).given_by(hint.clone()),
                None => finding.costs(USERS),
            }
        }
    }
}

/// What an ordinary user lacks without a user namespace.
const USERS: &str = "RUN, `COPY --from` and archives in ADD cannot be built";

fn in_place(refusal: Option<Option<&Refusal>>) -> Finding {
    const ABOUT: &str = "building in `/`";
    match refusal {
        None => Finding::not_tried(ABOUT, "not reached"),
        Some(None) => Finding::yes(ABOUT, "as root of a container that can be thrown away"),
        Some(Some(refusal)) => {
            let finding = Finding::no(ABOUT, refusal.reason.clone())
                .costs("without namespaces no command can be run");
            match &refusal.hint {
                Some(hint) => finding.given_by(hint.clone()),
                None => finding,
            }
        }
    }
}
