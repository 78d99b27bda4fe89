use super::*;

/// Checks which stages are planned, by index, and what each starts from.
fn check(case: Case, expected: &[(usize, Base)]) {
    let stages = case.plan().stages;
    let planned: Vec<(usize, Base)> =
        stages.into_iter().map(|stage| (stage.index, stage.base)).collect();
    assert_eq!(planned, expected, "{}", case.dockerfile);
}

#[test]
fn only_what_the_target_needs_is_planned() {
    let text = "FROM scratch AS a\nFROM scratch AS b\nCOPY --from=a / /\nFROM scratch AS c\n\
                COPY --from=nowhere:5000/x / /\nFROM b";
    let bases = [(0, Base::Scratch), (1, Base::Scratch), (3, Base::Stage(1))];
    check(case(text), &bases);
    check(case(text).target("a"), &[(0, Base::Scratch)]);
    check(case(text).target("B"), &bases[..2]);
    check(case(text).target("1"), &bases[..2]);
}

#[test]
fn every_stage_up_to_the_target_can_be_asked_for() {
    let text = "FROM scratch\nFROM scratch AS b\nFROM scratch";
    let up_to = Case { selection: StageSelection::UpToTarget, ..case(text) }.target("b");
    check(up_to, &[(0, Base::Scratch), (1, Base::Scratch)]);
}

#[test]
fn a_stage_nobody_needs_may_be_wrong() {
    let text = "FROM scratch AS broken\nCOPY --link a /\nEXPOSE x\nRUN --mount=type=ssh a\n\
                FROM scratch";
    check(case(text), &[(1, Base::Scratch)]);
}

#[test]
fn names_are_found_in_any_case_but_for_from() {
    let text = "FROM scratch AS Base\nFROM base\nCOPY --from=BASE / /";
    check(case(text), &[(0, Base::Scratch), (1, Base::Stage(0))]);
    assert_eq!(
        case("FROM scratch AS Base\nFROM Base").error(),
        "line 2: `Base` is neither a stage, a named context nor a valid image reference: invalid \
         reference format"
    );
}

#[test]
fn of_two_stages_of_one_name_from_takes_the_one_before_and_copy_the_last() {
    let text = "FROM scratch AS a\nFROM a AS a\nFROM a\nCOPY --from=a / /";
    check(case(text), &[(0, Base::Scratch), (1, Base::Stage(0)), (2, Base::Stage(1))]);
    assert_eq!(
        case("FROM scratch AS a\nFROM scratch\nCOPY --from=a / /\nFROM scratch AS a\nFROM scratch")
            .target("1")
            .error(),
        "line 3: cannot copy from stage `a`: it comes after stage 1"
    );
}

#[test]
fn scratch_is_special_as_the_whole_word_only() {
    check(
        case("FROM scratch AS scratch\nFROM scratch"),
        &[(0, Base::Scratch), (1, Base::Stage(0))],
    );
    let requests = case("FROM scratch:latest").references();
    assert_eq!(requests, [request("docker.io/library/scratch:latest", "linux/amd64")]);
}

#[test]
fn copies_in_a_circle_are_errors_even_where_nobody_needs_them() {
    assert_eq!(
        case("FROM scratch AS a\nCOPY --from=a / /\nFROM scratch").error(),
        "line 2: stage `a` needs its own result"
    );
    assert_eq!(
        case("FROM scratch\nCOPY --from=1 / /\nFROM scratch\nCOPY --from=0 / /\nFROM scratch")
            .error(),
        "line 4: stage 0 needs its own result"
    );
}

#[test]
fn a_wrong_from_is_an_error_that_names_it() {
    for (from, expected) in [
        ("7", "line 2: `--from=7` names no stage: the Dockerfile has 1"),
        ("-1", "line 2: `--from=-1` names no stage: the Dockerfile has 1"),
        ("$X", "line 2: `--from=$X` is not expanded: variables and quotes have no meaning there"),
        ("scratch", "line 2: nothing can be copied from `scratch`: it is empty"),
    ] {
        let text = format!("FROM scratch\nCOPY --from={from} / /");
        assert_eq!(case(&text).error(), expected);
    }
}

#[test]
fn an_unknown_target_is_an_error_that_names_the_stages() {
    let text = "FROM scratch AS a\nFROM scratch AS b";
    let error = case(text).target("c").with_inputs(plan).expect_err("there is no such stage");
    assert_eq!(error.to_string(), "`--target=c` names no stage of the Dockerfile");
    assert_eq!(crate::report::fault::Fault::hint(&error).as_deref(), Some("the stages are: a, b"));
    assert_eq!(case(text).target("2").error(), "`--target=2` names no stage of the Dockerfile");
    assert_eq!(case("ARG A").error(), "the Dockerfile has no stages to build");
}

#[test]
fn an_error_shows_the_lines_it_is_about() {
    let error = case("FROM scratch\nENV A=1 \\\n  B=${A").with_inputs(plan).expect_err("no brace");
    let snippet = error.snippet.expect("it has a place");
    assert_eq!(snippet.lines, ["  B=${A"]);
}
