//! Instructions at random: two that do something else never have one key.

use std::cell::RefCell;
use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::plan::{RunStep, WorkdirStep};

/// What comes before the instruction.
const BEFORE: &[&str] = &[
    "ENV A=1",
    "ENV A=2",
    "ENV B=1",
    "ENV A=1\\ B=1",
    "ENV A=",
    "ENV AB=1",
    "ENV A=B=1",
    "ARG A=1",
    "ARG A=2",
    "ARG A",
    "ARG B=1 C=",
    "ARG HTTP_PROXY",
    "SHELL [\"/bin/sh\", \"-c\"]",
    "SHELL [\"/bin/sh\", \"-ec\"]",
    "SHELL [\"/bin/sh -c\"]",
    "USER 1",
    "USER 1:1",
    "USER root",
    "WORKDIR /a",
    "WORKDIR b",
    "LABEL a=b",
    "EXPOSE 1",
    "CMD x",
    "ENTRYPOINT [\"x\"]",
    "HEALTHCHECK CMD x",
    "STOPSIGNAL 1",
    "VOLUME /v",
    "ONBUILD RUN x",
];

const OPTIONS: &[&str] = &[
    "--mount=type=cache,target=/c",
    "--mount=type=cache,target=/c,id=a",
    "--mount=type=cache,target=/c,id=b",
    "--mount=type=cache,target=/c,id=a,sharing=locked",
    "--mount=type=cache,target=/d,id=a,readonly",
    "--mount=type=cache,target=/e,id=a,uid=1",
    "--mount=type=cache,target=/e,id=a,mode=0700",
    "--mount=type=tmpfs,target=/t",
    "--mount=type=tmpfs,target=/t,size=1m",
    "--mount=type=secret,id=a",
    "--mount=type=secret,id=b",
    "--mount=type=secret,id=a,env=A",
    "--mount=type=secret,id=a,target=/s",
    "--mount=type=secret,id=a,required=true,target=/r",
    "--mount=type=secret,id=a,target=/q,mode=0444",
    "--mount=type=bind,target=/m,source=a",
    "--mount=type=bind,target=/m,source=b",
    "--mount=type=bind,target=/n,source=a,rw",
    "--network=none",
];

const COMMANDS: &[&str] = &[
    "x",
    "x y",
    "[\"x\", \"y\"]",
    "[\"x y\"]",
    "[\"/bin/sh\", \"-c\", \"x\"]",
    // One after the other without their lengths they are the same.
    "[\"x\\u0001wordy\", \"z\"]",
    "[\"x\", \"y\\u0001wordz\"]",
    "<<E\nx\nE",
    "<<E\nx\ny\nE",
    "<<E\nx y\nE",
    "<<E\n#!/bin/x\ny\nE",
    "<<E\n#!/bin/x\nz\nE",
    "x <<A <<B\na\nA\nb\nB",
    "x <<A <<B\na\nb\nA\nB",
    "x <<A <<B\nA\na\nb\nB",
];

const COPIES: &[&str] = &[
    "COPY a b",
    "COPY a b/",
    "COPY a /b",
    "COPY a a b/",
    "COPY [\"a b\", \"c/\"]",
    "COPY a b c/",
    "ADD a b",
    "ADD a b c/",
    "COPY --chown=1 a b",
    "COPY --chown=1:1 a b",
    "COPY --chown=11 a b",
    "COPY --chmod=1 a b",
    "COPY --chmod=644 a b",
    "COPY --chmod=u=rw,go=r a b",
    "COPY --chmod=g-w a b",
    "COPY --link a b",
    "COPY --exclude=c a b",
    "COPY --exclude=c --exclude=d a b",
    "COPY --exclude=cd a b",
    "COPY <<x b/\ny\nx",
    "COPY <<x <<y b/\n1\nx\n2\ny",
    "COPY <<x <<y b/\n12\nx\ny",
    "COPY <<x <<y b/\nx\n12\ny",
    "COPY <<xy b/\n12\nxy",
    "COPY a <<x b/\n1\nx",
];

/// What a command does, as far as the command itself says it.
fn what_it_does(run: &RunStep) -> String {
    let mut run = run.clone();
    let undeclared = std::mem::take(&mut run.undeclared);
    run.environment.retain(|(name, _)| !undeclared.contains(name));
    for mount in &mut run.mounts {
        match mount {
            // Who else may use it meanwhile is nothing that it sees.
            RunMount::Cache(cache) => {
                cache.sharing = crate::dockerfile::instruction::Sharing::Shared
            }
            // There is nothing to be cached of one that fails.
            RunMount::Secret(secret) => secret.is_required = false,
            // Half of the memory is as much as nobody gives.
            RunMount::Tmpfs(tmpfs) => tmpfs.size_bytes = tmpfs.size_bytes.filter(|size| *size > 0),
            RunMount::Bind(_) => {}
        }
    }
    format!("{run:?}")
}

/// Returns what the last step does, and its key.
fn last(dockerfile: &str, arguments: &[(&str, &str)]) -> Option<(String, Key)> {
    let plan = plan(dockerfile, arguments);
    let step = plan.stages.last()?.steps.iter().rfind(|step| step.makes_layer())?;
    let mut made_of = MadeOf::default();
    match &step.kind {
        StepKind::Run(run) => {
            run_parts(&mut made_of, run, &step.config);
            for mount in &run.mounts {
                mount_parts(&mut made_of, mount, &|_| false);
            }
            Some((what_it_does(run), made_of.key("run", None)))
        }
        StepKind::Copy(copy) => {
            copy_parts(&mut made_of, copy);
            Some((format!("{copy:?}"), made_of.key("copy", None)))
        }
        StepKind::Workdir(workdir) => {
            let WorkdirStep { path, user } = workdir;
            workdir_parts(&mut made_of, workdir);
            Some((format!("workdir {path:?} {user:?}"), made_of.key("workdir", None)))
        }
        StepKind::Metadata => None,
    }
}

#[test]
fn no_two_instructions_have_one_key() {
    let run = (subsequence(OPTIONS, 0..4), select(COMMANDS))
        .prop_map(|(options, command)| format!("RUN {} {command}\n", options.join(" ")));
    let step = prop_oneof![
        3 => run,
        1 => select(COPIES).prop_map(|copy| format!("{copy}\n")),
        1 => select(&["/a", "/a/b", "/b", "/a b"][..]).prop_map(|path| format!("WORKDIR {path}\n")),
    ];
    let argument = select(&[("A", "1"), ("A", "3"), ("B", "1"), ("HTTP_PROXY", "1")][..]);
    let cases = (vec(select(BEFORE), 0..5), step, vec(argument, 0..2));
    let keys: RefCell<HashMap<Key, String>> = RefCell::default();
    let deeds: RefCell<HashMap<String, Key>> = RefCell::default();
    let mut runner =
        TestRunner::new(Config { cases: 4000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&cases, |(before, step, arguments)| {
        let dockerfile = format!("FROM scratch\n{}\n{step}", before.join("\n"));
        let Some((deed, key)) = last(&dockerfile, &arguments) else { return Ok(()) };
        let known = keys.borrow_mut().entry(key).or_insert_with(|| deed.clone()).clone();
        prop_assert_eq!(known, deed.clone(), "{}", dockerfile);
        let known = *deeds.borrow_mut().entry(deed).or_insert(key);
        prop_assert_eq!(known, key, "{}", dockerfile);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let found = keys.borrow().len();
    assert!(found > 1000, "{found} keys");
}

#[test]
fn what_changes_the_config_alone_is_in_no_key() {
    let plain = last("FROM scratch\nRUN x\n", &[]).unwrap().1;
    for line in [
        "LABEL a=b",
        "EXPOSE 1",
        "CMD x",
        "ENTRYPOINT [\"x\"]",
        "HEALTHCHECK CMD x",
        "STOPSIGNAL 1",
        "VOLUME /v",
        "ONBUILD RUN x",
    ] {
        let with = last(&format!("FROM scratch\n{line}\nRUN x\n"), &[]).unwrap().1;
        assert_eq!(with, plain, "{line}");
    }
    for line in ["ENV A=1", "ARG A=1", "USER 1", "SHELL [\"/x\"]"] {
        let with = last(&format!("FROM scratch\n{line}\nRUN x\n"), &[]).unwrap().1;
        assert_ne!(with, plain, "{line}");
    }
}
