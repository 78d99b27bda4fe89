use std::io;
use std::path::PathBuf;

use snapshot::Blindness;
use snapshot::track::{Allowance, Bound, TrackerKind};

use super::facts::{Facts, Inotify, Kernel, Process, WorkDirectory};
use super::*;
use crate::build::{FormTrial, TrackerTrial, TreesOutcome, TreesTrial};
use crate::sandbox::{Form, GroupLimits, Mount, Refusal, Right, SandboxError, SetupAction, Sign};

fn mount(point: &str, kind: &str, is_read_only: bool) -> Mount {
    Mount { point: point.into(), kind: kind.to_owned(), options: String::new(), is_read_only }
}

fn refusal(action: Option<SetupAction>, reason: &str, hint: Option<&str>) -> Refusal {
    Refusal { action, reason: reason.to_owned(), hint: hint.map(str::to_owned) }
}

/// An ordinary Pod.
fn facts() -> Facts {
    Facts {
        process: Process {
            uid: 0,
            effective: 0xa804_25fb,
            seccomp: Some(2),
            no_new_privileges: false,
        },
        has_machine_ids: true,
        profile: Some("cri-containerd.apparmor.d (enforce)".to_owned()),
        kernel: Kernel { release: "6.8.0".to_owned(), version: "#1 SMP".to_owned() },
        signs: vec![Sign::MountedHosts, Sign::Pod],
        limits: GroupLimits {
            memory_bytes: Some(1 << 30),
            memory_used_bytes: Some(5 << 20),
            processes: None,
            processes_used: Some(2),
            processors_milli: Some(1500),
        },
        inotify: Inotify {
            max_user_watches: Some(800_000),
            max_user_instances: Some(128),
            max_queued_events: Some(16384),
            watches_seen: 0,
            instances_seen: 0,
        },
        mounts: vec![
            mount("/", "overlay", false),
            mount("/proc", "proc", false),
            mount("/dev/termination-log", "ext4", false),
            mount("/etc/hosts", "ext4", false),
            mount("/var/run/secrets/kubernetes.io/serviceaccount", "tmpfs", true),
            mount("/kaniko/.docker", "tmpfs", true),
        ],
        work: WorkDirectory {
            path: "/kaniko".into(),
            file_system: Some("overlay".to_owned()),
            free_bytes: Some(20 << 30),
            free_inodes: Some(1_000_000),
        },
        kept: vec!["/kaniko".into()],
    }
}

fn outlook() -> Outlook {
    let refused = "cannot run commands here: this process may not make namespaces: Operation not \
                   permitted (os error 1)";
    let no_user = "cannot run commands here: this user may not make a user namespace: Operation not \
                   permitted (os error 1)";
    let form = |form, refusal| FormTrial { form, refusal };
    let tracker =
        |kind, refusal: Option<&str>| TrackerTrial { kind, refusal: refusal.map(str::to_owned) };
    Outlook {
        forms: vec![
            form(Form::Namespaces, Some(refusal(Some(SetupAction::Unshare), refused, None))),
            form(Form::UserNamespace, Some(refusal(None, no_user, Some("run zuwai as root")))),
            form(Form::InPlace, None),
        ],
        sandbox: Some(ChosenSandbox {
            form: Form::InPlace,
            reason: "a container (this is a Kubernetes Pod)".to_owned(),
            warning: None,
        }),
        home: Some(PathBuf::from("/")),
        blind_to: Vec::new(),
        rights: Right::ALL.into_iter().map(|right| (right, None)).collect(),
        watches: Some(Allowance { watch_count: 100_000, bound: Bound::NodeLimit(800_000) }),
        trackers: vec![
            tracker(TrackerKind::Overlay, Some("commands run in the root of the container itself")),
            tracker(TrackerKind::Fanotify, Some("cannot make an event queue: not permitted")),
            tracker(TrackerKind::Inotify, None),
        ],
        tracker: Some(ChosenTracker {
            kind: TrackerKind::Inotify,
            reason: "overlay: no; fanotify: no".to_owned(),
        }),
        trees: Some(TreesTrial {
            directory: "/cache".into(),
            outcome: TreesOutcome::Refused(
                "commands run in the root of the container itself".to_owned(),
            ),
        }),
        error: None,
    }
}

fn examination(facts: &Facts, outlook: Outlook) -> Examination {
    let findings = judge(facts, &outlook);
    let Outlook { sandbox, tracker, error, .. } = outlook;
    Examination { findings, sandbox, tracker, error }
}

fn finding(examination: &Examination, about: &str) -> Finding {
    let found = examination.findings.iter().find(|finding| finding.about == about);
    found.expect("a finding of that name").clone()
}

#[test]
fn an_ordinary_pod_is_described_with_what_it_lacks() {
    let table = examination(&facts(), outlook()).table();
    assert_eq!(table, include_str!("../../tests/golden/doctor/ordinary.txt"));
}

#[test]
fn programs_read_the_same_in_json() {
    let examination = examination(&facts(), outlook());
    let value: serde_json::Value = serde_json::from_str(&examination.json()).expect("JSON");
    assert_eq!(value["format"], 1);
    assert_eq!(value["can_build"], true);
    assert_eq!(value["error"], serde_json::Value::Null);
    assert_eq!(value["sandbox"]["form"], "in place");
    assert_eq!(value["tracker"]["name"], "inotify");
    let findings = value["findings"].as_array().expect("a list");
    assert_eq!(findings.len(), examination.findings.len());
    let user = serde_json::json!({"about": "user", "verdict": "yes", "found": "root"});
    assert_eq!(findings.first(), Some(&user));
}

#[test]
fn each_step_towards_namespaces_is_told_apart() {
    let check = |action: Option<SetupAction>, expected: [Verdict; 3]| {
        let mut outlook = outlook();
        let refused = action.map(|action| refusal(Some(action), "refused", None));
        outlook.forms = vec![FormTrial { form: Form::Namespaces, refusal: refused }];
        let examination = examination(&facts(), outlook);
        let verdict = |about| finding(&examination, about).verdict;
        let found = ["namespaces", "mounts in namespaces", "pivot_root"].map(verdict);
        assert_eq!(found, expected);
    };
    let (yes, no, not) = (Verdict::Yes, Verdict::No, Verdict::NotTried);
    check(None, [yes, yes, yes]);
    check(Some(SetupAction::Unshare), [no, not, not]);
    let mount = SetupAction::Mount { what: "proc".to_owned(), target: "/proc".to_owned() };
    check(Some(mount), [yes, no, not]);
    check(Some(SetupAction::PivotRoot), [yes, yes, no]);
}

#[test]
fn unpacked_images_are_told_of_where_they_could_be() {
    let found = |outcome| {
        let trees = Some(TreesTrial { directory: "/kept".into(), outcome });
        let found =
            finding(&examination(&facts(), Outlook { trees, ..outlook() }), "unpacked images");
        (found.verdict, found.found)
    };
    let usable = "bases and cached layers can stay unpacked in `/kept` for later builds";
    assert_eq!(found(TreesOutcome::Usable), (Verdict::Yes, usable.to_owned()));
    let absent = "there is no `/kept`: name a `--cache-dir`";
    assert_eq!(found(TreesOutcome::NoDirectory), (Verdict::NotTried, absent.to_owned()));
    let refused = TreesOutcome::Refused("refused".to_owned());
    assert_eq!(found(refused), (Verdict::No, "refused".to_owned()));
}

#[test]
fn a_restricted_pod_is_told_what_it_lacks() {
    let refused = || Some(io::Error::from_raw_os_error(1));
    let facts = Facts {
        process: Process { uid: 1000, effective: 0, seccomp: Some(2), no_new_privileges: true },
        mounts: vec![mount("/", "overlay", true)],
        kernel: Kernel { release: "4.19.0-gvisor".to_owned(), version: String::new() },
        ..facts()
    };
    let outlook = Outlook {
        rights: vec![(Right::Owners, refused()), (Right::Users, refused())],
        blind_to: vec![Blindness::Mapping],
        sandbox: None,
        home: None,
        tracker: None,
        error: Some(SandboxError::NotRoot.into()),
        ..outlook()
    };
    let examination = examination(&facts, outlook);
    for (about, verdict, setting) in [
        ("user", Verdict::No, Some("`runAsUser: 0`")),
        (
            "owners and kinds of files",
            Verdict::No,
            Some("`capabilities.add: [CHOWN, SETUID, SETGID]`"),
        ),
        ("ending processes", Verdict::No, Some("`capabilities.add: [KILL]`")),
        ("new privileges", Verdict::No, Some("`allowPrivilegeEscalation: true`")),
        ("root file system", Verdict::No, Some("`readOnlyRootFilesystem: false`")),
        ("work directory", Verdict::NotTried, None),
        ("timestamps", Verdict::NotTried, None),
        ("kernel", Verdict::Fact, None),
    ] {
        let found = finding(&examination, about);
        assert_eq!((found.verdict, found.setting.as_deref()), (verdict, setting), "{about}");
    }
    let table = examination.table();
    assert!(
        table.contains("\nsandbox: none\ntracker: none\nA Dockerfile with RUN cannot be"),
        "{table}"
    );
    let value: serde_json::Value = serde_json::from_str(&examination.json()).expect("JSON");
    let error = serde_json::json!({
        "class": "infrastructure",
        "message": "only root can build in `/`",
        "hint": "run the container as root (`runAsUser: 0`)",
        "exit_code": 1,
    });
    assert_eq!((&value["can_build"], &value["error"]), (&false.into(), &error));
}
