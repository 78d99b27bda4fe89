mod instructions;
mod trees;

use std::collections::BTreeMap;

use super::*;
use crate::build::caching::parts::{copy_parts, mount_parts, run_parts, workdir_parts};
use crate::plan::{
    CopySource, CopyStep, PlanInputs, RunMount, RunStep, StageSelection, StepKind, plan as plan_of,
};

fn plan(dockerfile: &str, arguments: &[(&str, &str)]) -> Plan {
    let dockerfile = crate::dockerfile::parse(dockerfile.as_bytes()).unwrap();
    let build_args: BTreeMap<String, String> =
        arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let build_platform = Platform::new("linux", "amd64", None);
    let inputs = PlanInputs {
        build_args: &build_args,
        target: None,
        platform: None,
        build_platform: &build_platform,
        labels: &[],
        named_contexts: &BTreeMap::new(),
        images: &BTreeMap::new(),
        selection: StageSelection::Needed,
    };
    plan_of(&dockerfile, &inputs).unwrap()
}

/// Asks for the keys of commands.
fn runs(stage: &PlannedStage) -> Option<usize> {
    let is_run = |step: &Step| matches!(step.kind, StepKind::Run(_));
    stage.steps.iter().rposition(is_run).map(|last| last + 1)
}

#[test]
fn keys_are_asked_for_as_far_as_somebody_needs_them() {
    use Wanted::{Nothing, Steps};
    let check = |dockerfile: &str, expected: &[Wanted]| {
        assert_eq!(wanted(&plan(dockerfile, &[]), &runs), expected, "{dockerfile}");
    };
    check("FROM scratch\nCOPY . .\n", &[Nothing]);
    check("FROM scratch\nCOPY a .\nRUN x\nENV A=b\nCOPY . .\n", &[Steps(2)]);
    // The first is needed to its end, because a command goes on from there.
    check("FROM scratch AS a\nCOPY . .\nFROM a\nRUN x\nCOPY . .\n", &[Steps(1), Steps(1)]);
    check("FROM scratch AS a\nRUN x\nCOPY . .\nFROM a\nCOPY b b\n", &[Steps(1), Nothing]);
    check(
        "FROM scratch AS a\nCOPY . .\nFROM scratch\nCOPY --from=a . .\nRUN x\n",
        &[Steps(1), Steps(2)],
    );
    check(
        "FROM scratch AS a\nCOPY . .\nFROM scratch\nRUN x\nCOPY --from=a . .\n",
        &[Nothing, Steps(1)],
    );
}

fn run_step(plan: &Plan) -> (&RunStep, &Step) {
    let steps = plan.stages.iter().flat_map(|stage| &stage.steps);
    let mut found = steps.filter_map(|step| match &step.kind {
        StepKind::Run(run) => Some((run, step)),
        StepKind::Copy(_) | StepKind::Workdir(_) | StepKind::Metadata => None,
    });
    found.next_back().unwrap()
}

fn made_of(dockerfile: &str, arguments: &[(&str, &str)]) -> MadeOf {
    let plan = plan(dockerfile, arguments);
    let (run, step) = run_step(&plan);
    let mut made_of = MadeOf::default();
    run_parts(&mut made_of, run, &step.config);
    made_of
}

#[test]
fn a_command_is_made_of_what_it_sees() {
    let dockerfile = "FROM scratch\nENV E=1\nARG A=1\nRUN x\n";
    let before = made_of(dockerfile, &[]);
    let changed = |dockerfile: &str, arguments: &[(&str, &str)]| {
        before.record().changes(&made_of(dockerfile, arguments))
    };
    assert_eq!(changed(dockerfile, &[]), None);
    assert_eq!(changed("FROM scratch\nENV E=1\nARG A=1\nLABEL x=y\nRUN x\nCMD y\n", &[]), None);
    for (dockerfile, arguments, expected) in [
        (dockerfile, &[("A", "2")][..], "ARG A changed"),
        ("FROM scratch\nENV E=2\nARG A=1\nRUN x\n", &[], "ENV E changed"),
        ("FROM scratch\nENV E=1\nARG A=1\nRUN y\n", &[], "the instruction changed"),
        ("FROM scratch\nENV E=1\nARG A=1\nUSER 1\nRUN x\n", &[], "the user changed"),
        ("FROM scratch\nENV E=1\nARG A=1\nWORKDIR /w\nRUN x\n", &[], "the directory changed"),
        ("FROM scratch\nENV E=1\nRUN x\n", &[], "ARG A is gone"),
        ("FROM scratch\nENV E=1\nARG A=1 B=\nRUN x\n", &[], "ARG B is new"),
    ] {
        assert_eq!(changed(dockerfile, arguments).as_deref(), Some(expected), "{dockerfile}");
    }
}

#[test]
fn proxies_count_where_they_are_declared() {
    let proxies = [("HTTP_PROXY", "a"), ("no_proxy", "b")];
    let (plain, others) = ("FROM scratch\nRUN x\n", [("http_proxy", "c"), ("NO_PROXY", "d")]);
    let without = made_of(plain, &[]).key("run", None);
    assert_eq!(made_of(plain, &proxies).key("run", None), without);
    assert_eq!(made_of(plain, &others).key("run", None), without);
    let declared = "FROM scratch\nARG HTTP_PROXY\nRUN x\n";
    let with = made_of(declared, &proxies);
    assert_eq!(
        with.record().changes(&made_of(declared, &[("HTTP_PROXY", "z")])).as_deref(),
        Some("ARG HTTP_PROXY changed")
    );
    // The command has them all the same.
    let plan = plan(plain, &proxies);
    let names: Vec<&str> =
        run_step(&plan).0.environment.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"] {
        assert!(names.contains(&name), "{names:?}");
    }
}
