//! COPY with `--parents`: which directories are made, and what they are like.

use zuwai::plan::CopyItem;

use super::*;

/// A `COPY --parents` in the Dockerfile's words.
fn parents(words: &str) -> CopyStep {
    let (sources, _) = words.rsplit_once(' ').expect("a destination");
    let sources = sources.split(' ').map(|source| {
        let (directory, pattern) = source.split_once("/./").unwrap_or(("/", source));
        CopyItem::WithParents { directory: path(directory), pattern: path(pattern) }
    });
    CopyStep { sources: sources.collect(), ..step(words) }
}

const SOURCE: &str =
    "f a/b/c.txt=1\nf a/b/d.md=2\nf a/e.txt=3\nf x/b/c.txt=4\nd empty/in\nl a/link>b";

fn check_parents(words: &str, expected: &str) {
    check_step(SOURCE, "", &parents(words), expected);
}

#[test]
fn parents_are_made_from_the_root_or_from_the_pivot() {
    if !may_run("parents_are_made_from_the_root_or_from_the_pivot") {
        return;
    }
    check_parents("a/b/c.txt /p", "d p\nd p/a\nd p/a/b\nf p/a/b/c.txt=1");
    check_parents("a/b/c.txt a/e.txt /", "d a\nd a/b\nf a/b/c.txt=1\nf a/e.txt=3");
    check_parents("a/./b/c.txt /p/", "d p\nd p/b\nf p/b/c.txt=1");
    check_parents("a/b/./c.txt /p/", "d p\nf p/c.txt=1");
    check_parents("/a/../x/./b/c.txt /p/", "d p\nd p/b\nf p/b/c.txt=4");
    check_parents("*/./b/c.txt /p/", "d p\nd p/b\nf p/b/c.txt=4");
    // A directory comes with what is in it.
    check_parents("a/b /p", "d p\nd p/a\nd p/a/b\nf p/a/b/c.txt=1\nf p/a/b/d.md=2");
    check_parents("empty/ /p", "d p\nd p/empty\nd p/empty/in");
    // A link is a link, and leads nowhere.
    check_parents("a/link /p", "d p\nd p/a\nl p/a/link>b");
    check_parents("a/link/c.txt /p", "error: there is no `/a/link/c.txt` in the build context");
    // As in BuildKit, the top is not one of its own parents.
    check_parents(". /p/", "d p");
}

#[test]
fn wildcards_leave_out_directories_without_a_match() {
    if !may_run("wildcards_leave_out_directories_without_a_match") {
        return;
    }
    check_parents("**/*.md /p", "d p\nd p/a\nd p/a/b\nf p/a/b/d.md=2");
    check_parents("*/*.txt /p", "d p\nd p/a\nf p/a/e.txt=3");
    check_parents("a/**/c.txt /p", "d p\nd p/a\nd p/a/b\nf p/a/b/c.txt=1");
    check_parents(
        "./*/b/c.??? /p",
        "d p\nd p/a\nd p/a/b\nf p/a/b/c.txt=1\nd p/x\nd p/x/b\nf p/x/b/c.txt=4",
    );
    check_parents("**/none /p", "d p");
    check_parents("none/c.txt /p", "error: there is no `/none/c.txt` in the build context");
    check_parents("none/./c.txt /p", "error: there is no `/none` in the build context");
    check_parents("n*/./c.txt /p", "");
    check_parents("a/[ /p", "error: cannot read a source");
    let step = CopyStep { exclude: vec!["**/c.txt".to_owned()], ..parents("a/./b x /p") };
    check_step(SOURCE, "", &step, "d p\nd p/b\nf p/b/d.md=2\nd p/x\nd p/x/b");
    let step = CopyStep { exclude: vec!["b".to_owned()], ..parents("a/./b /p") };
    check_step(SOURCE, "", &step, "d p");
}

#[test]
fn parents_look_like_their_sources() {
    if !may_run("parents_look_like_their_sources") {
        return;
    }
    let source = "d a @750:5:6\nd a/b @711:7:8\nf a/b/c=1 @640:9:9";
    let check = |target: &str, step: &CopyStep, expected: &[&str]| {
        let (source, target) = (tree(source), tree(target));
        let age = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        for path in ["a/b", "a"] {
            fs::File::open(source.path().join(path)).unwrap().set_times(age).unwrap();
        }
        let copied = copy_context(step, &source, &target).unwrap();
        assert_eq!(list_metadata(target.path()), expected, "{step:?}");
        for path in ["a/b", "a"] {
            assert_eq!(target.path().join(path).metadata().unwrap().mtime(), 0, "{path}");
        }
        touched(&copied)
    };
    let step = parents("a/b/c /");
    let made = check("", &step, &["d a @750:0:0", "d a/b @711:0:0", "f a/b/c=1 @640:0:0"]);
    assert_eq!(made, ["/a", "/a/b", "/a/b/c"]);
    // What is there keeps its owner.
    let there = "d a @777:1:2\nf a/other=2 @600:1:2";
    let expected = ["d a @750:1:2", "d a/b @711:0:0", "f a/b/c=1 @640:0:0", "f a/other=2 @600:1:2"];
    check(there, &step, &expected);
    let step = CopyStep { owner: Some("3:4".to_owned()), mode: mode("u=rwX,go="), ..step };
    check("", &step, &["d a @700:3:4", "d a/b @700:3:4", "f a/b/c=1 @600:3:4"]);
    for (there, found) in [("l a>/tmp", "symbolic link"), ("f a=1", "regular file")] {
        let expected =
            format!("error: cannot copy a directory to `/a`, which is a {found} in the image");
        check_step(source, there, &parents("a/b/c /"), &expected);
    }
}

#[test]
fn parents_of_another_stage_keep_their_owners_and_hard_links() {
    if !may_run("parents_of_another_stage_keep_their_owners_and_hard_links") {
        return;
    }
    let source = tree("d a @750:5:6\nf a/b=1 @640:9:9\nh a/c<a/b");
    let target = tree("");
    copy(&parents("a/* /"), &Source::root(&rootfs(&source)), &rootfs(&target)).unwrap();
    assert_eq!(
        list_metadata(target.path()),
        ["d a @750:5:6", "f a/b=1 @640:9:9", "h a/c<a/b @640:9:9"]
    );
}
