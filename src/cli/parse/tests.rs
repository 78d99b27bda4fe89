use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Arg;
use snapshot::track::TrackerKind;
use url::Url;

use super::*;
use crate::build::options::*;
use crate::cli::args::{CacheListArgs, CachePruneArgs, ComparisonArgs, WarmerArgs};
use crate::cli::env::{Stderr, Surroundings, User};
use crate::context::git::{
    Depth, GitCredentials, GitSource, Reference as GitReference, Submodules, Wanted,
};
use crate::identity::aws::{ContainerCredentials, ContainerToken};
use crate::registry::{AmbientCredentials, AmbientSource, HostPassword};
use crate::report::fault::Fault;
use crate::report::settings::{Clock, Colors, Format, Level, ProgressForm};
use crate::secret::{Secret, SecretBytes, SecretVariables};

fn facts() -> Facts {
    Facts {
        current_directory: PathBuf::from("/project"),
        user: User::Root,
        surroundings: Surroundings::Container,
        is_kubernetes: false,
        stderr: Stderr::Stream,
    }
}

fn parsed(words: &[&str], variables: &[(&str, &str)]) -> Result<Invocation, Failure> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    parse(&words, &variables.iter().copied().collect(), &facts())
}

fn request_in(words: &[&str], variables: &[(&str, &str)]) -> BuildRequest {
    match parsed(words, variables) {
        Ok(Invocation::Build(request)) => *request,
        other => panic!("{words:?} is no build: {other:?}"),
    }
}

/// Returns the request of `executor --destination=r/x` and more flags.
fn request(flags: &[&str]) -> BuildRequest {
    request_in(&[&["executor", "--destination=r/x"], flags].concat(), &[])
}

fn options(flags: &[&str]) -> BuildOptions {
    request(flags).options
}

fn error(flags: &[&str]) -> String {
    let words = [&["executor", "--destination=r/x"], flags].concat();
    match parsed(&words, &[]) {
        Err(failure) => failure.error.to_string(),
        Ok(other) => panic!("{words:?} is fine: {other:?}"),
    }
}

fn destination(text: &str) -> Destination {
    Destination { reference: text.parse().expect("a reference"), typed: text.to_owned() }
}

/// What `executor --destination=r/x` asks for in a container without any variable.
fn defaults() -> BuildOptions {
    let https =
        TransportSecurity { plain_http: PlainHttp::Refused, verification: Verification::Required };
    BuildOptions {
        context: ContextOptions {
            source: ContextSource::Directory("/workspace/".into()),
            sub_path: None,
            named: vec![],
        },
        dockerfile: DockerfileSource::File {
            typed: "Dockerfile".into(),
            in_current_directory: "/project/Dockerfile".into(),
        },
        target: None,
        stages: StageSelection::Needed,
        build_args: vec![],
        secrets: vec![],
        labels: vec![],
        platform: None,
        snapshots: SnapshotChoices {
            mode: SnapshotMode::Auto,
            watch_limit: None,
            frequency: SnapshotFrequency::EveryStep,
            ignored_paths: vec![],
            var_run: VarRun::Ignored,
        },
        layers: LayerChoices {
            compression: CompressionChoice::Gzip { level: None },
            timestamps: Timestamps::Kept,
            unchanged: UnchangedSteps::NoLayer,
            threads: None,
        },
        output: OutputOptions {
            destinations: vec![destination("r/x")],
            push: Push::Yes,
            tar_path: None,
            oci_layout_path: None,
            digest_file: None,
            image_name_with_digest_file: None,
            image_name_tag_with_digest_file: None,
            builder_output: None,
            benchmark_file: None,
        },
        cache: None,
        shared: SharedOptions {
            directory: "/cache".into(),
            tags: TagLookup::Registry,
            new_content: NewContent::NotKept,
            time_to_live: Duration::from_secs(336 * 3600),
            limit_bytes: None,
        },
        registry: RegistryAccess {
            push: https,
            pull: https,
            plain_http_hosts: vec![],
            unverified_hosts: vec![],
            certificates: vec![],
            client_certificates: vec![],
            maps: vec![],
            fallback: RegistryFallback::Origin,
            credentials: CredentialSource::Files,
            credential_directories: vec!["/kaniko/.docker".into()],
            helper_directories: vec![],
            helper_environment: SecretVariables::default(),
            ambient: AmbientCredentials {
                sources: vec![
                    AmbientSource::Google,
                    AmbientSource::Ecr,
                    AmbientSource::Acr,
                    AmbientSource::GitLab,
                ],
                ..AmbientCredentials::default()
            },
            ca_file: None,
            ca_directories: vec![],
            proxy: ProxySettings::default(),
            client_type: None,
            push_retry_count: RetryCount::Default,
            download_retry_count: RetryCount::Default,
            immutable_tags: ImmutableTags::Fail,
            permission_check: PermissionCheck::Checked,
        },
        execution: ExecutionOptions {
            isolation: Isolation::Auto,
            overwrite: Overwrite::Refused,
            surroundings: crate::sandbox::Surroundings { is_kubernetes: false },
            inhabitants: Inhabitants::Refused,
            cleanup: Cleanup::Kept,
            work_directory: "/kaniko".into(),
            kept_directories: vec![PathBuf::from("/kaniko")],
            supervisor: "/proc/self/exe".into(),
            header_indexes: None,
            unpacking: crate::build::options::Unpacking::WhenNeeded,
        },
    }
}

#[test]
fn without_more_flags_the_options_are_the_defaults() {
    assert_eq!(options(&[]), defaults());
}

/// Checks the options of some flags against the defaults with a change.
fn check(flags: &[&str], change: impl FnOnce(&mut BuildOptions)) {
    let mut expected = defaults();
    change(&mut expected);
    assert_ne!(expected, defaults(), "{flags:?} changes nothing");
    assert_eq!(options(flags), expected, "{flags:?}");
}

#[test]
fn flags_of_the_context() {
    check(&["--context=app"], |o| {
        o.context.source = ContextSource::Directory("/project/app".into());
    });
    check(&["--context=dir://app"], |o| {
        o.context.source = ContextSource::Directory("/project/app".into());
    });
    check(&["--context=dir:///app"], |o| {
        o.context.source = ContextSource::Directory("/app".into());
    });
    check(&["--context=tar:///c.tar.gz"], |o| {
        o.context.source = ContextSource::Tar("/c.tar.gz".into());
    });
    check(&["--context=tar://stdin"], |o| o.context.source = ContextSource::TarStdin);
    for text in ["a/b", "/a/./b/", "a/c/../b"] {
        check(&["--context-sub-path", text], |o| o.context.sub_path = Some("a/b".into()));
    }
    assert_eq!(options(&["--context-sub-path=/"]), defaults());
    check(&["--dockerfile=ci/Dockerfile"], |o| {
        o.dockerfile = DockerfileSource::File {
            typed: "ci/Dockerfile".into(),
            in_current_directory: "/project/ci/Dockerfile".into(),
        };
    });
    check(&["--dockerfile=/abs/Dockerfile"], |o| {
        o.dockerfile = DockerfileSource::File {
            typed: "/abs/Dockerfile".into(),
            in_current_directory: "/abs/Dockerfile".into(),
        };
    });
    check(&["--dockerfile=-"], |o| o.dockerfile = DockerfileSource::Stdin);
    check(&["--dockerfile=https://h/Dockerfile"], |o| {
        o.dockerfile = DockerfileSource::Url(Url::parse("https://h/Dockerfile").expect("a URL"));
    });
}

#[test]
fn named_contexts() {
    let layout = |reference: Option<&str>| NamedContextSource::OciLayout {
        path: "/project/bases".into(),
        reference: reference.map(str::to_owned),
    };
    let cases = [
        ("base=./dir", NamedContextSource::Directory("/project/./dir".into())),
        ("base=/dir", NamedContextSource::Directory("/dir".into())),
        ("base=oci-layout://bases", layout(None)),
        ("base=oci-layout://bases:12", layout(Some("12"))),
        ("base=oci-layout://bases@sha256:ab", layout(Some("sha256:ab"))),
        ("base=oci-layout://bases:12@sha256:ab", layout(Some("sha256:ab"))),
        (
            "base=docker-image://debian:12",
            NamedContextSource::Image("debian:12".parse().expect("a reference")),
        ),
    ];
    for (text, source) in cases {
        check(&["--build-context", text], |o| {
            o.context.named = vec![NamedContext { name: "base".into(), source }];
        });
    }
    let wrong = |text: &str, reason: &str| {
        assert_eq!(
            error(&["--build-context", text]),
            format!("invalid value `{text}` for `--build-context`: {reason}")
        );
    };
    wrong("base", "expected `NAME=VALUE`");
    wrong("=dir", "the name is empty");
    wrong("base=", "the value is empty");
    wrong("scratch=dir", "this name is reserved");
    assert_eq!(
        error(&["--build-context=base=https://h/c.tar"]),
        "`--build-context=base=https://` is not supported yet"
    );
    assert_eq!(
        error(&["--build-context=base=docker-image://UPPER"]),
        "invalid reference `UPPER` for `--build-context`"
    );
}

#[test]
fn secrets_are_in_files_or_variables() {
    let variables = [("TOKEN", "hunter2"), ("npm", "")];
    let check = |text: &str, id: &str, place: SecretPlace| {
        let words = ["executor", "--destination=r/x", "--secret", text];
        let expected = vec![SecretSource { id: id.to_owned(), place }];
        assert_eq!(request_in(&words, &variables).options.secrets, expected, "{text}");
    };
    let file = |path: &str| SecretPlace::File(path.into());
    let value = |text: &str| SecretPlace::Value(SecretBytes::new(text));
    check("id=a,src=/b/c", "a", file("/b/c"));
    check("id=a,source=c", "a", file("/project/c"));
    check("id=a,env=TOKEN", "a", value("hunter2"));
    check("id=a,env=npm", "a", value(""));
    check("id=TOKEN", "TOKEN", value("hunter2"));
    check("id=a", "a", file("/project/a"));
    check("id=TOKEN,type=file", "TOKEN", file("/project/TOKEN"));
    check("type=env,id=TOKEN", "TOKEN", value("hunter2"));
    check("type=env,id=a,src=TOKEN", "a", value("hunter2"));
    for (text, reason) in [
        ("a", "expected `KEY=VALUE` fields"),
        ("src=a", "it has no `id`"),
        ("id=a,target=/b", "its fields are `id`, `src`, `env` and `type`"),
        ("id=a,src=b,env=c", "it has both `src` and `env`"),
        ("id=a,type=x", "its `type` is neither `file` nor `env`"),
        ("id=a,type=file,env=x", "`type` and the other fields disagree"),
        ("id=a,env=NONE", "the environment variable that it names is not set"),
    ] {
        assert_eq!(
            error(&["--secret", text]),
            format!("invalid value `{text}` for `--secret`: {reason}")
        );
    }
}

#[test]
fn flags_of_the_image() {
    check(&["--target=Builder"], |o| o.target = Some("Builder".into()));
    check(&["--build-arg=A=1", "--build-arg=B=x=y", "--build-arg=A="], |o| {
        let arg = |name: &str, value: &str| BuildArg { name: name.into(), value: value.into() };
        o.build_args = vec![arg("A", "1"), arg("B", "x=y"), arg("A", "")];
    });
    check(&["--label=a=b=c"], |o| {
        o.labels = vec![Label { key: "a".into(), value: "b=c".into() }];
    });
    check(&["--custom-platform=linux/aarch64"], |o| {
        o.platform = Some("linux/aarch64".parse().unwrap());
    });
    check(&["--skip-unused-stages=false"], |o| o.stages = StageSelection::UpToTarget);
    assert_eq!(options(&["--skip-unused-stages"]), defaults());
    check(&["--reproducible"], |o| o.layers.timestamps = Timestamps::Zeroed);
    check(&["--compression=zstd"], |o| {
        o.layers.compression = CompressionChoice::Zstd { level: None };
    });
    check(&["--compression-level=9"], |o| {
        o.layers.compression = CompressionChoice::Gzip { level: Some(9) };
    });
    check(&["--compression=zstd", "--compression-level=22"], |o| {
        o.layers.compression = CompressionChoice::Zstd { level: Some(22) };
    });
    for level in ["-7", "0", "-1"] {
        assert_eq!(options(&["--compression-level", level]), defaults(), "{level}");
    }
}

#[test]
fn flags_of_the_output() {
    check(&["--destination=r/y:1"], |o| {
        o.output.destinations.push(destination("r/y:1"));
    });
    check(&["--no-push"], |o| o.output.push = Push::No);
    check(&["--tar-path=i.tar"], |o| o.output.tar_path = Some("/project/i.tar".into()));
    check(&["--oci-layout-path=oci"], |o| {
        o.output.oci_layout_path = Some("/project/oci".into());
    });
    let file = |path: &str| Some(DigestSink::File(path.into()));
    check(&["--digest-file=d"], |o| o.output.digest_file = file("/project/d"));
    check(&["--digest-file=https://h/d"], |o| {
        o.output.digest_file = Some(DigestSink::Put(Url::parse("https://h/d").expect("a URL")));
    });
    check(&["--image-name-with-digest-file=/n"], |o| {
        o.output.image_name_with_digest_file = file("/n");
    });
    check(&["--image-name-tag-with-digest-file=/n"], |o| {
        o.output.image_name_tag_with_digest_file = file("/n");
    });
    check(&["--benchmark-file=b.json"], |o| {
        o.output.benchmark_file = Some("/project/b.json".into());
    });
    check(&["--push-retry=0"], |o| o.registry.push_retry_count = RetryCount::Exactly(0));
    check(&["--image-download-retry=4"], |o| {
        o.registry.download_retry_count = RetryCount::Exactly(4);
    });
    check(&["--skip-push-permission-check"], |o| {
        o.registry.permission_check = PermissionCheck::Skipped;
    });
}

#[test]
fn flags_of_registries() {
    let skip = Verification::Skipped;
    check(&["--insecure"], |o| o.registry.push.plain_http = PlainHttp::Allowed);
    check(&["--insecure-pull"], |o| o.registry.pull.plain_http = PlainHttp::Allowed);
    check(&["--skip-tls-verify"], |o| {
        o.registry.push.verification = skip;
        o.registry.pull.verification = skip;
    });
    check(&["--skip-tls-verify-pull"], |o| o.registry.pull.verification = skip);
    check(&["--insecure-registry=h:5000", "--insecure-registry=http://i/"], |o| {
        o.registry.plain_http_hosts = vec!["h:5000".into(), "i".into()];
    });
    check(&["--skip-tls-verify-registry=h"], |o| {
        o.registry.unverified_hosts = vec!["h".into()];
    });
    check(&["--registry-client-cert=h=c.pem,/k.pem"], |o| {
        o.registry.client_certificates = vec![HostClientCertificate {
            host: "h".into(),
            certificate: "/project/c.pem".into(),
            key: "/k.pem".into(),
        }];
    });
    let map = |from: &str, to: &str| RegistryMap { from: from.into(), to: to.into() };
    check(&["--registry-mirror=m/p", "--registry-map=a=b;c=http://d", "--registry-map=a=e"], |o| {
        o.registry.maps =
            vec![map("a", "b"), map("c", "http://d"), map("a", "e"), map("index.docker.io", "m/p")];
    });
    check(&["--skip-default-registry-fallback"], |o| {
        o.registry.fallback = RegistryFallback::Fail;
    });
    check(&["--push-ignore-immutable-tag-errors"], |o| {
        o.registry.immutable_tags = ImmutableTags::Accept;
    });
    let flags = ["--registry-certificate=h=a.pem", "--registry-certificate=h=/b.pem"];
    check(&flags, |o| {
        o.registry.certificates =
            vec![HostCertificate { host: "h".into(), certificate: "/b.pem".into() }];
    });
}

#[test]
fn flags_of_snapshots() {
    let way = |words: &[&str], mode| check(words, |o| o.snapshots.mode = mode);
    let tracker = SnapshotMode::Tracker;
    let walk = tracker(TrackerKind::Walk);
    way(&["--snapshot-mode=full"], tracker(TrackerKind::Content));
    way(&["--snapshot-mode=redo"], walk);
    way(&["--snapshotMode=time"], SnapshotMode::Time);
    // These are the default by other names.
    for words in [
        &["--use-new-run"][..],
        &["--tracker=auto"],
        &["--use-new-run", "--tracker=auto"],
        &["--use-new-run", "--snapshot-mode=redo"],
        &["--use-new-run", "--snapshot-mode=full", "--tracker=auto"],
    ] {
        assert_eq!(options(words), defaults(), "{words:?}");
    }
    way(&["--tracker=fanotify"], tracker(TrackerKind::Fanotify));
    way(&["--tracker=inotify", "--use-new-run"], tracker(TrackerKind::Inotify));
    way(&["--tracker=walk"], walk);
    way(&["--tracker=walk", "--snapshot-mode=redo"], walk);
    way(&["--tracker=walk", "--snapshot-mode=time"], SnapshotMode::Time);
    way(&["--tracker=content", "--snapshot-mode=full"], tracker(TrackerKind::Content));
    check(&["--watch-limit=5000"], |o| o.snapshots.watch_limit = Some(5000));
    check(&["--single-snapshot"], |o| {
        o.snapshots.frequency = SnapshotFrequency::OncePerStage;
    });
    check(&["--ignore-path=/a/../b//c/", "--ignore-path=/d"], |o| {
        o.snapshots.ignored_paths = vec!["/b/c".into(), "/d".into()];
    });
    check(&["--ignore-path=/home/*/.cache/"], |o| {
        o.snapshots.ignored_paths = vec!["/home/*/.cache".into()];
    });
    check(&["--ignore-var-run=false"], |o| o.snapshots.var_run = VarRun::Included);
}

#[test]
fn flags_of_credentials() {
    check(&["--registry-auth-stdin"], |o| {
        o.registry.credentials = CredentialSource::Descriptor(0);
    });
    check(&["--registry-auth-fd=7"], |o| {
        o.registry.credentials = CredentialSource::Descriptor(7);
    });
    for path in ["--registry-broker=/broker/socket", "--registry-broker=unix:///broker/socket"] {
        check(&[path], |o| {
            o.registry.credentials = CredentialSource::Broker("/broker/socket".into());
        });
    }
    assert_eq!(
        error(&["--registry-auth-stdin", "--registry-broker=/x"]),
        "`--registry-auth-stdin` and `--registry-broker` both say where credentials come from"
    );
}

#[test]
fn sources_of_credentials_can_be_chosen() {
    let sources = |flags: &[&str], expected: &[AmbientSource]| {
        check(flags, |o| o.registry.ambient.sources = expected.to_vec());
    };
    sources(&["--credential-helpers="], &[]);
    sources(&["--credential-helpers=ecr"], &[AmbientSource::Ecr]);
    let both = [AmbientSource::Google, AmbientSource::GitLab];
    sources(&["--credential-helpers=gitlab", "--credential-helpers=google"], &both);
    sources(&["--credential-helpers", "gitlab,google"], &both);
    assert_eq!(
        error(&["--credential-helpers=env"]),
        "invalid value `env` for `--credential-helpers`: expected one of google, ecr, acr, gitlab, \
         or nothing for none"
    );
}

#[test]
fn the_doctor_may_be_asked_about_registries() {
    let asked = |words: &[&str]| {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        match parse(&words, &Environment::default(), &facts()) {
            Ok(Invocation::DoctorOfRegistries { request, references }) => {
                let references: Vec<String> = references.iter().map(ToString::to_string).collect();
                Ok((request.options.registry.plain_http_hosts, references))
            }
            Ok(other) => panic!("{other:?}"),
            Err(failure) => Err(failure.error.to_string()),
        }
    };
    let flags = ["doctor", "--registry=r/x:1", "--insecure-registry=r", "--registry", "r/y"];
    let expected = (vec!["r".to_owned()], vec!["r/x:1".to_owned(), "r/y:latest".to_owned()]);
    for program in [&["zuwai"][..], &["executor"]] {
        let words = [program, &flags].concat();
        let (hosts, references) = asked(&words).expect("a doctor");
        assert_eq!(hosts, expected.0);
        let ends: Vec<&str> = expected.1.iter().map(String::as_str).collect();
        let found = references.iter().zip(&ends).all(|(one, end)| one.ends_with(end));
        assert!(found && references.len() == 2, "{references:?}");
    }
    assert!(asked(&["zuwai", "doctor", "--registry"]).is_err());
    assert!(asked(&["zuwai", "doctor", "--registry=R E F"]).is_err());
}

#[test]
fn variables_hold_credentials_of_registries() {
    let ambient = |variables: &[(&str, &str)]| {
        request_in(&["executor", "--destination=r/x"], variables).options.registry.ambient
    };
    let gitlab = ambient(&[
        ("CI_REGISTRY", "registry.gitlab.example"),
        ("CI_REGISTRY_USER", "job"),
        ("CI_REGISTRY_PASSWORD", "hunter2"),
        ("CI_DEPENDENCY_PROXY_SERVER", "gitlab.example:443"),
        ("DOCKER_AUTH_CONFIG", "{}"),
    ]);
    assert_eq!(
        gitlab.passwords,
        [HostPassword {
            host: "registry.gitlab.example".into(),
            username: "job".into(),
            password: Secret::new("hunter2"),
            variable: "CI_REGISTRY_PASSWORD",
        }]
    );
    assert_eq!(gitlab.document, Some(Secret::new("{}")));
    let pod = |variable, value| {
        let url = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1");
        ambient(&[url, (variable, value)]).aws.container
    };
    let full = |token| {
        let url = "http://169.254.170.23/v1".into();
        Some(ContainerCredentials::Full { url, token })
    };
    assert_eq!(
        pod("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t"),
        full(ContainerToken::Text(Secret::new("t")))
    );
    assert_eq!(
        pod("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/t"),
        full(ContainerToken::File("/t".into()))
    );
    assert_eq!(pod("OTHER", ""), full(ContainerToken::None));
}

#[test]
fn flags_of_the_execution() {
    check(&["--isolation=namespaces"], |o| o.execution.isolation = Isolation::Namespaces);
    check(&["--isolation=userns"], |o| o.execution.isolation = Isolation::UserNamespace);
    check(&["--isolation", "in-place"], |o| o.execution.isolation = Isolation::InPlace);
    check(&["--force"], |o| {
        o.execution.overwrite = Overwrite::Forced;
        o.execution.inhabitants = Inhabitants::Kept;
    });
    check(&["--pre-cleanup"], |o| o.execution.inhabitants = Inhabitants::Removed);
    check(&["--cleanup=true"], |o| o.execution.cleanup = Cleanup::Removed);
    check(&["--kaniko-dir=work"], |o| {
        o.execution.work_directory = "/project/work".into();
        o.execution.header_indexes = Some("/project/work/headers".into());
        o.registry.credential_directories =
            vec!["/project/work/.docker".into(), "/kaniko/.docker".into()];
    });
    check(&["--threads=3"], |o| o.layers.threads = std::num::NonZeroUsize::new(3));
}

#[test]
fn flags_of_reporting() {
    let report = |flags: &[&str]| request(flags).report;
    let usual = report(&[]);
    assert_eq!(
        usual,
        ReportSettings {
            level: Level::Info,
            format: Format::Color(Colors::On),
            clock: Clock::SinceStart,
            error_colors: Colors::Off,
            progress: ProgressForm::Lines,
        }
    );
    assert_eq!(report(&["--verbosity=debug"]), ReportSettings { level: Level::Debug, ..usual });
    assert_eq!(report(&["-v=Warning"]), ReportSettings { level: Level::Warn, ..usual });
    assert_eq!(
        report(&["--log-format=json"]),
        ReportSettings { format: Format::Json, progress: ProgressForm::Hidden, ..usual }
    );
    assert_eq!(report(&["--log-format=text"]), ReportSettings { format: Format::Text, ..usual });
    assert_eq!(report(&["--log-timestamp"]), ReportSettings { clock: Clock::DateAndTime, ..usual });
}

#[test]
fn bars_need_a_terminal_and_a_log_for_people() {
    let facts = Facts { stderr: Stderr::Terminal, ..facts() };
    for (format, expected) in [
        ("color", ProgressForm::Bars),
        ("text", ProgressForm::Lines),
        ("json", ProgressForm::Hidden),
    ] {
        let format = format!("--log-format={format}");
        let words = ["zuwai", "build", "--no-push", &format].map(OsString::from);
        match parse(&words, &Environment::default(), &facts) {
            Ok(Invocation::Build(request)) => assert_eq!(request.report.progress, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn colours_need_a_terminal_or_a_wish_and_no_refusal() {
    let zuwai = ["zuwai", "build", "--no-push"];
    let wish = ["zuwai", "build", "--no-push", "--log-format=color"];
    let format =
        |words: &[&str], variables: &[(&str, &str)]| request_in(words, variables).report.format;
    assert_eq!(format(&zuwai, &[]), Format::Color(Colors::Off));
    assert_eq!(format(&wish, &[]), Format::Color(Colors::On));
    assert_eq!(format(&wish, &[("NO_COLOR", "1")]), Format::Color(Colors::Off));
    assert_eq!(format(&wish, &[("NO_COLOR", "")]), Format::Color(Colors::On));
    let words: Vec<OsString> = zuwai.iter().map(OsString::from).collect();
    let facts = Facts { stderr: Stderr::Terminal, ..facts() };
    match parse(&words, &Environment::default(), &facts) {
        Ok(Invocation::Build(request)) => {
            assert_eq!(request.report.format, Format::Color(Colors::On));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_working_flag_changes_what_is_done() {
    // The checks above say how; this says that none was forgotten.
    let examples: &[(&str, &str)] = &[
        ("context", "/c"),
        ("context-sub-path", "s"),
        ("dockerfile", "d"),
        ("bucket", "b"),
        ("build-context", "a=b"),
        ("secret", "id=a,src=b"),
        ("target", "t"),
        ("build-arg", "a=b"),
        ("label", "a=b"),
        ("custom-platform", "linux/s390x"),
        ("skip-unused-stages", "false"),
        ("reproducible", "true"),
        ("compression", "zstd"),
        ("compression-level", "2"),
        ("destination", "r/y"),
        ("no-push", "true"),
        ("tar-path", "t"),
        ("oci-layout-path", "o"),
        ("digest-file", "d"),
        ("image-name-with-digest-file", "d"),
        ("image-name-tag-with-digest-file", "d"),
        ("benchmark-file", "b"),
        ("push-retry", "2"),
        ("push-ignore-immutable-tag-errors", "true"),
        ("skip-push-permission-check", "true"),
        ("insecure", "true"),
        ("skip-tls-verify", "true"),
        ("image-download-retry", "2"),
        ("insecure-pull", "true"),
        ("skip-tls-verify-pull", "true"),
        ("insecure-registry", "h"),
        ("skip-tls-verify-registry", "h"),
        ("registry-certificate", "h=c"),
        ("registry-client-cert", "h=c,k"),
        ("registry-map", "a=b"),
        ("registry-mirror", "m"),
        ("skip-default-registry-fallback", "true"),
        ("azure-container-registry-config", "a"),
        ("registry-auth-stdin", "true"),
        ("registry-auth-fd", "3"),
        ("credential-helpers", "ecr"),
        ("registry-broker", "/s"),
        ("snapshot-mode", "full"),
        ("single-snapshot", "true"),
        ("tracker", "inotify"),
        ("watch-limit", "1"),
        ("ignore-path", "/i"),
        ("ignore-var-run", "false"),
        ("cache", "true"),
        ("cache-dir", "/c"),
        ("cache-dir-limit", "1G"),
        ("isolation", "namespaces"),
        ("force", "true"),
        ("pre-cleanup", "true"),
        ("cleanup", "true"),
        ("kaniko-dir", "/k"),
        ("threads", "2"),
        ("force-build-metadata", "true"),
        ("verbosity", "warn"),
        ("log-format", "json"),
        ("log-timestamp", "true"),
    ];
    let mut seen: BTreeSet<&str> = BTreeSet::from(["print-options"]);
    for (name, value) in examples {
        let flag = format!("--{name}={value}");
        assert_ne!(request(&[&flag]), request(&[]), "{flag} changes nothing");
        seen.insert(name);
    }
    // By itself it asks for the default.
    let git = "--context=git://h/r";
    assert_ne!(request(&[git, "--git=branch=b"]), request(&[git]));
    seen.insert("git");
    let full = "--snapshot-mode=full";
    assert_ne!(request(&[full, "--use-new-run"]), request(&[full]));
    seen.insert("use-new-run");
    for (name, value) in [
        ("cache-repo", "r/c"),
        ("cache-from", "r/c"),
        ("cache-signing-key", "/k"),
        ("cache-ttl", "1h"),
        ("cache-copy-layers", "true"),
        ("cache-run-layers", "false"),
        ("no-push-cache", "true"),
    ] {
        let flag = format!("--{name}={value}");
        assert_ne!(request(&["--cache", &flag]), request(&["--cache"]), "{flag} changes nothing");
        seen.insert(name);
    }
    let delta = "--cache-copy-delta";
    let cached = ["--cache", "--cache-copy-layers"];
    assert_ne!(request(&[cached[0], cached[1], delta]), request(&cached));
    seen.insert("cache-copy-delta");
    let working: BTreeSet<&str> = BuildArgs::FLAGS
        .iter()
        .filter(|flag| flag.support == Support::Works)
        .map(|flag| flag.name)
        .collect();
    assert_eq!(seen, working);
}

#[test]
fn every_working_flag_of_the_warmer_changes_what_is_done() {
    let request = |flags: &[&str]| match parsed(&[&["warmer", "--image=a"], flags].concat(), &[]) {
        Ok(Invocation::Warm(request)) => *request,
        other => panic!("{flags:?}: {other:?}"),
    };
    let mut seen: BTreeSet<&str> = BTreeSet::from(["print-options"]);
    for (name, value) in [
        ("image", "b"),
        ("dockerfile", "Dockerfile"),
        ("build-arg", "A=1"),
        ("cache-dir", "/c"),
        ("cache-dir-limit", "1G"),
        ("force", "true"),
        ("cache-ttl", "1h"),
        ("custom-platform", "linux/arm64"),
        ("insecure-pull", "true"),
        ("skip-tls-verify-pull", "true"),
        ("insecure-registry", "h"),
        ("skip-tls-verify-registry", "h"),
        ("registry-certificate", "h=c"),
        ("registry-client-cert", "h=c,k"),
        ("registry-map", "a=b"),
        ("registry-mirror", "m"),
        ("skip-default-registry-fallback", "true"),
        ("azure-container-registry-config", "a"),
        ("verbosity", "warn"),
        ("log-format", "json"),
        ("log-timestamp", "true"),
    ] {
        let flag = format!("--{name}={value}");
        assert_ne!(request(&[&flag]), request(&[]), "{flag} changes nothing");
        seen.insert(name);
    }
    let working: BTreeSet<&str> = WarmerArgs::FLAGS
        .iter()
        .filter(|flag| flag.support == Support::Works)
        .map(|flag| flag.name)
        .collect();
    assert_eq!(seen, working);
}

#[test]
fn the_shared_directory_is_used_as_it_is_asked_for() {
    let shared = |flags: &[&str]| {
        let shared = options(flags).shared;
        (shared.directory, shared.tags, shared.new_content)
    };
    let cache = PathBuf::from("/cache");
    assert_eq!(shared(&[]), (cache.clone(), TagLookup::Registry, NewContent::NotKept));
    assert_eq!(shared(&["--cache"]), (cache, TagLookup::Remembered, NewContent::KeptWhereItIs));
    let named = (PathBuf::from("/project/c"), TagLookup::Remembered, NewContent::Kept);
    assert_eq!(shared(&["--cache-dir=c"]), named);
    let kept = options(&["--cache-dir=c"]).execution.kept_directories;
    assert_eq!(kept, [PathBuf::from("/kaniko"), PathBuf::from("/project/c")]);
}

#[test]
fn the_shared_directory_is_looked_after() {
    let request = |words: &[&str]| match parsed(words, &[]) {
        Ok(Invocation::Cache(request)) => (request.directory.clone(), request.wish),
        other => panic!("{words:?}: {other:?}"),
    };
    let wish = |keep_bytes, seconds: Option<u64>| {
        Some(crate::store::Wish { keep_bytes, unused_for: seconds.map(Duration::from_secs) })
    };
    let cache = || PathBuf::from("/cache");
    assert_eq!(request(&["zuwai", "cache", "ls"]), (cache(), None));
    assert_eq!(request(&["zuwai", "cache", "ls", "-c", "x"]), ("/project/x".into(), None));
    let prune = |flags: &[&str]| request(&[&["zuwai", "cache", "prune"], flags].concat());
    assert_eq!(prune(&[]), (cache(), wish(None, Some(0))));
    assert_eq!(prune(&["--keep=1k"]), (cache(), wish(Some(1000), None)));
    assert_eq!(prune(&["--older-than=1m", "--keep=0"]), (cache(), wish(Some(0), Some(60))));
    for words in [&["zuwai", "cache"][..], &["zuwai", "cache", "rm"]] {
        let failure = parsed(words, &[]).expect_err("no command");
        assert_eq!(
            failure.error.to_string(),
            "`zuwai cache` is `zuwai cache ls` or `zuwai cache prune`"
        );
    }
}

#[test]
fn every_flag_has_one_row_and_every_row_a_flag() {
    fn check<A: FlagSet>() {
        let command = args::command::<A>();
        let flags: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
        let rows: Vec<&str> = A::FLAGS.iter().map(|flag| flag.name).collect();
        assert_eq!(flags, rows);
        for old in A::OLD_NAMES {
            assert!(flags.contains(&old.successor), "{}", old.successor);
        }
    }
    check::<BuildArgs>();
    check::<WarmerArgs>();
    check::<CacheListArgs>();
    check::<CachePruneArgs>();
    check::<ComparisonArgs>();
}

#[test]
fn clap_finds_no_fault_with_the_definitions() {
    args::command::<BuildArgs>().debug_assert();
    args::command::<WarmerArgs>().debug_assert();
    args::command::<CacheListArgs>().debug_assert();
    args::command::<CachePruneArgs>().debug_assert();
}

#[test]
fn a_cache_that_is_off_needs_no_further_flags() {
    for flag in ["--cache=false", "--cache-ttl=20160m", "--cache-dir=/cache", "--cache-repo=r/c"] {
        assert_eq!(options(&[flag]), defaults(), "{flag}");
    }
}

#[test]
fn contexts_from_elsewhere_are_read_as_kaniko_reads_them() {
    let name = |words: &[&str]| match options(words).context.source {
        ContextSource::Object(object) => object.name(),
        ContextSource::Url(url) => url.to_string(),
        other => panic!("{other:?}"),
    };
    for (context, expected) in [
        ("s3://bucket/a/b.tar.gz", "s3://bucket/a/b.tar.gz"),
        ("s3://bucket", "s3://bucket/context.tar.gz"),
        ("gs://bucket/", "gs://bucket/context.tar.gz"),
        ("gs://bucket/a%20b", "gs://bucket/a b"),
        ("https://acme.blob.core.windows.net/c/d/e", "https://acme.blob.core.windows.net/c/d/e"),
        (
            "https://acme.blob.core.windows.net/c/d?sig=s",
            "https://acme.blob.core.windows.net/c/d?sig=s",
        ),
        ("https://host.example/c?t=s", "https://host.example/c?t=s"),
    ] {
        assert_eq!(name(&[&format!("--context={context}")]), expected);
    }
    assert_eq!(name(&["--bucket=b"]), "gs://b/context.tar.gz");
    assert_eq!(name(&["--bucket=b/c.tgz", "--context="]), "gs://b/c.tgz");
    assert_eq!(name(&["--bucket=s3://b/c.tgz"]), "s3://b/c.tgz");
    let request = request(&["--bucket=b", "--context=/dir"]);
    assert_eq!(request.options.context.source, ContextSource::Directory("/dir".into()));
    assert_eq!(
        request.warnings,
        ["`--bucket=b` has no effect beside `--context=/dir`, a directory; write the context as \
          `gs://BUCKET/PATH`"]
    );
}

#[test]
fn git_contexts_are_read_as_kaniko_and_docker_read_them() {
    let source = |words: &[&str], variables: &[(&str, &str)]| {
        let words = [&["executor", "--no-push"], words].concat();
        match request_in(&words, variables).options.context.source {
            ContextSource::Git(source) => source,
            other => panic!("{other:?}"),
        }
    };
    let plain = source(&["--context=git://host.example/org/app.git"], &[]);
    assert_eq!(
        plain,
        GitSource {
            url: Url::parse("https://host.example/org/app.git").expect("a URL"),
            credentials: None,
            wanted: Wanted::default(),
            sub_path: None,
            submodules: Submodules::Empty,
            depth: Depth::Commits(1),
            verification: crate::http::Verification::Required,
        }
    );
    let commit = "0123456789abcdef0123456789ABCDEF01234567";
    let lower = Some(commit.to_ascii_lowercase());
    let any = |name: &str| Some(GitReference::Any(name.to_owned()));
    for (rest, reference, commit, sub_path) in [
        ("#refs/heads/main".to_owned(), any("refs/heads/main"), None, None),
        (format!("#{commit}"), None, lower.clone(), None),
        (format!("#refs/heads/main#{commit}"), any("refs/heads/main"), lower.clone(), None),
        (format!("##{commit}"), None, lower, None),
        ("#main:a/b".to_owned(), any("main"), None, Some("a/b")),
        ("#:a/../b".to_owned(), None, None, Some("b")),
        ("#".to_owned(), None, None, None),
    ] {
        let expected = GitSource {
            wanted: Wanted { reference, commit },
            sub_path: sub_path.map(PathBuf::from),
            ..plain.clone()
        };
        let context = format!("--context=git://host.example/org/app.git{rest}");
        assert_eq!(source(&[&context], &[]), expected, "{rest}");
    }
    let context = "--context=git://host.example/org/app.git";
    let flags = ["--git=branch=b", "--git=recurse-submodules=true", "--git=depth=0"];
    let expected = GitSource {
        wanted: Wanted { reference: Some(GitReference::BranchOrTag("b".to_owned())), commit: None },
        submodules: Submodules::Fetched,
        depth: Depth::Everything,
        verification: crate::http::Verification::Skipped,
        ..plain.clone()
    };
    let flags = [&[context][..], &flags, &["--git=insecure-skip-tls=1"]].concat();
    assert_eq!(source(&flags, &[]), expected);
    let credentials = |name: &str, password: &str| {
        let (user_name, password) = (Secret::new(name), Secret::new(password));
        Some(GitCredentials { user_name, password })
    };
    for (user, variables, expected) in [
        ("t%40k@", vec![], credentials("t@k", "")),
        ("u:p@", vec![], credentials("u", "p")),
        ("u:p@", vec![("GIT_TOKEN", "t")], credentials("t", "")),
        ("", vec![("GIT_TOKEN", "t"), ("GIT_USERNAME", "u")], credentials("t", "")),
        ("", vec![("GIT_USERNAME", "u"), ("GIT_PASSWORD", "p")], credentials("u", "p")),
        ("", vec![("GIT_PASSWORD", "p")], credentials("", "p")),
    ] {
        let context = format!("--context=git://{user}host.example/org/app.git");
        let expected = GitSource { credentials: expected, ..plain.clone() };
        assert_eq!(source(&[&context], &variables), expected);
    }
    let by_http = source(&[context], &[("GIT_PULL_METHOD", "http")]);
    assert_eq!(by_http.url.scheme(), "http");
}

#[test]
fn secrets_of_clouds_are_not_in_what_is_shown_of_options() {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_SESSION_TOKEN", "hunter2"),
        ("AZURE_STORAGE_ACCESS_KEY", "hunter2"),
        ("AZURE_CLIENT_SECRET", "hunter2"),
    ];
    for context in ["s3://b/k", "https://acme.blob.core.windows.net/c/b"] {
        let context = format!("--context={context}");
        let request = request_in(&["executor", "--no-push", &context], &variables);
        assert!(!format!("{:?}", request.options.context).contains("hunter2"));
    }
}

#[test]
fn ways_to_find_changes_that_contradict_each_other_are_refused() {
    for (words, flag) in [
        (["--tracker=inotify", "--snapshot-mode=full"], "--snapshot-mode=full"),
        (["--tracker=auto", "--snapshot-mode=redo"], "--snapshot-mode=redo"),
        (["--tracker=content", "--snapshot-mode=time"], "--snapshot-mode=time"),
        (["--tracker=walk", "--use-new-run"], "--use-new-run"),
        (["--tracker=content", "--use-new-run"], "--use-new-run"),
    ] {
        let value = words[0].split_once('=').map(|(_, value)| value).unwrap_or_default();
        assert_eq!(
            error(&words),
            format!(
                "invalid value `{value}` for `--tracker`: `{flag}` asks for another way to find \
                 changes; give one of them"
            )
        );
    }
}

#[test]
fn flags_satisfied_by_design_change_nothing_and_say_why() {
    let request = request(&["--compressed-caching=false", "--image-fs-extract-retry=3"]);
    assert_eq!(request.options, defaults());
    assert_eq!(
        request.notes,
        [
            "--compressed-caching has nothing to do: a layer is compressed once, on its way to disk, and \
         never held in memory",
            "--image-fs-extract-retry has nothing to do: a layer is complete and verified on disk before \
         it is extracted",
        ]
    );
}

#[test]
fn values_that_cannot_mean_anything_are_refused() {
    let wrong = [
        (
            "--context=ftp://h/c",
            "unknown build context prefix `ftp://`, expected one of gs://, dir://, s3://, git://, tar://, https://",
        ),
        ("--context=git://h/r#a b", "the reference's name has characters that none can have"),
        (
            "--context=git://h/r#--upload-pack=x",
            "the reference's name has characters that none can have",
        ),
        (
            "--context=git://h/r#main#abc",
            "what follows the second `#` is no commit of 40 hexadecimal digits",
        ),
        ("--context=s3:///key", "the bucket is missing"),
        (
            "--context=https://acme.blob.core.windows.net/c",
            "expected `https://HOST/CONTAINER/BLOB`",
        ),
        ("--context-sub-path=a/../../b", "the path leaves the context"),
        ("--label=a", "expected `KEY=VALUE`"),
        ("--registry-client-cert=h=c", "expected `HOST=CERTIFICATE,KEY`"),
        ("--registry-client-cert=h=c,", "expected `HOST=CERTIFICATE,KEY`"),
        ("--snapshot-mode=fast", "expected full, redo or time"),
        ("--tracker=ebpf", "expected auto, overlay, fanotify, inotify, walk or content"),
        ("--watch-limit=-1", "expected a count of 0 or more"),
        ("--isolation=vm", "expected auto, namespaces, userns or in-place"),
        ("--compression-level=10", "the highest level of this compression is 9"),
        ("--benchmark-file=gs://b/f", "it can only be a file of this machine"),
        ("--push-retry=-1", "expected a count of 0 or more"),
        ("--threads=-1", "expected a count of 0 or more"),
        ("--registry-auth-fd=2", "this descriptor is written to"),
        ("--registry-auth-fd=-1", "expected the number of an open descriptor"),
        ("--ignore-path=/a/..", "the root cannot be ignored"),
        ("--ignore-path=/a/[b/c", "the pattern has a `[` without its `]`, or ends in `\\`"),
        (
            "--custom-platform=a//b",
            "`a//b` is not a platform of the form `os/architecture[/variant]`",
        ),
        (
            "--destination=r/x@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "a destination is named by a tag, not by a digest",
        ),
    ];
    for (flag, reason) in wrong {
        let (name, value) = flag.split_once('=').expect("a value");
        assert_eq!(error(&[flag]), format!("invalid value `{value}` for `{name}`: {reason}"));
    }
    assert_eq!(error(&["--destination=UPPER"]), "invalid reference `UPPER` for `--destination`");
    assert_eq!(
        error(&["--context=tar://stdin", "--dockerfile=-"]),
        "`--context=tar://stdin` and `--dockerfile=-` both read standard input"
    );
    for source in ["--context=tar://stdin", "--dockerfile=/dev/stdin"] {
        for credentials in ["--registry-auth-stdin", "--registry-auth-fd=0"] {
            assert_eq!(
                error(&[source, credentials]),
                format!("`{source}` and `--registry-auth-stdin` both read standard input")
            );
        }
    }
    assert_eq!(
        error(&["--registry-auth-stdin", "--registry-auth-fd=3"]),
        "`--registry-auth-stdin` and `--registry-auth-fd` both say where credentials come from"
    );
}

#[test]
fn the_environment_reaches_the_options() {
    let variables = [
        ("KANIKO_REGISTRY_MAP", "a=b"),
        ("KANIKO_REGISTRY_MIRROR", "m"),
        ("DOCKER_CONFIG", "/creds"),
        ("HOME", "/root"),
        ("PATH", "/usr/bin:/bin"),
        ("SSL_CERT_DIR", "/kaniko/ssl/certs:certs"),
        ("SSL_CERT_FILE", "/ca.pem"),
        ("HTTP_PROXY", "http://upper"),
        ("http_proxy", "http://lower"),
        ("https_proxy", "http://u:p@tls"),
        ("NO_PROXY", "a,b"),
    ];
    let request = request_in(&["executor", "--destination=r/x"], &variables);
    let mut expected = defaults();
    let registry = &mut expected.registry;
    registry.credential_directories =
        ["/creds", "/kaniko/.docker", "/root/.docker"].map(PathBuf::from).into();
    registry.helper_directories = ["/usr/bin", "/bin"].map(PathBuf::from).into();
    registry.helper_environment = SecretVariables::from_iter(variables);
    registry.ambient.aws.program_directories = registry.helper_directories.clone();
    registry.ambient.aws.program_environment = registry.helper_environment.clone();
    registry.ambient.aws.shared.credentials = Some("/root/.aws/credentials".into());
    registry.ambient.aws.shared.config = Some("/root/.aws/config".into());
    registry.ambient.google.user_credentials =
        Some("/root/.config/gcloud/application_default_credentials.json".into());
    registry.maps = [("a", "b"), ("index.docker.io", "m")]
        .map(|(from, to)| RegistryMap { from: from.into(), to: to.into() })
        .into();
    registry.ca_file = Some("/ca.pem".into());
    registry.ca_directories = ["/kaniko/ssl/certs", "/project/certs"].map(PathBuf::from).into();
    registry.proxy = ProxySettings {
        http: Some(Secret::new("http://upper")),
        https: Some(Secret::new("http://u:p@tls")),
        no_proxy: Some("a,b".into()),
    };
    assert_eq!(request.options, expected);
}

#[test]
fn the_benchmark_file_may_be_named_by_the_environment() {
    let file = |words: &[&str], value: &str| {
        let words = [&["executor", "--destination=r/x"], words].concat();
        request_in(&words, &[("BENCHMARK_FILE", value)]).options.output.benchmark_file
    };
    assert_eq!(file(&[], "/b.json"), Some(PathBuf::from("/b.json")));
    assert_eq!(file(&["--benchmark-file=/own"], "/b.json"), Some(PathBuf::from("/own")));
    assert_eq!(file(&[], "false"), None);
    assert_eq!(file(&[], ""), None);
}

#[test]
fn the_work_directory_depends_on_where_the_program_runs() {
    let directory = |facts: &Facts, variables: &[(&str, &str)]| {
        let words = ["executor", "--no-push"].map(OsString::from);
        match parse(&words, &variables.iter().copied().collect(), facts) {
            Ok(Invocation::Build(request)) => Ok(request.options.execution.work_directory),
            Ok(other) => panic!("{other:?}"),
            Err(failure) => Err(failure.error.to_string()),
        }
    };
    let machine = Facts { surroundings: Surroundings::Machine, ..facts() };
    let user = Facts { user: User::Other, ..machine.clone() };
    let home = ("HOME", "/home/u");
    let check = |facts: &Facts, variables: &[(&str, &str)], expected: &str| {
        assert_eq!(directory(facts, variables), Ok(PathBuf::from(expected)), "{variables:?}");
    };
    check(&facts(), &[home], "/kaniko");
    check(&facts(), &[("KANIKO_DIR", "/k")], "/k");
    check(&machine, &[home], "/var/lib/zuwai");
    check(&machine, &[("KANIKO_DIR", "/k")], "/k");
    check(&user, &[home], "/home/u/.cache/zuwai");
    check(&user, &[home, ("XDG_CACHE_HOME", "/c")], "/c/zuwai");
    let user_in_container = Facts { user: User::Other, ..facts() };
    check(&user_in_container, &[home], "/home/u/.cache/zuwai");
    check(&user_in_container, &[], "/kaniko");
    assert_eq!(
        directory(&user, &[]),
        Err("no directory for the build's own files: neither `XDG_CACHE_HOME` nor `HOME` is set"
            .to_owned())
    );
}

#[test]
fn warnings_say_what_to_do() {
    let warnings = |flags: &[&str], variables: &[(&str, &str)]| {
        let words = [&["executor", "--destination=r/x"], flags].concat();
        request_in(&words, variables).warnings
    };
    assert_eq!(warnings(&[], &[]), Vec::<String>::new());
    assert_eq!(warnings(&["--tarPath=x"], &[]), ["Flag --tarPath is deprecated. Use: --tar-path"]);
    assert_eq!(
        warnings(&["--build-arg=A"], &[]),
        [
            "the build argument `A` has no value and is not in the environment; it is passed as empty, \
         write `--build-arg=A=` if that is meant"
        ]
    );
    assert_eq!(warnings(&["--build-arg=A"], &[("A", "")]), Vec::<String>::new());
    assert_eq!(
        warnings(&["--insecure-registry=true"], &[]),
        ["`--insecure-registry=true` names a registry called `true`, not a switch"]
    );
    assert_eq!(
        warnings(&["--ignore-path=node_modules"], &[]),
        ["`--ignore-path=node_modules` matches nothing; write it as an absolute path of the image"]
    );
    assert_eq!(
        warnings(&[], &[("STACKLOG_PATH", "/stacks")]),
        [
            "the environment variable `STACKLOG_PATH` (file for stack samples) is not supported yet and \
         has no effect"
        ]
    );
}

#[test]
fn hints_lead_to_the_right_spelling() {
    let hint = |words: &[&str]| match parsed(words, &[]) {
        Err(failure) => failure.error.hint(),
        Ok(other) => panic!("{words:?} is fine: {other:?}"),
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(hint(&["executor", "--destinaton=x"]), some("did you mean `--destination`?"));
    assert_eq!(
        hint(&["executor", "--tar-path x"]),
        some("flag and value are one argument; write `--tar-path=x`, or two arguments")
    );
    assert_eq!(
        hint(&["executor", "--cache", "true"]),
        some("a boolean's value needs `=`: `--cache=true`")
    );
    assert_eq!(hint(&["executor", "-no-push"]), some("write `--no-push` with two dashes"));
    assert_eq!(
        hint(&["executor"]),
        some("add `--destination=HOST/REPOSITORY:TAG` to push, or `--no-push`")
    );
}

#[test]
fn programs_are_known_by_their_name() {
    let print = |words: &[&str]| match parsed(words, &[]) {
        Ok(Invocation::Print(text)) => text,
        other => panic!("{words:?}: {other:?}"),
    };
    let version = format!("zuwai {} (flags of kaniko v1.24.0)\n", env!("CARGO_PKG_VERSION"));
    for words in [
        &["zuwai", "version"][..],
        &["zuwai", "--version"],
        &["/kaniko/executor", "version"],
        &["executor", "-v", "info", "version"],
        &["warmer", "version"],
    ] {
        assert_eq!(print(words), version, "{words:?}");
    }
    for (words, first) in [
        (&["executor", "--help"][..], "Builds an image from a Dockerfile and pushes it\n"),
        (&["executor", "help"], "Builds an image from a Dockerfile and pushes it\n"),
        (&["zuwai", "build", "-h"], "Builds an image from a Dockerfile and pushes it\n"),
        (&["warmer", "-h"], "Fetches base images into a directory that builds read\n"),
        (&["zuwai", "help"], "Builds container images from a Dockerfile inside an ordinary"),
    ] {
        assert!(print(words).starts_with(first), "{words:?}: {}", print(words));
    }
    assert!(print(&["executor", "-h"]).contains("Usage: executor [OPTIONS]"));
    assert!(print(&["zuwai", "build", "-h"]).contains("Usage: zuwai build [OPTIONS]"));
}

#[test]
fn a_plan_takes_the_flags_of_a_build_and_needs_no_destination() {
    match parsed(&["zuwai", "plan", "--target=a"], &[]) {
        Ok(Invocation::Plan(request)) => assert_eq!(request.options.target, Some("a".into())),
        other => panic!("{other:?}"),
    }
    match parsed(&["zuwai", "plan", "--cache"], &[]) {
        Ok(Invocation::Plan(request)) => assert_eq!(request.options.cache, None),
        other => panic!("{other:?}"),
    }
    match parsed(&["executor", "plan"], &[]) {
        Err(failure) => {
            assert_eq!(failure.error.to_string(), "unknown command `plan` for `executor`");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn arguments_that_are_not_text_are_refused_by_position() {
    use std::os::unix::ffi::OsStringExt;
    let words = [OsString::from("executor"), OsString::from("-d"), OsString::from_vec(vec![0xff])];
    match parse(&words, &Environment::default(), &facts()) {
        Err(failure) => {
            assert_eq!(failure.error.to_string(), "argument 2 is not valid UTF-8");
        }
        other => panic!("{other:?}"),
    }
}
