use super::*;

/// Returns the last step of the target, which copies something.
fn last_copy(case: &Case) -> CopyStep {
    match case.steps().pop().unwrap().kind {
        StepKind::Copy(copy) => copy,
        other => panic!("{other:?}"),
    }
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
    let sources: Vec<String> = last_copy(&case).sources.iter().map(ToString::to_string).collect();
    assert_eq!(sources, ["/x", "/dir", "/dir/*.c", "/a b"]);
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
fn what_is_not_built_yet_is_an_error_that_names_it() {
    for (instruction, feature) in [
        ("COPY --parents a /", "COPY --parents"),
        ("ADD --checksum=sha256:0 a /", "ADD --checksum"),
        ("ADD --keep-git-dir a /", "ADD --keep-git-dir"),
        ("ADD --unpack=false a /", "ADD --unpack"),
        ("ADD https://example.com/a.tar /", "ADD of a URL"),
        ("ADD https://example.com/a.git#main /", "ADD of a Git repository"),
        ("ADD git@example.com:a/b /", "ADD of a Git repository"),
        ("ADD git://example.com/a /", "ADD of a Git repository"),
    ] {
        let error = case(&format!("FROM scratch\n{instruction}")).error();
        assert_eq!(error, format!("line 2: `{feature}` is not supported yet"));
    }
    assert_eq!(case("FROM scratch\nCOPY --link=false --parents=false a /").steps().len(), 1);
    assert_eq!(
        case("FROM scratch\nARG U=https://x/y\nCOPY $U /").error(),
        "line 3: COPY cannot take `https://x/y`: only ADD downloads"
    );
}
