use super::*;

fn mounts(case: &Case) -> Vec<RunMount> {
    match case.steps().pop().unwrap().kind {
        StepKind::Run(run) => run.mounts,
        other => panic!("{other:?}"),
    }
}

fn path(text: &str) -> snapshot::RootfsPath {
    snapshot::RootfsPath::new(text).unwrap()
}

fn cache(id: &str, target: &str) -> CacheMount {
    CacheMount {
        id: id.to_owned(),
        sharing: Sharing::Shared,
        from: None,
        source: path("/"),
        target: path(target),
        access: MountAccess::Writable,
        owner: None,
    }
}

fn secret(id: &str, target: Option<&str>, variable: Option<&str>) -> SecretMount {
    SecretMount {
        id: id.to_owned(),
        target: target.map(path),
        variable: variable.map(str::to_owned),
        is_required: false,
        owner: MountOwner { uid: 0, gid: 0, mode: 0o400 },
    }
}

fn bind(source: &str, target: &str) -> BindMount {
    BindMount {
        from: CopySource::Context,
        source: path(source),
        target: path(target),
        access: MountAccess::ReadOnly,
    }
}

#[test]
fn what_is_left_out_has_buildkits_defaults() {
    let check = |flag: &str, expected: RunMount| {
        let case = case(&format!("FROM scratch\nWORKDIR /w\nARG D=dir\nRUN --mount={flag} a"));
        assert_eq!(mounts(&case), [expected], "{flag}");
    };
    let caches = |flag, expected| check(flag, RunMount::Cache(expected));
    caches("type=cache,target=/c/", cache("/c", "/c"));
    // The id is the target before the working directory comes to it.
    caches("type=cache,target=c", cache("c", "/w/c"));
    caches("type=cache,target=$D", cache("dir", "/w/dir"));
    caches("type=cache,target=../c,id=$D", cache("dir", "/c"));
    caches(
        "type=cache,target=/c,ro,sharing=locked",
        CacheMount { sharing: Sharing::Locked, access: MountAccess::ReadOnly, ..cache("/c", "/c") },
    );
    caches(
        "type=cache,target=/c,uid=7",
        CacheMount { owner: Some(MountOwner { uid: 7, gid: 0, mode: 0o755 }), ..cache("/c", "/c") },
    );
    // With a source, owner and mode are those of the source.
    caches(
        "type=cache,target=/c,mode=0700,source=s",
        CacheMount { source: path("s"), ..cache("/c", "/c") },
    );
    caches("type=cache,from=scratch,target=/c", cache("/c", "/c"));
    let binds = |flag, expected| check(flag, RunMount::Bind(expected));
    binds("target=.", bind("/", "/w"));
    binds("target=", bind("/", "/w"));
    binds("src=../a,dst=/b", bind("a", "/b"));
    binds("target=/b,rw", BindMount { access: MountAccess::Writable, ..bind("/", "/b") });
    let tmpfs = |size_bytes| TmpfsMount { target: path("/t"), size_bytes };
    check("type=tmpfs,target=/t", RunMount::Tmpfs(tmpfs(None)));
    check("type=tmpfs,target=/t,size=2k", RunMount::Tmpfs(tmpfs(Some(2048))));
    let secrets = |flag, expected| check(flag, RunMount::Secret(expected));
    secrets("type=secret,id=a/b", secret("a/b", Some("/run/secrets/b"), None));
    secrets("type=secret,target=k/key", secret("key", Some("/w/k/key"), None));
    secrets("type=secret,source=x,target=/y", secret("x", Some("/y"), None));
    secrets("type=secret,id=x,env=", secret("x", None, Some("x")));
    secrets("type=secret,id=x,env=TOKEN", secret("x", None, Some("TOKEN")));
    secrets("type=secret,id=x,env=T,target=/t", secret("x", Some("/t"), Some("T")));
    secrets(
        "type=secret,id=x,required,uid=1,gid=2,mode=440",
        SecretMount {
            is_required: true,
            owner: MountOwner { uid: 1, gid: 2, mode: 0o440 },
            ..secret("x", Some("/run/secrets/x"), None)
        },
    );
}

#[test]
fn mounts_are_sorted_outer_ones_first() {
    let text = "FROM scratch\nRUN --mount=target=/a/b --mount=type=secret,id=x,env=E \
                --mount=type=cache,target=/a-b --mount=type=cache,target=/a x";
    let targets: Vec<_> =
        mounts(&case(text)).iter().map(|mount| mount.target().map(ToString::to_string)).collect();
    let expected = [None, Some("/a"), Some("/a/b"), Some("/a-b")];
    assert_eq!(targets, expected.map(|target| target.map(str::to_owned)));
}

#[test]
fn what_a_mount_names_is_a_source_of_the_stage() {
    let text = "FROM scratch AS one\nFROM scratch AS unused\nFROM scratch\n\
                RUN --mount=from=one,target=/o --mount=from=debian,src=/etc,target=/d \
                --mount=type=cache,from=files,target=/f x";
    let config = r#"{"architecture":"amd64","os":"linux"}"#;
    let case = case(text).named_context("files", NamedContext::Directory);
    assert_eq!(case.references(), [request(DEBIAN, "linux/amd64")]);
    let case = case.image(DEBIAN, config);
    let plan = case.plan();
    let names: Vec<_> = plan.stages.iter().map(|stage| stage.index).collect();
    assert_eq!(names, [0, 2]);
    let sources: Vec<_> = mounts(&case).iter().map(|mount| mount.source().cloned()).collect();
    let expected = [
        CopySource::Image(request(DEBIAN, "linux/amd64")),
        CopySource::NamedContext("files".to_owned()),
        CopySource::Stage(0),
    ];
    assert_eq!(sources, expected.map(Some));
    let last = plan.target_stage().unwrap().steps.last().unwrap();
    assert_eq!(last.source_stages().collect::<Vec<_>>(), [0]);
}

#[test]
fn mounts_that_mean_nothing_are_errors_with_their_line() {
    let check = |flag: &str, expected: &str| {
        let error = case(&format!("FROM scratch AS s\nRUN --mount={flag} a")).error();
        assert_eq!(error, format!("line 2: {expected}"), "{flag}");
    };
    check("type=cache,target=/", "cannot mount on `/`: it leads to the root");
    check("target=.", "cannot mount on `.`: it leads to the root");
    check("type=x,target=/a", "cannot read `--mount`: invalid value `x` for mount option `type`");
    check("from=scratch,target=/a", "nothing can be copied from `scratch`: it is empty");
    check("from=s,target=/a", "stage `s` needs its own result");
    check(
        "type=secret",
        "cannot read `--mount`: secret mount needs one of `id`, `source` and `target`",
    );
    let later = "FROM scratch AS one\nRUN --mount=from=two,target=/t x\nFROM scratch AS two\n\
                 FROM one";
    let error = case(later).error();
    assert_eq!(error, "line 2: cannot copy from stage `two`: it comes after stage `one`");
}

#[test]
fn other_flags_of_run_say_what_a_command_can_reach() {
    let check = |flag: &str, expected: RunNetwork| {
        let case = case(&format!("FROM scratch\nRUN {flag} a"));
        match case.steps().pop().unwrap().kind {
            StepKind::Run(run) => assert_eq!(run.network, expected, "{flag}"),
            other => panic!("{other:?}"),
        }
    };
    check("--network=default", RunNetwork::Shared);
    check("--network=host", RunNetwork::Shared);
    check("--network=none", RunNetwork::None);
    check("--security=sandbox", RunNetwork::Shared);
    assert_eq!(
        case("FROM scratch\nRUN --security=insecure a").error(),
        "line 2: `RUN --security=insecure` is refused: no command gets more rights than the build \
         has"
    );
}

#[test]
fn a_rendered_plan_says_what_is_mounted() {
    let text = "FROM scratch AS one\nFROM scratch\nRUN --network=none \
                --mount=from=one,source=/x,target=/o,rw --mount=type=secret,id=k,env=K,required \
                --mount=type=tmpfs,target=/t --mount=type=cache,target=/c,sharing=private a";
    let rendered = render(&case(text).plan());
    let expected = [
        "without network",
        "gives the secret `k` in $K",
        "mounts the cache `/c` (private) on /c",
        "mounts /x of stage 0 `one` on /o, what is written to it is lost",
        "mounts memory on /t",
    ];
    let found: Vec<&str> = rendered
        .lines()
        .filter_map(|line| line.split_once("-> "))
        .map(|(_, effect)| effect)
        .collect();
    assert_eq!(found[1..], expected, "{rendered}");
}
