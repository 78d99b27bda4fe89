use super::*;

/// Returns the last step of the target, which copies something.
fn last_copy(case: &Case) -> CopyStep {
    match case.steps().pop().unwrap().kind {
        StepKind::Copy(copy) => copy,
        other => panic!("{other:?}"),
    }
}

/// Returns the sources that are paths.
fn paths(copy: &CopyStep) -> Vec<String> {
    let sources = copy.sources.iter().filter_map(|source| match source {
        CopyItem::Path(path) => Some(path.to_string()),
        CopyItem::WithParents { .. } | CopyItem::File(_) | CopyItem::Repository(_) => None,
    });
    sources.collect()
}

/// Returns the first file that is fetched.
fn file(copy: &CopyStep) -> &RemoteFile {
    let files = copy.remotes().filter_map(|remote| match remote {
        Remote::File(file) => Some(file),
        Remote::Repository(_) => None,
    });
    files.into_iter().next().unwrap()
}

fn check_destination(typed: &str, path: &str, is_directory: bool) {
    let case = case(&format!("FROM scratch\nWORKDIR /w\nCOPY [\"a\", \"{typed}\"]"));
    let destination = last_copy(&case).destination;
    let found = (destination.path.to_string(), destination.is_directory);
    assert_eq!(found, (path.to_owned(), is_directory), "{typed:?}");
}

#[test]
fn destinations_go_on_from_the_working_directory() {
    check_destination("x", "/w/x", false);
    check_destination("x/", "/w/x", true);
    check_destination("x/.", "/w/x", true);
    check_destination(".", "/w", true);
    check_destination("./", "/w", true);
    check_destination("", "/w", true);
    check_destination("..", "/", false);
    check_destination("/x/../y", "/y", false);
    check_destination("/", "/", true);
    check_destination("$NONE/x", "/x", false);
}

#[test]
fn sources_stay_in_their_root() {
    let case =
        case("FROM scratch\nARG A=dir\nCOPY [\"../x\", \"/$A/\", \"./$A/*.c\", \"a b\", \"/\"]");
    assert_eq!(paths(&last_copy(&case)), ["/x", "/dir", "/dir/*.c", "/a b"]);
}

#[test]
fn flags_expand_and_are_written_down() {
    let text = "FROM scratch\nARG U=1\nADD --chown=$U:$U --chmod=u=rwX,go=rX a b /x/";
    let copy = last_copy(&case(text));
    assert_eq!(copy.owner.as_deref(), Some("1:1"));
    assert_eq!(copy.mode.map(|mode| mode.to_string()).as_deref(), Some("u=rwX,go=rX"));
    assert_eq!((copy.from, copy.archives), (CopySource::Context, Archives::Unpacked));
    let history = case(text).history().pop().unwrap();
    assert_eq!(history, "ADD --chown=1:1 --chmod=u=rwX,go=rX a b /x/ # buildkit");
    let empty = case("FROM scratch\nCOPY --chown=$X --chmod=$X a b");
    assert_eq!((last_copy(&empty).owner, last_copy(&empty).mode), (None, None));
    assert_eq!(empty.history(), ["COPY a b # buildkit"]);
    assert_eq!(
        case("FROM scratch\nCOPY --chmod=99 a b").error(),
        "line 2: cannot read `--chmod`: `99` is no octal mode between 0 and 07777"
    );
}

#[test]
fn files_can_be_written_in_the_dockerfile() {
    let text = "FROM scratch\nENV A=1\nCOPY a <<E <<-'F' /x/\n$A '$A' \\$A\nE\n\t$A\nF";
    let copy = last_copy(&case(text));
    let files: Vec<(&str, &str)> = copy
        .inline
        .iter()
        .map(|file| (file.name.as_str(), std::str::from_utf8(&file.content).unwrap()))
        .collect();
    assert_eq!(files, [("E", "1 '1' $A\n"), ("F", "$A\n")]);
    assert_eq!(case(text).history().pop().unwrap(), "COPY a <<E <<F /x/ # buildkit");
    assert_eq!(
        case("FROM scratch\nCOPY <<\"../E\" /x\n../E").error(),
        "line 2: `../E` cannot be the name of a file"
    );
}

#[test]
fn stages_are_named_by_their_place_in_the_plan() {
    let text =
        "FROM scratch\nFROM scratch AS b\nFROM scratch\nCOPY --from=1 a /\nCOPY --from=b a /";
    let steps = case(text).steps();
    for step in &steps {
        let StepKind::Copy(copy) = &step.kind else { panic!("{step:?}") };
        assert_eq!(copy.from, CopySource::Stage(0));
    }
    let image = case("FROM scratch\nCOPY --from=debian a /").image(DEBIAN, "{}");
    assert_eq!(last_copy(&image).from, CopySource::Image(request(DEBIAN, "linux/amd64")));
}

#[test]
fn links_and_exclusions_are_part_of_a_copy() {
    let copy =
        last_copy(&case("FROM scratch\nARG B=b\nCOPY --link --exclude=*.$B --exclude=!x a /"));
    assert_eq!((copy.footing, copy.exclude), (Footing::Nothing, vec!["*.b".into(), "!x".into()]));
    let add = last_copy(&case("FROM scratch\nADD --link=false a /"));
    assert_eq!((add.footing, add.exclude), (Footing::Stage, vec![]));
}

#[test]
fn sources_with_parents_are_parted_at_their_first_pivot() {
    let check = |source: &str, directory: &str, pattern: &str| {
        let case = case(&format!("FROM scratch\nARG A=a\nCOPY --parents {source} /dst"));
        let parent = |text: &str| snapshot::RootfsPath::new(text).unwrap();
        let (directory, pattern) = (parent(directory), parent(pattern));
        assert_eq!(last_copy(&case).sources, [CopyItem::WithParents { directory, pattern }]);
        let history = case.history().pop().unwrap();
        assert_eq!(
            history,
            format!("COPY --parents {} /dst # buildkit", source.replace("$A", "a"))
        );
    };
    check("$A/b", "/", "a/b");
    check("./a/b/", "/", "a/b");
    check("../../a", "/", "a");
    check("a/./b/./c", "a", "b/c");
    check("/a/../b/./**/c", "b", "**/c");
    check("/./a", "/", "a");
    check("a/./../b", "a", "b");
    check(".", "/", "/");
    let off = last_copy(&case("FROM scratch\nCOPY --parents=false a/./b /"));
    assert_eq!(paths(&off), ["/a/b"]);
    let plan = render(&case("FROM scratch\nCOPY --parents a/./b* /").plan());
    assert!(plan.contains("-> copies /b* below /a from the context with its parents\n"), "{plan}");
}

#[test]
fn only_add_takes_what_is_elsewhere() {
    assert_eq!(case("FROM scratch\nCOPY --link=false --parents=false a /").steps().len(), 1);
    assert_eq!(
        case("FROM scratch\nARG U=https://x/y\nCOPY $U /").error(),
        "line 3: COPY cannot take `https://x/y`: only ADD downloads"
    );
}

#[test]
fn what_is_fetched_keeps_its_place_among_the_sources() {
    let text = "FROM scratch\nARG V=1\nADD a https://u:p@h.example/x-$V.tar?k=v b /dst/";
    let copy = last_copy(&case(text));
    assert_eq!(paths(&copy), ["/a", "/b"]);
    let Some(CopyItem::File(file)) = copy.sources.get(1) else { panic!("{copy:?}") };
    assert_eq!(file.url.as_str(), "https://u:p@h.example/x-1.tar?k=v");
    assert_eq!((file.name.as_bytes(), file.checksum), (b"x-1.tar".as_slice(), None));
    assert_eq!((copy.archives, file.archives), (Archives::Unpacked, Archives::Copied));
    // A password is nothing for those who have the image.
    let history = case(text).history().pop().unwrap();
    assert_eq!(history, "ADD a https://u@h.example/x-1.tar?k=v b /dst/ # buildkit");
    let plan = render(&case(text).plan());
    assert!(plan.contains("-> fetches https://h.example/x-1.tar?… as x-1.tar\n"), "{plan}");
}

#[test]
fn archives_are_unpacked_where_it_is_said_so_or_they_are_local() {
    use Archives::{Copied, Unpacked};
    for (flag, local, fetched) in [
        ("", Unpacked, Copied),
        ("--unpack ", Unpacked, Unpacked),
        ("--unpack=true ", Unpacked, Unpacked),
        ("--unpack=false ", Copied, Copied),
    ] {
        let copy = last_copy(&case(&format!("FROM scratch\nADD {flag}a http://h/b /")));
        assert_eq!((copy.archives, file(&copy).archives), (local, fetched), "{flag}");
    }
}

#[test]
fn checksums_are_for_one_thing_that_is_fetched() {
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let add = |rest: &str| case(&format!("FROM scratch\nARG E\nARG H={hex}\nADD {rest}"));
    let copy = last_copy(&add("--checksum=sha256:$H http://h/a /"));
    assert_eq!(file(&copy).checksum, Some(snapshot::Digest::of(b"abc")));
    let plan = render(&add("--checksum=sha256:$H --unpack http://h/a /").plan());
    let effect = format!("-> fetches http://h/a as a, which is sha256:{hex}, unpacked if it is an");
    assert!(plan.contains(&effect), "{plan}");
    // As with the other flags, an empty one is none.
    assert_eq!(file(&last_copy(&add("--checksum=$E http://h/a /"))).checksum, None);
    for rest in ["a /", "http://h/a http://h/b /", "http://h/a a /"] {
        assert_eq!(
            add(&format!("--checksum=sha256:$H {rest}")).error(),
            "line 4: `--checksum` is for an `ADD` of one URL or Git repository and nothing else"
        );
    }
    for text in ["sha256:0", "md5:00", "$H"] {
        let error = add(&format!("--checksum={text} http://h/a /")).error();
        let shown = text.replace("$H", hex);
        assert_eq!(
            error,
            format!("line 4: `--checksum={shown}` is not `sha256:` and 64 hexadecimal digits")
        );
    }
    assert_eq!(
        case("FROM scratch\nARG U=http://[\nADD $U /").error(),
        "line 3: cannot read the URL `$U`: invalid IPv6 address"
    );
}

#[test]
fn repositories_are_fetched_as_their_urls_and_flags_say() {
    let id = "0123456789abcdef0123456789abcdef01234567";
    let text = format!(
        "FROM scratch\nARG R=v1\nADD --keep-git-dir --checksum={id} https://h/a.git#$R:dir /dst"
    );
    let copy = last_copy(&case(&text));
    let repository = RemoteRepository {
        url: "https://h/a.git".parse().unwrap(),
        reference: Some("v1".to_owned()),
        directory: snapshot::RootfsPath::new("dir").unwrap(),
        checksum: Some(id.to_owned()),
        git_directory: GitDirectory::Kept,
        submodules: AddedSubmodules::Fetched,
    };
    assert_eq!(copy.sources, [CopyItem::Repository(repository)]);
    let plan = render(&case(&text).plan());
    let effect = format!("-> fetches /dir of https://h/a.git at v1, which is {id} with its .git\n");
    assert!(plan.contains(&effect), "{plan}");
    // There is none to keep.
    assert_eq!(paths(&last_copy(&case("FROM scratch\nADD --keep-git-dir a /"))), ["/a"]);
    for source in ["git@example.com:a/b", "git://example.com/a", "ssh://example.com/a"] {
        assert_eq!(
            case(&format!("FROM scratch\nADD {source} /")).error(),
            format!(
                "line 2: cannot read the Git repository `{source}`: only https and http are supported"
            )
        );
    }
}
