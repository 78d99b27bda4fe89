use super::*;

/// Checks what the label `v` of the result holds.
fn check(case: Case, expected: &str) {
    let dockerfile = case.dockerfile.clone();
    let labels = case.config().labels;
    assert_eq!(labels.get("v").map(String::as_str), Some(expected), "{dockerfile}");
}

#[test]
fn a_value_given_wins_over_a_default_even_when_it_is_empty() {
    let text = "FROM scratch\nARG A=1\nLABEL v=[$A]";
    check(case(text), "[1]");
    check(case(text).build_arg("A", "2"), "[2]");
    check(case(text).build_arg("A", ""), "[]");
}

#[test]
fn global_arguments_reach_a_stage_when_it_declares_them_without_a_default() {
    check(case("ARG A=1\nFROM scratch\nLABEL v=[$A]"), "[]");
    check(case("ARG A=1\nFROM scratch\nARG A\nLABEL v=[$A]"), "[1]");
    check(case("ARG A=1\nFROM scratch\nARG A=2\nLABEL v=[$A]"), "[2]");
    check(case("ARG A=1\nFROM scratch\nARG A=2\nLABEL v=[$A]").build_arg("A", "3"), "[3]");
    check(case("ARG A\nARG B=${A:-x}y\nFROM scratch\nARG B\nLABEL v=$B"), "xy");
    check(case("ARG A\nARG B=${A:-x}y\nFROM scratch\nARG B\nLABEL v=$B").build_arg("A", "z"), "zy");
}

#[test]
fn an_argument_without_any_value_leaves_the_environment_alone() {
    check(case("FROM scratch\nENV A=1\nARG A\nLABEL v=$A"), "1");
}

#[test]
fn the_later_of_arg_and_env_wins() {
    let later_arg = case("FROM scratch\nENV A=1\nARG A=2\nLABEL v=$A");
    assert_eq!(later_arg.config().env[1], "A=1");
    check(later_arg, "2");
    check(case("FROM scratch\nARG A=2\nENV A=1\nLABEL v=$A").build_arg("A", "3"), "1");
    check(case("FROM scratch\nARG A=2\nENV A=${A}x\nLABEL v=$A"), "2x");
}

#[test]
fn a_stage_on_a_stage_sees_its_arguments_and_its_environment_again() {
    check(case("FROM scratch AS a\nARG A=1\nFROM a\nLABEL v=[$A]"), "[1]");
    check(case("FROM scratch AS a\nENV A=1\nARG A=2\nFROM a\nLABEL v=[$A]"), "[1]");
    check(case("FROM scratch AS a\nARG A=1\nFROM scratch\nCOPY --from=a / /\nLABEL v=[$A]"), "[]");
}

#[test]
fn one_env_expands_with_what_was_before_and_one_arg_as_it_goes() {
    let env =
        case("FROM scratch\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\nLABEL v=$def$ghi");
    check(env, "hellobye");
    check(case("FROM scratch\nARG A=1 B=$A\nLABEL v=$B"), "1");
}

#[test]
fn keys_expand_too() {
    let config = case("FROM scratch\nARG K=name\nENV $K=1\nLABEL \"${K}.x\"='a b'").config();
    assert_eq!(config.env[1], "name=1");
    assert_eq!(config.labels.get("name.x").map(String::as_str), Some("a b"));
}

#[test]
fn environment_is_replaced_in_place() {
    let text = "FROM scratch\nENV A=1 B=2\nENV A=3 C=4";
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(case(text).config().env, [path, "A=3", "B=2", "C=4"]);
}

#[test]
fn platform_arguments_have_to_be_declared() {
    check(case("FROM scratch\nLABEL v=[$TARGETARCH]"), "[]");
    check(case("FROM scratch\nARG TARGETARCH\nLABEL v=[$TARGETARCH]"), "[amd64]");
    check(case("FROM scratch\nARG TARGETARCH=foo\nLABEL v=[$TARGETARCH]"), "[foo]");
    check(
        case("FROM scratch\nARG TARGETARCH\nLABEL v=$TARGETARCH").build_arg("TARGETARCH", "x"),
        "x",
    );
    let all = "FROM scratch\nARG BUILDPLATFORM\nARG TARGETPLATFORM\nARG TARGETOS\nARG TARGETVARIANT\n\
               LABEL v=$BUILDPLATFORM,$TARGETPLATFORM,$TARGETOS,$TARGETVARIANT";
    check(case(all), "linux/amd64,linux/amd64,linux,");
    check(case(all).platform("linux/arm"), "linux/amd64,linux/arm,linux,");
    check(case(all).platform("linux/arm/v7"), "linux/amd64,linux/arm/v7,linux,v7");
    check(case(all).platform("linux/arm/v6"), "linux/amd64,linux/arm/v6,linux,v6");
    check(case(all).platform("linux/arm64"), "linux/amd64,linux/arm64,linux,");
    check(case(all).platform("linux/arm64/v8"), "linux/amd64,linux/arm64/v8,linux,v8");
    check(case(all).platform("aarch64"), "linux/amd64,linux/arm64,linux,");
}

#[test]
fn the_target_stage_is_an_argument() {
    let stages = "FROM scratch AS One\nARG TARGETSTAGE\nLABEL v=$TARGETSTAGE\nFROM one";
    check(case(stages), "default");
    check(case(stages).target("one"), "one");
    check(case(stages).target("0"), "one");
}

#[test]
fn arguments_are_used_in_from() {
    let image = r#"{"architecture":"amd64","os":"linux","config":{"Labels":{"v":"12"}}}"#;
    let text = "ARG V=12\nFROM debian:$V";
    check(case(text).image("docker.io/library/debian:12", image), "12");
    check(case("FROM ${X:-scratch}\nLABEL v=1"), "1");
    assert_eq!(
        case("FROM scratch\nARG X=scratch\nFROM $X").error(),
        "line 3: the base `$X` is empty after expansion"
    );
}

#[test]
fn unused_build_args_are_named() {
    let text = "ARG A\nFROM scratch AS x\nARG B\nFROM scratch\nARG C";
    let plan = ["A", "B", "C", "D", "HTTP_PROXY", "TARGETARCH"]
        .into_iter()
        .fold(case(text), |case, name| case.build_arg(name, "1"))
        .plan();
    let names = vec!["B".to_owned(), "D".to_owned()];
    assert_eq!(plan.warnings, [PlanWarning::UnusedBuildArgs { names }]);
}

#[test]
fn broken_words_are_errors_with_their_place() {
    assert_eq!(
        case("FROM scratch\nENV A=1 \\\n  B=${A:?no}").error(),
        "line 3: cannot expand `${A:?no}`: `A`: no"
    );
}
