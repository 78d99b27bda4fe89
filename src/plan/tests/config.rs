use super::*;

/// Checks the result's runtime config, without `Env`, as JSON.
fn check(case: Case, expected: serde_json::Value) {
    let mut config = serde_json::to_value(case.config()).unwrap();
    config.as_object_mut().unwrap().remove("Env");
    assert_eq!(config, expected, "{}", case.dockerfile);
}

fn on_scratch(instructions: &str) -> Case {
    case(&format!("FROM scratch\n{instructions}"))
}

const BASE: &str = r#"{"architecture":"amd64","os":"linux","config":{
    "Env":["PATH=/bin"],"Cmd":["base"],"Entrypoint":["entry"],"Shell":["/bin/ash","-c"],
    "WorkingDir":"/base","Labels":{"a":"base"}}}"#;

fn on_base(instructions: &str) -> Case {
    case(&format!("FROM debian\n{instructions}")).image(DEBIAN, BASE)
}

#[test]
fn scratch_starts_with_a_path_and_the_root() {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(case("FROM scratch").config().env, [path]);
    check(case("FROM scratch"), serde_json::json!({"WorkingDir": "/"}));
}

#[test]
fn a_command_is_argv_or_text_for_the_shell() {
    let with =
        |cmd: &[&str]| serde_json::json!({"WorkingDir": "/", "Cmd": cmd, "ArgsEscaped": true});
    check(on_scratch(r#"CMD ["a","b c"]"#), with(&["a", "b c"]));
    check(on_scratch("CMD a  b c"), with(&["/bin/sh", "-c", "a  b c"]));
    check(on_scratch("CMD"), with(&["/bin/sh", "-c", ""]));
    check(on_scratch("CMD a\nCMD []"), serde_json::json!({"WorkingDir": "/", "ArgsEscaped": true}));
    let ash = on_base("ENTRYPOINT []\nCMD x").config();
    assert_eq!(ash.cmd, ["/bin/ash", "-c", "x"]);
    let shell = on_base("SHELL [\"/bin/bash\",\"-ec\"]\nENTRYPOINT x").config();
    assert_eq!(shell.entrypoint, ["/bin/bash", "-ec", "x"]);
}

#[test]
fn an_entry_point_clears_an_inherited_command_only() {
    assert_eq!(on_base("").config().cmd, ["base"]);
    assert_eq!(on_base("ENTRYPOINT [\"x\"]").config().cmd, Vec::<String>::new());
    assert_eq!(on_base("CMD [\"y\"]\nENTRYPOINT [\"x\"]").config().cmd, ["y"]);
    let stages = case("FROM scratch AS a\nCMD [\"y\"]\nFROM a\nENTRYPOINT [\"x\"]");
    assert_eq!(stages.config().cmd, Vec::<String>::new());
}

#[test]
fn working_directories_go_on_from_each_other() {
    for (instructions, expected) in [
        ("WORKDIR /a", "/a"),
        ("WORKDIR a", "/base/a"),
        ("WORKDIR a\nWORKDIR ../b", "/base/b"),
        ("WORKDIR /a//b/../c", "/a/c"),
        ("WORKDIR /a/", "/a/"),
        ("WORKDIR /a/\nWORKDIR b/", "/a/b"),
        ("WORKDIR /", "/"),
        ("WORKDIR //", "/"),
        ("WORKDIR ../../..", "/"),
        ("WORKDIR $NONE", "/base"),
        ("ARG D=/x\nWORKDIR $D/y", "/x/y"),
    ] {
        assert_eq!(on_base(instructions).config().working_dir, expected, "{instructions}");
    }
    let no_directory = case("FROM debian\nWORKDIR $X").image(DEBIAN, "{}");
    assert_eq!(no_directory.error(), "line 2: the working directory `$X` is empty after expansion");
}

#[test]
fn ports_and_volumes_are_collected() {
    check(
        on_scratch("ENV P=\"80 81/udp\"\nEXPOSE $P\nEXPOSE 9000-9001 8080:70/SCTP"),
        serde_json::json!({"WorkingDir": "/", "ExposedPorts": {
            "80/tcp": {}, "81/udp": {}, "9000/tcp": {}, "9001/tcp": {}, "70/sctp": {}}}),
    );
    check(
        on_scratch("VOLUME /a//b rel\nENV V=/v\nVOLUME [\"$V\"]"),
        serde_json::json!({"WorkingDir": "/", "Volumes": {"/a//b": {}, "rel": {}, "/v": {}}}),
    );
    assert_eq!(on_scratch("VOLUME $X").error(), "line 2: a volume cannot be empty");
    assert_eq!(
        on_scratch("ENV P=\"80 81\"\nEXPOSE \"$P\"").error(),
        "line 3: invalid port `80 81` in `80 81`: must be a number up to 65535 or a range"
    );
}

#[test]
fn health_checks_are_nanoseconds() {
    check(
        on_scratch(
            "HEALTHCHECK --interval=1m30s --timeout=2s --start-interval=500ms --retries=3 CMD a $B",
        ),
        serde_json::json!({"WorkingDir": "/", "Healthcheck": {
            "Test": ["CMD-SHELL", "a $B"], "Interval": 90_000_000_000_i64,
            "Timeout": 2_000_000_000_i64, "StartInterval": 500_000_000, "Retries": 3}}),
    );
    check(
        on_scratch("HEALTHCHECK CMD [\"a\",\"b\"]\nHEALTHCHECK NONE"),
        serde_json::json!({"WorkingDir": "/", "Healthcheck": {"Test": ["NONE"]}}),
    );
}

#[test]
fn user_signal_and_author_are_set() {
    check(
        on_scratch("ARG U=me\nUSER $U:$U\nSTOPSIGNAL sigterm"),
        serde_json::json!({"WorkingDir": "/", "User": "me:me", "StopSignal": "sigterm"}),
    );
    assert_eq!(on_scratch("MAINTAINER a <b> $C").image_config().author, "a <b> $C");
    assert_eq!(
        on_scratch("STOPSIGNAL SIGNOPE").error(),
        "line 2: invalid stop signal `SIGNOPE`: must be a number or a name such as SIGTERM or \
         RTMIN+3"
    );
}

#[test]
fn labels_of_the_command_line_win() {
    let config =
        on_base("LABEL a=1 b=2").label("b", "cli").label("c", "x").label("c", "y").config();
    let labels: Vec<(&str, &str)> =
        config.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("a", "1"), ("b", "cli"), ("c", "y")]);
}

#[test]
fn history_is_written_as_buildkit_writes_it() {
    let text = "FROM scratch\nARG A=1 B\nENV C=x\\ y \"D\"='1'\nLABEL e=$A \"f g\"=\"h i\"\n\
        MAINTAINER me\nEXPOSE 90/udp 80\nVOLUME /b /a\nUSER u:$A\nWORKDIR /w/\nWORKDIR x\n\
        STOPSIGNAL 9\nSHELL [\"/bin/sh\", \"-c\"]\nCMD [\"a b\", \"\\\"\"]\nENTRYPOINT x 'y'\nCMD []\n\
        HEALTHCHECK --interval=5s CMD curl x\nONBUILD RUN y\nWORKDIR /";
    let expected = [
        ("ARG A=1 B", true),
        ("ENV C=x y D=1", true),
        ("LABEL e=1 f g=h i", true),
        ("MAINTAINER me", true),
        ("EXPOSE [80/tcp 90/udp]", true),
        ("VOLUME [/b /a]", true),
        ("USER u:1", true),
        ("WORKDIR /w/", false),
        ("WORKDIR /w/x", false),
        ("STOPSIGNAL 9", true),
        ("SHELL [/bin/sh -c]", true),
        (r#"CMD ["a b" "\""]"#, true),
        (r#"ENTRYPOINT ["/bin/sh" "-c" "x 'y'"]"#, true),
        ("CMD []", true),
        (
            "HEALTHCHECK {Test:[CMD-SHELL curl x] Interval:5s Timeout:0s StartPeriod:0s \
             StartInterval:0s Retries:0}",
            true,
        ),
        ("WORKDIR /", true),
    ];
    let history = case(text).image_config().history;
    let written: Vec<(&str, bool)> = history
        .iter()
        .map(|entry| (entry.created_by.as_deref().unwrap(), entry.empty_layer))
        .collect();
    assert_eq!(written, expected);
}
