use super::*;

const AMD64: &str = r#"{"architecture":"amd64","os":"linux"}"#;

#[test]
fn images_are_asked_for_by_full_name_and_platform() {
    let text = "FROM --platform=linux/arm64 debian AS a\nFROM ghcr.io/x/y@sha256:\
                0123456789012345678901234567890123456789012345678901234567890123 AS b\n\
                FROM debian:12\nCOPY --from=a / /\nCOPY --from=b / /\nCOPY --from=alpine / /";
    let digest =
        "ghcr.io/x/y@sha256:0123456789012345678901234567890123456789012345678901234567890123";
    assert_eq!(
        case(text).references(),
        [
            request("docker.io/library/alpine:latest", "linux/amd64"),
            request("docker.io/library/debian:12", "linux/amd64"),
            request(DEBIAN, "linux/arm64"),
            request(digest, "linux/amd64"),
        ]
    );
    assert_eq!(case(text).error(), "4 base images are not resolved");
}

#[test]
fn files_are_needed_of_what_commands_run_on_and_of_what_is_copied_from() {
    let alpine = "docker.io/library/alpine:latest";
    for (text, expected) in [
        ("FROM debian\nCOPY a /", &[][..]),
        ("FROM debian\nENV a=b\nRUN true", &[DEBIAN]),
        ("FROM debian AS a\nFROM a AS b\nFROM b\nRUN true", &[DEBIAN]),
        // Nobody needs the first stage.
        ("FROM debian\nRUN true\nFROM alpine\nCOPY a /", &[]),
        ("FROM debian\nCOPY --from=alpine /a /", &[alpine]),
        ("FROM debian AS a\nFROM scratch\nCOPY --from=a /a /", &[DEBIAN]),
        ("FROM debian\nRUN --mount=from=alpine,target=/a true", &[alpine, DEBIAN]),
        ("FROM scratch\nRUN true", &[]),
    ] {
        let expected: Vec<_> = expected.iter().map(|name| request(name, "linux/amd64")).collect();
        assert_eq!(case(text).unpacked(), expected, "{text}");
    }
}

#[test]
fn the_platform_of_a_stage_may_come_from_arguments() {
    let text = "FROM --platform=$BUILDPLATFORM debian AS a\nFROM debian\nCOPY --from=a / /";
    assert_eq!(
        case(text).platform("linux/arm64/v8").references(),
        [request(DEBIAN, "linux/amd64"), request(DEBIAN, "linux/arm64")]
    );
    assert_eq!(
        case("FROM --platform=$NONE debian").error(),
        "line 1: the platform `$NONE` is empty after expansion"
    );
    assert_eq!(
        case("FROM --platform=a/b/c/d debian").error(),
        "line 1: cannot read the platform of `--platform=a/b/c/d`: `a/b/c/d` is not a platform of \
         the form `os/architecture[/variant]`"
    );
}

#[test]
fn an_image_keeps_the_platform_of_its_base_unless_one_was_asked_for() {
    let arm = r#"{"architecture":"arm","os":"linux","variant":"v7"}"#;
    let platform = |config: ImageConfig| (config.os, config.architecture, config.variant);
    let of = |os: &str, architecture: &str, variant: Option<&str>| {
        (os.to_owned(), architecture.to_owned(), variant.map(str::to_owned))
    };
    let kept = case("FROM --platform=linux/arm debian").image_for(DEBIAN, "linux/arm/v7", arm);
    assert_eq!(platform(kept.image_config()), of("linux", "arm", Some("v7")));
    let asked =
        case("FROM debian").platform("linux/arm64/v8").image_for(DEBIAN, "linux/arm64", arm);
    assert_eq!(platform(asked.image_config()), of("linux", "arm64", None));
    let scratch = case("FROM scratch").platform("linux/arm");
    assert_eq!(platform(scratch.image_config()), of("linux", "arm", Some("v7")));
    let empty = case("FROM debian").image(DEBIAN, "{}");
    assert_eq!(platform(empty.image_config()), of("linux", "amd64", None));
}

#[test]
fn a_base_of_another_platform_is_noted_and_one_for_windows_refused() {
    let arm = r#"{"architecture":"arm64","os":"linux"}"#;
    let plan = case("FROM debian").image(DEBIAN, arm).plan();
    assert_eq!(
        plan.warnings,
        [PlanWarning::PlatformMismatch {
            span: plan.stages[0].span,
            image: "debian".to_owned(),
            asked: "linux/amd64".parse().unwrap(),
            found: "linux/arm64".parse().unwrap(),
        }]
    );
    let windows = r#"{"architecture":"amd64","os":"windows"}"#;
    assert_eq!(
        case("FROM debian").image(DEBIAN, windows).error(),
        "line 1: cannot build on `debian`: it is an image for Windows"
    );
    assert_eq!(
        case("FROM debian").platform("windows/amd64").error(),
        "cannot build for `windows/amd64`: only Linux images are supported"
    );
}

#[test]
fn named_contexts_stand_in_for_images_and_stages() {
    let layout = ImageName::Layout("base".to_owned());
    let request_of = |image| ImageRequest { image, platform: "linux/amd64".parse().unwrap() };
    let wanted = case("FROM Base").named_context("base", NamedContext::Layout).references();
    assert_eq!(wanted, [request_of(layout)]);
    let reference: crate::image::Reference = "quay.io/x/debian:1".parse().unwrap();
    let context = NamedContext::Image(reference);
    for name in ["debian", "debian:latest", "docker.io/library/debian"] {
        let case = case("FROM debian").named_context(name, context.clone());
        assert_eq!(case.references(), [request("quay.io/x/debian:1", "linux/amd64")], "{name}");
    }
    let replaced = "FROM debian AS tools\nRUN make\nFROM scratch\nCOPY --from=tools / /";
    let plan =
        case(replaced).named_context("tools", context).image("quay.io/x/debian:1", AMD64).plan();
    assert_eq!(plan.stages[0].base, Base::Image(request("quay.io/x/debian:1", "linux/amd64")));
    assert_eq!(plan.stages[0].steps, []);
}

#[test]
fn a_directory_can_be_copied_from_and_be_a_base() {
    let case = case("FROM src\nCOPY --from=SRC a /b").named_context("src", NamedContext::Directory);
    assert_eq!(case.references(), []);
    let plan = case.plan();
    assert_eq!(plan.stages[0].base, Base::Scratch);
    let from: Vec<CopySource> = plan.stages[0]
        .steps
        .iter()
        .map(|step| match &step.kind {
            StepKind::Copy(copy) => copy.from.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    let context = CopySource::NamedContext("src".to_owned());
    assert_eq!(from, [context.clone(), context]);
    assert_eq!(case.history(), ["FROM src # named context", "COPY a /b # buildkit"]);
}

#[test]
fn a_base_gives_its_config_but_its_time_and_triggers() {
    let base = r#"{"architecture":"amd64","os":"linux","created":"2020-01-01T00:00:00Z",
        "author":"a","novel":1,"history":[{"created_by":"x"}],
        "rootfs":{"type":"layers","diff_ids":["sha256:00"]},
        "config":{"Env":["A=1"],"WorkingDir":"/w","User":"u","OnBuild":["LABEL t=1"],"Hostname":"h"}}"#;
    let case = case("FROM debian\nENV B=$A").image(DEBIAN, base);
    let expected = serde_json::json!({
        "architecture": "amd64", "os": "linux", "author": "a", "novel": 1,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:00"]},
        "history": [
            {"created_by": "x"},
            {"created_by": "LABEL t=1", "comment": HISTORY_COMMENT, "empty_layer": true},
            {"created_by": "ENV B=1", "comment": HISTORY_COMMENT, "empty_layer": true},
        ],
        "config": {
            "Env": ["A=1", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "B=1"],
            "WorkingDir": "/w", "User": "u", "Hostname": "h", "Labels": {"t": "1"},
        },
    });
    assert_eq!(serde_json::to_value(case.image_config()).unwrap(), expected);
}

#[test]
fn triggers_run_first_and_for_one_generation() {
    let text =
        "FROM scratch AS a\nONBUILD  LABEL  v='1  2'\nLABEL a=1\nFROM a AS b\nLABEL b=1\nFROM b";
    assert_eq!(case(text).config().on_build, Vec::<String>::new());
    assert_eq!(case(text).target("a").config().on_build, ["LABEL  v='1  2'"]);
    assert_eq!(case(text).history(), ["LABEL a=1", "LABEL v=1  2", "LABEL b=1"]);
    let steps = case(text).target("b").steps();
    let origins: Vec<Origin> = steps.iter().map(|step| step.origin).collect();
    assert_eq!(origins, [Origin::Trigger, Origin::Instruction]);
    assert_eq!(steps[0].span.start.line, 4);
}

#[test]
fn triggers_can_need_more_stages_and_images() {
    let config = |trigger: &str| {
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {"OnBuild": [trigger]}});
        config.to_string()
    };
    let base = config("COPY --from=builder /x /");
    let text = "FROM alpine AS builder\nFROM debian";
    assert_eq!(case(text).references(), [request(DEBIAN, "linux/amd64")]);
    let first = case(text).image(DEBIAN, &base);
    let alpine = "docker.io/library/alpine:latest";
    assert_eq!(first.references(), [request(alpine, "linux/amd64")]);
    let second = first.image(alpine, AMD64);
    assert_eq!(second.references(), []);
    let indices: Vec<usize> = second.plan().stages.iter().map(|stage| stage.index).collect();
    assert_eq!(indices, [0, 1]);
    let image = case("FROM debian").image(DEBIAN, &config("COPY --from=alpine / /"));
    assert_eq!(image.references(), [request(alpine, "linux/amd64")]);
}

#[test]
fn what_is_wrong_in_a_trigger_is_said_of_the_from() {
    let base = |trigger: &str| {
        let config = serde_json::json!({"config": {"OnBuild": [trigger]}});
        case("FROM debian").image(DEBIAN, &config.to_string()).error()
    };
    assert_eq!(
        base("EXPOSE ${A:?unset}"),
        "line 1: cannot plan the trigger `EXPOSE ${A:?unset}` of the base: cannot expand \
         `${A:?unset}`: `A`: unset"
    );
    assert_eq!(
        base("FOO x"),
        "line 1: cannot read the trigger `FOO x` of the base: unknown instruction `FOO`"
    );
}
