use std::time::Duration;

use super::super::ast::WarningKind;
use super::super::error::ParseErrorKind;
use super::super::keyword::Keyword;
use super::super::source::{Position, Span, Spanned, Word};
use super::{
    Add, ArgDefinition, CommandLine, Copy, Device, Healthcheck, HealthcheckCommand, InlineFile,
    Kind, Mount, MountError, MountType, Network, Onbuild, Run, Security, Sharing, Sources, Stage,
    parse, parse_trigger,
};

/// The place of everything in these tests, which are not about places.
const NOWHERE: Span = {
    let start = Position { line: 0, column: 0 };
    Span { start, end: start }
};

fn word(text: &str) -> Word {
    Word { value: text.to_owned(), span: NOWHERE }
}

fn kind(text: &str) -> Kind {
    parse_trigger(text).unwrap_or_else(|error| panic!("{error}: {text}")).kind
}

fn stages(text: &str) -> Vec<Stage> {
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}")).stages
}

fn error(text: &str) -> ParseErrorKind {
    parse(text.as_bytes()).expect_err(text).kind
}

/// Compares without regard to spans.
fn check<T: std::fmt::Debug>(text: &str, found: T, expected: T) {
    let strip = |value: T| {
        let debug = format!("{value:#?}");
        let mut kept = String::new();
        let mut depth = 0_usize;
        for line in debug.lines() {
            let is_span = line.trim_start().starts_with("span: Span {");
            if is_span || depth > 0 {
                depth = depth + line.matches('{').count() - line.matches('}').count();
            } else {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        kept
    };
    assert_eq!(strip(found), strip(expected), "{text}");
}

#[test]
fn stages_have_a_base_and_maybe_a_name_and_platform() {
    let stages = stages(
        "ARG v=1\n# base The first.\nFROM --platform=$P a:$v AS Base\nRUN x\n\
         FROM --platform= base\nFROM \"scratch\" as b-c_d.1",
    );
    let found: Vec<_> = stages
        .iter()
        .map(|stage| {
            let name = stage.name.as_ref().map(|name| name.value.as_str());
            let platform = stage.platform.as_ref().map(|platform| platform.value.as_str());
            (stage.base.value.as_str(), name, platform, stage.comment.as_deref())
        })
        .collect();
    let expected = [
        ("a:$v", Some("base"), Some("$P"), Some("The first.")),
        ("base", None, None, None),
        ("\"scratch\"", Some("b-c_d.1"), None, None),
    ];
    assert_eq!(found, expected);
    assert_eq!(stages[0].instructions.len(), 1);
    assert_eq!(stages[0].text, "FROM --platform=$P a:$v AS Base");
}

#[test]
fn arguments_before_the_first_stage_are_global() {
    let dockerfile = parse(b"# v What it is.\nARG v=a=b w\nARG x=\nFROM a\nARG y").expect("sound");
    let definition = |name, default: Option<&str>, comment: Option<&str>| ArgDefinition {
        name: word(name),
        default: default.map(word),
        comment: comment.map(str::to_owned),
    };
    let global: Vec<_> =
        dockerfile.global_args.into_iter().flat_map(|arg| arg.value.definitions).collect();
    let expected = vec![
        definition("v", Some("a=b"), Some("What it is.")),
        definition("w", None, None),
        definition("x", Some(""), None),
    ];
    check("ARG", global, expected);
    assert_eq!(dockerfile.stages[0].instructions.len(), 1);
    assert_eq!(parse(b"ARG a").map(|dockerfile| dockerfile.stages), Ok(Vec::new()));
}

#[test]
fn commands_have_an_exec_and_a_shell_form() {
    let shell = |text: &str| CommandLine::Shell(text.to_owned());
    let exec = |words: &[&str]| CommandLine::Exec(words.iter().map(|&w| w.to_owned()).collect());
    for (text, expected) in [
        ("CMD", Kind::Cmd(shell(""))),
        ("CMD []", Kind::Cmd(exec(&[]))),
        ("CMD [\"a b\"]", Kind::Cmd(exec(&["a b"]))),
        ("CMD [ \"a\" ] x", Kind::Cmd(shell("[ \"a\" ] x"))),
        ("ENTRYPOINT", Kind::Entrypoint(shell(""))),
        ("ENTRYPOINT []", Kind::Entrypoint(exec(&[]))),
        ("ENTRYPOINT  a  b ", Kind::Entrypoint(shell("a  b"))),
        ("SHELL [\"a\", \"-c\"]", Kind::Shell(vec!["a".to_owned(), "-c".to_owned()])),
    ] {
        check(text, kind(text), expected);
    }
}

#[test]
fn metadata_keeps_its_words_raw() {
    let pair = |key, value| super::Pair { key: word(key), value: word(value) };
    for (text, expected) in [
        ("ENV $a=\"b c\" d=e", Kind::Env(vec![pair("$a", "\"b c\""), pair("d", "e")])),
        ("ENV a  b=c d", Kind::Env(vec![pair("a", "b=c d")])),
        ("LABEL a.b='c'", Kind::Label(vec![pair("a.b", "'c'")])),
        ("EXPOSE 90 $p 80/udp", Kind::Expose(vec![word("$p"), word("80/udp"), word("90")])),
        ("VOLUME [\" /a \", \"b\"]", Kind::Volume(vec![word("/a"), word("b")])),
        ("USER a b", Kind::User(word("a b"))),
        ("WORKDIR $a/b c", Kind::Workdir(word("$a/b c"))),
        ("STOPSIGNAL a b", Kind::Stopsignal(word("a b"))),
        ("MAINTAINER A <a@b>", Kind::Maintainer(word("A <a@b>"))),
    ] {
        check(text, kind(text), expected);
    }
}

#[test]
fn copies_take_paths_and_inline_files() {
    let sources = |paths: &[&str], inline: &[(&str, &str, bool)], destination| Sources {
        paths: paths.iter().map(|path| word(path)).collect(),
        inline: inline
            .iter()
            .map(|(name, content, expand)| InlineFile {
                name: (*name).to_owned(),
                content: content.as_bytes().to_vec(),
                expand: *expand,
                span: NOWHERE,
            })
            .collect(),
        destination: word(destination),
    };
    let copy = |sources| Copy {
        sources,
        from: None,
        chown: None,
        chmod: None,
        link: None,
        parents: None,
        exclude: Vec::new(),
    };
    let flag = |value| Some(Spanned { value, span: NOWHERE });
    for (text, expected) in [
        ("COPY a $b /c", copy(sources(&["a", "$b"], &[], "/c"))),
        ("COPY [\"a b\", \"c\"]", copy(sources(&["a b"], &[], "c"))),
        ("COPY [\"a\"] b", copy(sources(&["[\"a\"]"], &[], "b"))),
        (
            "COPY <<-a x <<'b' /d\n\t1\na\n\t2\nb",
            copy(sources(&["x"], &[("a", "1\n", true), ("b", "\t2\n", false)], "/d")),
        ),
        (
            "COPY <<a <<a /d\n1\na\n2\na",
            copy(sources(&[], &[("a", "2\n", true), ("a", "2\n", true)], "/d")),
        ),
        ("COPY << a /d\na", copy(sources(&["<<", "a"], &[], "/d"))),
        (
            "COPY --from=$x --chown=a:b --chmod=755 --link --parents=FALSE --exclude=a --exclude= a b",
            Copy {
                from: Some(word("$x")),
                chown: Some(word("a:b")),
                chmod: Some(word("755")),
                link: flag(true),
                parents: flag(false),
                exclude: vec![word("a"), word("")],
                ..copy(sources(&["a"], &[], "b"))
            },
        ),
        ("COPY --from= --chown= --chmod= a b", copy(sources(&["a"], &[], "b"))),
    ] {
        check(text, kind(text), Kind::Copy(expected));
    }
    let text = "ADD --checksum=$c --keep-git-dir=true --unpack=false --chown=1 https://x/y /z";
    let expected = Add {
        sources: sources(&["https://x/y"], &[], "/z"),
        chown: Some(word("1")),
        chmod: None,
        checksum: Some(word("$c")),
        link: None,
        keep_git_dir: flag(true),
        unpack: flag(false),
        exclude: Vec::new(),
    };
    check(text, kind(text), Kind::Add(expected));
}

#[test]
fn runs_take_typed_flags() {
    let text = "RUN --network=none --security=insecure --device=v/c=x,required --device=name=y a";
    let device = |name: &str, required| {
        let name = name.to_owned();
        Spanned { value: Device { name, required }, span: NOWHERE }
    };
    let expected = Run {
        command: CommandLine::Shell("a".to_owned()),
        heredocs: Vec::new(),
        mounts: Vec::new(),
        network: Some(Spanned { value: Network::None, span: NOWHERE }),
        security: Some(Spanned { value: Security::Insecure, span: NOWHERE }),
        devices: vec![device("v/c=x", true), device("y", false)],
    };
    check(text, kind(text), Kind::Run(expected));
}

fn mount(flag: &str) -> Result<Mount, MountError> {
    let Kind::Run(run) = kind(&format!("RUN --mount={flag} a")) else { panic!("{flag}") };
    run.mounts[0].resolve(|value| Ok(value.replace("$x", "cache")))
}

#[test]
fn mounts_are_checked_after_expansion() {
    let bind = Mount {
        kind: MountType::Bind,
        from: String::new(),
        source: String::new(),
        target: "/t".to_owned(),
        read_only: true,
        id: String::new(),
        sharing: None,
        required: false,
        size_bytes: 0,
        mode: None,
        env: None,
        uid: None,
        gid: None,
        span: NOWHERE,
    };
    let of = |kind, read_only| Mount { kind, read_only, ..bind.clone() };
    let text = |text: &str| text.to_owned();
    for (flag, expected) in [
        ("target=/t", bind.clone()),
        ("dst=/t,rw", Mount { read_only: false, ..bind.clone() }),
        ("destination=/t,readwrite=0", bind.clone()),
        (
            "DST=/t,src=a,from=b,ro=false",
            Mount { source: text("a"), from: text("b"), read_only: false, ..bind.clone() },
        ),
        ("'\"target=/t\"'", bind.clone()),
        (
            "type=$x,dst=/t,id=i,sharing=LOCKED,mode=0700,uid=1,gid=2",
            Mount {
                id: text("i"),
                sharing: Some(Sharing::Locked),
                mode: Some(0o700),
                uid: Some(1),
                gid: Some(2),
                ..of(MountType::Cache, false)
            },
        ),
        (
            "type=tmpfs,dst=/t,size=1.5g",
            Mount { size_bytes: 3 << 29, ..of(MountType::Tmpfs, false) },
        ),
        (
            "type=secret,id=s,dst=/t,env=,required",
            Mount {
                id: text("s"),
                env: Some(String::new()),
                required: true,
                ..of(MountType::Secret, true)
            },
        ),
        ("type=ssh,dst=/t,required=f", of(MountType::Ssh, true)),
    ] {
        check(flag, mount(flag), Ok(expected));
    }
}

#[test]
fn mounts_that_mean_nothing_are_errors() {
    let unknown = |key: &str| MountError::UnknownOption { key: key.to_owned() };
    let missing = |key: &str| MountError::MissingValue { key: key.to_owned() };
    let invalid = |key: &str, value: &str| MountError::InvalidValue {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let refused = |key, kind| MountError::NotAllowed { key, kind };
    for (flag, expected) in [
        ("foo=bar", unknown("foo")),
        ("target", missing("target")),
        ("", missing("")),
        ("type=x", invalid("type", "x")),
        ("ro=yes", invalid("ro", "yes")),
        ("sharing=x", invalid("sharing", "x")),
        ("type=cache,mode=8", invalid("mode", "8")),
        ("type=cache,uid=+1", invalid("uid", "+1")),
        ("type=cache,gid=4294967296", invalid("gid", "4294967296")),
        ("type=tmpfs,size=x", invalid("size", "x")),
        ("type=tmpfs,size=-1", invalid("size", "-1")),
        ("type=tmpfs,size=1bb", invalid("size", "1bb")),
        ("type=tmpfs,size=1e300", invalid("size", "1e300")),
        ("required,type=secret", refused("required", MountType::Bind)),
        ("required=x", refused("required", MountType::Bind)),
        ("size=1", refused("size", MountType::Bind)),
        ("type=tmpfs,mode=1", refused("mode", MountType::Tmpfs)),
        ("uid=1", refused("uid", MountType::Bind)),
        ("sharing=shared", refused("sharing", MountType::Bind)),
        ("type=secret,id=a,from=b", refused("from", MountType::Secret)),
        ("type=secret,id=a,sharing=shared", refused("sharing", MountType::Secret)),
        ("type=secret", MountError::SecretWithoutName),
        ("type=secret,id=a,src=b", MountError::SecretWithTwoNames),
    ] {
        let flag = if flag.is_empty() { "\\\"\\\"" } else { flag };
        assert_eq!(mount(flag), Err(expected), "{flag}");
    }
}

#[test]
fn sizes_take_fractions_and_units() {
    for (size, expected) in [
        ("0", 0),
        ("1", 1),
        ("10B", 10),
        ("1k", 1 << 10),
        ("1Kb", 1 << 10),
        ("1KiB", 1 << 10),
        ("1.5m", 3 << 19),
        ("'2 g'", 2 << 30),
        ("1t", 1 << 40),
        (".5p", 1 << 49),
        ("1e3", 1000),
    ] {
        let mount = mount(&format!("type=tmpfs,dst=/t,size={size}"));
        assert_eq!(mount.map(|mount| mount.size_bytes), Ok(expected), "{size}");
    }
}

#[test]
fn health_checks_take_a_command_and_times() {
    let milliseconds = |time| Some(Duration::from_millis(time));
    let shell = HealthcheckCommand {
        command: CommandLine::Shell("a b".to_owned()),
        interval: None,
        timeout: None,
        start_period: None,
        start_interval: None,
        retries: 0,
    };
    let exec = CommandLine::Exec(vec!["a".to_owned(), "b".to_owned()]);
    for (text, expected) in [
        ("HEALTHCHECK none", Healthcheck::None),
        ("HEALTHCHECK --x NONE", Healthcheck::None),
        ("HEALTHCHECK NONE []", Healthcheck::None),
        ("HEALTHCHECK cmd a b", Healthcheck::Command(shell.clone())),
        (
            "HEALTHCHECK --interval=1m --timeout=1ms --start-period=0s --start-interval=1.5s \
             --retries=3 CMD [\"a\", \"b\"]",
            Healthcheck::Command(HealthcheckCommand {
                command: exec,
                interval: milliseconds(60_000),
                timeout: milliseconds(1),
                start_period: None,
                start_interval: milliseconds(1_500),
                retries: 3,
            }),
        ),
        ("HEALTHCHECK --interval= --retries= CMD a b", Healthcheck::Command(shell)),
    ] {
        check(text, kind(text), Kind::Healthcheck(expected));
    }
}

#[test]
fn triggers_are_stored_as_written() {
    for (text, expression, keyword) in [
        ("ONBUILD  run  a  \\\n  b ", "run  a    b ", "RUN"),
        ("onbuild COPY <<a <<-b /c\n1\na\n\t2\nb", "COPY <<a <<-b /c\n1\na\n\t2\nb", "COPY"),
        ("ONBUILD unknown x", "unknown x", "UNKNOWN"),
        ("ONBUILD -- RUN x", "-- RUN x", "RUN"),
    ] {
        let expected = Onbuild { expression: expression.to_owned(), keyword: keyword.to_owned() };
        check(text, kind(text), Kind::Onbuild(expected));
    }
    let kind = |text| parse_trigger(text).map(|_| ()).map_err(|error| error.kind);
    assert_eq!(kind("RUN <<a\nx\na"), Ok(()));
    for text in ["FROM a", "RUN a\nRUN b"] {
        assert_eq!(kind(text), Err(ParseErrorKind::TriggerNotSingle), "{text}");
    }
}

#[test]
fn mistakes_have_a_kind_each() {
    use ParseErrorKind as E;
    let flag = |keyword, flag: &str, suggestion| E::UnknownFlag {
        keyword,
        flag: flag.to_owned(),
        suggestion,
    };
    let text = |text: &str| text.to_owned();
    let instruction = |keyword: &str, suggestion| E::UnknownInstruction {
        keyword: keyword.to_owned(),
        suggestion,
    };
    let none = |keyword| E::AtLeastOneArgument { keyword };
    let one = |keyword| E::ExactlyOneArgument { keyword };
    for (line, expected) in [
        ("FOO a", instruction("FOO", None)),
        ("COPPY a b", instruction("COPPY", Some("COPY"))),
        ("wrkdir a", instruction("wrkdir", Some("WORKDIR"))),
        ("\\", instruction("", None)),
        ("RUN --mout=a b", flag(Keyword::Run, "mout", Some("mount"))),
        ("COPY --user=a b c", flag(Keyword::Copy, "user", None)),
        ("USER --x a", flag(Keyword::User, "x", None)),
        ("COPY --link --link=false a b", E::DuplicateFlag { flag: "link" }),
        ("COPY --chown=a --chown=b a b", E::DuplicateFlag { flag: "chown" }),
        ("COPY --from a b", E::FlagWithoutValue { flag: "from" }),
        ("COPY --exclude a b", E::FlagWithoutValue { flag: "exclude" }),
        ("COPY --link= a b", E::FlagWithoutValue { flag: "link" }),
        ("COPY --link=1 a b", E::FlagNotBoolean { flag: "link", value: text("1") }),
        ("FROM", E::FromArguments),
        ("FROM a b", E::FromArguments),
        ("FROM a for b", E::FromArguments),
        ("FROM a AS 1x", E::StageName { name: text("1x") }),
        ("FROM a AS x/y", E::StageName { name: text("x/y") }),
        ("ENV", none(Keyword::Env)),
        ("LABEL", none(Keyword::Label)),
        ("ARG", none(Keyword::Arg)),
        ("EXPOSE", none(Keyword::Expose)),
        ("VOLUME []", none(Keyword::Volume)),
        ("ONBUILD", none(Keyword::Onbuild)),
        ("HEALTHCHECK", none(Keyword::Healthcheck)),
        ("SHELL", none(Keyword::Shell)),
        ("SHELL []", none(Keyword::Shell)),
        ("USER", one(Keyword::User)),
        ("WORKDIR", one(Keyword::Workdir)),
        ("STOPSIGNAL", one(Keyword::Stopsignal)),
        ("MAINTAINER", one(Keyword::Maintainer)),
        ("COPY a", E::NoDestination { keyword: Keyword::Copy }),
        ("ADD [\"a\"]", E::NoDestination { keyword: Keyword::Add }),
        ("COPY a <<b\nb", E::HeredocDestination { keyword: Keyword::Copy }),
        ("ENV =a", E::EmptyName { keyword: Keyword::Env }),
        ("ARG a =b", E::EmptyName { keyword: Keyword::Arg }),
        ("SHELL a b", E::ShellNotJson),
        ("ONBUILD ONBUILD RUN a", E::NestedOnbuild),
        ("ONBUILD from a", E::ForbiddenTrigger { keyword: Keyword::From }),
        ("ONBUILD MAINTAINER a", E::ForbiddenTrigger { keyword: Keyword::Maintainer }),
        ("VOLUME [\"a\", \" \"]", E::EmptyVolume),
        ("HEALTHCHECK NONE a", E::HealthcheckNoneArguments),
        ("HEALTHCHECK a b", E::HealthcheckType { word: text("A") }),
        ("HEALTHCHECK CMD", E::HealthcheckWithoutCommand),
        ("HEALTHCHECK CMD []", E::HealthcheckWithoutCommand),
        (
            "HEALTHCHECK --timeout=1 CMD a",
            E::HealthcheckDuration { flag: "timeout", value: text("1") },
        ),
        (
            "HEALTHCHECK --timeout=999us CMD a",
            E::HealthcheckTooShort { flag: "timeout", value: text("999us") },
        ),
        (
            "HEALTHCHECK --interval=-1s CMD a",
            E::HealthcheckTooShort { flag: "interval", value: text("-1s") },
        ),
        ("HEALTHCHECK --retries=-1 CMD a", E::HealthcheckRetries { value: text("-1") }),
        (
            "HEALTHCHECK --retries=2147483648 CMD a",
            E::HealthcheckRetries { value: text("2147483648") },
        ),
        ("RUN --network=x a", E::Network { value: text("x") }),
        ("RUN --network= a", E::Network { value: text("") }),
        ("RUN --security=x a", E::Security { value: text("x") }),
        ("RUN --mount= a", E::FlagFields { flag: "mount" }),
        ("RUN --mount=a'\"'b a", E::FlagFields { flag: "mount" }),
        ("RUN --mount=from=$x,target=/a a", E::MountFromVariable),
        ("RUN --device= a", E::FlagFields { flag: "device" }),
        ("RUN --device=a,b a", E::DeviceOption { option: text("b") }),
        ("RUN --device=name=a,name=b a", E::DeviceOption { option: text("name=b") }),
    ] {
        assert_eq!(error(&format!("FROM a\n{line}")), expected, "{line}");
    }
    assert_eq!(error("RUN a"), ParseErrorKind::NoStage { keyword: text("RUN") });
    assert_eq!(error("RUN --x a\nFROM a"), flag(Keyword::Run, "x", None));
}

#[test]
fn errors_point_at_the_flag_or_word() {
    let error = parse(b"FROM a\nCOPY \\\n  --frm=x \\\n  a b\n").expect_err("no such flag");
    assert_eq!(error.span.start, Position { line: 3, column: 3 });
    assert_eq!(error.span.end, Position { line: 3, column: 10 });
    assert_eq!(error.snippet.lines, ["  --frm=x \\"]);
    assert_eq!(error.suggestion(), Some("from"));
    assert_eq!(error.to_string(), "line 3: unknown flag `--frm` for COPY");
}

#[test]
fn flags_that_are_not_looked_at_are_warned_of() {
    let text = b"ARG --a b\nFROM x\nSTOPSIGNAL --a --b 9\nHEALTHCHECK --a NONE\nARG c";
    let warnings = parse(text).expect("Docker takes it").warnings;
    let found: Vec<_> =
        warnings.iter().map(|found| (&found.value, found.span.start.line)).collect();
    let ignored = &WarningKind::IgnoredFlags;
    assert_eq!(found, [(ignored, 1), (ignored, 3), (ignored, 4)]);
}
