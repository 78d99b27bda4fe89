use super::*;

/// Returns the last step of the target, which runs something.
fn last_run(case: &Case) -> RunStep {
    match case.steps().pop().unwrap().kind {
        StepKind::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

fn check_argv(instruction: &str, expected: &[&str]) {
    let case = case(&format!("FROM scratch\n{instruction}"));
    assert_eq!(last_run(&case).argv, expected, "{instruction}");
}

#[test]
fn the_command_is_argv_or_text_for_the_shell() {
    check_argv("RUN [\"a\", \"$B c\"]", &["a", "$B c"]);
    check_argv("RUN a  $B \\\n  && c", &["/bin/sh", "-c", "a  $B   && c"]);
    check_argv("RUN", &["/bin/sh", "-c", ""]);
    check_argv("SHELL [\"bash\",\"-c\"]\nRUN a", &["bash", "-c", "a"]);
    check_argv("RUN -- --x", &["/bin/sh", "-c", "--x"]);
}

#[test]
fn a_heredoc_alone_is_the_command() {
    check_argv("RUN <<E\na $B\n\tc\nE", &["/bin/sh", "-c", "a $B\n\tc\n"]);
    check_argv("RUN <<-'E'\n\ta\n\t\tb\n\tE", &["/bin/sh", "-c", "a\nb\n"]);
}

#[test]
fn heredocs_beside_a_command_are_left_to_the_shell() {
    check_argv("RUN cat <<A >x && b\n1\n$2\nA", &["/bin/sh", "-c", "cat <<A >x && b\n1\n$2\nA"]);
    check_argv(
        "RUN cat <<-A <<'B C'\n\t1\n\tA\n2\nB C",
        &["/bin/sh", "-c", "cat <<-A <<'B C'\n\t1\nA\n2\nB C"],
    );
}

#[test]
fn a_heredoc_with_an_interpreter_is_a_script() {
    let case = case("FROM scratch\nRUN <<E\n#!/usr/bin/python3\nprint(1)\nE");
    let run = last_run(&case);
    assert_eq!(run.argv, ["/bin/sh", "-c", "/dev/pipes/E"]);
    let script = run.script.unwrap();
    assert_eq!(script.path.to_string(), "/dev/pipes/E");
    assert_eq!(script.content, b"#!/usr/bin/python3\nprint(1)\n");
    assert_eq!(case.history(), ["RUN /bin/sh -c /dev/pipes/E # buildkit"]);
}

#[test]
fn history_begins_with_the_arguments_in_sight() {
    let text =
        "FROM scratch AS a\nARG A=1\nARG A=2 B\nENV B=3\nARG HTTP_PROXY\nFROM a\nARG C\nRUN x";
    let case = case(text).build_arg("HTTP_PROXY", "p").build_arg("no_proxy", "n");
    assert_eq!(
        case.history().pop().unwrap(),
        "RUN |4 A=2 B=3 HTTP_PROXY=p C= /bin/sh -c x # buildkit"
    );
}

#[test]
fn a_command_sees_environment_arguments_and_proxies() {
    let text = "FROM debian\nENV A=1 B=2\nARG A=3\nARG C\nRUN x";
    let config = r#"{"config":{"Env":["PATH=/bin","HOME=/h"],"User":"u","WorkingDir":"/w"}}"#;
    let case = case(text)
        .image(DEBIAN, config)
        .build_arg("HTTPS_proxy", "s")
        .build_arg("all_proxy", "")
        .build_arg("other", "x");
    let run = last_run(&case);
    let environment: Vec<String> =
        run.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        environment,
        ["PATH=/bin", "HOME=/h", "B=2", "A=3", "HTTPS_PROXY=s", "https_proxy=s"]
    );
    assert_eq!((run.user.as_str(), run.working_directory.to_string().as_str()), ("u", "/w"));
    assert_eq!(case.history().pop().unwrap(), "RUN |2 A=3 C= /bin/sh -c x # buildkit");
}

#[test]
fn flags_that_are_not_built_yet_are_errors_that_name_them() {
    for (flag, name) in [("--mount=type=ssh", "--mount=type=ssh"), ("--device=x", "--device")] {
        let error = case(&format!("FROM scratch\nRUN {flag} a")).error();
        assert_eq!(error, format!("line 2: `RUN {name}` is not supported yet"));
    }
}

#[test]
fn the_config_of_what_is_not_built_yet_is_known() {
    let text = "FROM scratch\nRUN --mount=type=ssh a\nCOPY --parents --link a /\nUSER u";
    let image = case(text).with_inputs(image_config).unwrap();
    assert_eq!(image.config.user, "u");
    let history: Vec<&str> =
        image.history.iter().filter_map(|entry| entry.created_by.as_deref()).collect();
    assert_eq!(history, ["RUN /bin/sh -c a # buildkit", "COPY --parents a / # buildkit", "USER u"]);
}
