use super::*;

fn check_parse(text: &str, expected: &[&str]) {
    let expected: Vec<Vec<u8>> = expected.iter().map(|line| line.as_bytes().to_vec()).collect();
    assert_eq!(parse(text.as_bytes()), Ok(expected), "text {text:?}");
}

#[test]
fn text_becomes_patterns() {
    check_parse("", &[]);
    check_parse("\u{FEFF}a\r\nb\r\n", &["a", "b"]);
    check_parse("# c\n #no\n\n  \na#b", &["#no", "a#b"]);
    check_parse(" /a/ \n//b//c\n./d/../e\n/\n.", &["a", "b/c", "e", "/", "."]);
    check_parse("!a\n ! /b\n!\n! \n!!c", &["!a", "!b", "!", "!", "!!c"]);
    check_parse("../a\n/../b", &["../a", "b"]);
}

#[test]
fn a_line_longer_than_docker_reads_is_named() {
    let longest = "x".repeat(MAX_LINE_BYTES);
    check_parse(&longest, &[&longest]);
    assert_eq!(
        parse(format!("a\n{longest}x\n").as_bytes()),
        Err(IgnoreError::LineTooLong { line: 2 })
    );
}

#[test]
fn a_malformed_pattern_is_an_error() {
    assert_eq!(
        IgnoreRules::read(b"a\n[").map(|_| ()).map_err(|error| error.to_string()),
        Err("syntax error in pattern `[`".to_owned())
    );
    assert_eq!(
        IgnoreRules::read(b"!").map(|_| ()).map_err(|error| error.to_string()),
        Err("pattern `!` names nothing to except".to_owned())
    );
}

/// Asks for a tree of files, given in pre-order; directories are those that the names show.
fn check_kept(ignore: &str, files: &[&str], expected: &[&str]) {
    let mut tree: Vec<(String, bool)> = Vec::new();
    for file in files {
        for (slash, _) in file.match_indices('/') {
            let directory = (file[..slash].to_owned(), true);
            if !tree.contains(&directory) {
                tree.push(directory);
            }
        }
        tree.push(((*file).to_owned(), false));
    }
    let rules = IgnoreRules::read(ignore.as_bytes()).unwrap();
    let kept: Vec<String> = rules
        .kept(tree)
        .unwrap()
        .into_iter()
        .map(|path| String::from_utf8(path).unwrap())
        .collect();
    assert_eq!(kept, expected, "ignore file {ignore:?}");
}

#[test]
fn an_ignored_directory_goes_with_all_below() {
    check_kept("d\n*.o", &["a.c", "a.o", "d/e/f", "d/g"], &["a.c"]);
    check_kept("", &["a", "d/b"], &["a", "d", "d/b"]);
}

#[test]
fn an_exception_brings_the_directories_above_it_back() {
    check_kept(
        "*\n!d/e/keep",
        &["a", "d/a", "d/e/drop", "d/e/keep", "d/z", "e/keep"],
        &["d", "d/e", "d/e/keep"],
    );
    check_kept(
        "d\n!**/keep",
        &["d/a", "d/b/keep", "d/c/keep"],
        &["d", "d/b", "d/b/keep", "d/c", "d/c/keep"],
    );
}

#[test]
fn an_exception_for_a_kept_directory_keeps_nothing_in_it() {
    check_kept("d/*\n!d", &["d/a", "d/b"], &["d"]);
}

#[test]
fn an_exception_is_looked_for_only_where_its_literal_part_can_be() {
    check_kept("a\n!a/*/**", &["a/x/y"], &[]);
    check_kept("a\n!a/x/**", &["a/x/y", "a/z/y"], &["a", "a/x", "a/x/y"]);
    check_kept("a\n!b", &["a/b"], &[]);
}

#[test]
fn a_name_that_only_starts_like_a_directory_is_not_below_it() {
    check_kept("d\n!d/x", &["d/x", "d.c", "dd/x"], &["d", "d/x", "d.c", "dd", "dd/x"]);
}
