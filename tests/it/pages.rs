//! The pages for users name only flags that are there.

use std::collections::BTreeSet;

use crate::source::{self, SourceFile};

/// Flags of instructions in a Dockerfile, and the one that stands for any.
const OTHERS: [&str; 12] = [
    "--checksum",
    "--chmod",
    "--chown",
    "--exclude",
    "--keep-git-dir",
    "--mount",
    "--network",
    "--parents",
    "--security",
    "--start-interval",
    "--unpack",
    "--x",
];

/// Returns the words of a text that look like flags and begin right behind `before`.
fn flags<'a>(text: &'a str, before: &str) -> BTreeSet<&'a str> {
    let starts = text.match_indices(before).map(|(at, _)| &text[at + before.len()..]);
    starts
        .filter(|rest| rest.starts_with("--"))
        .map(|rest| {
            let is_part = |c: char| c.is_ascii_alphabetic() || c == '-';
            rest.find(|c| !is_part(c)).map_or(rest, |end| &rest[..end])
        })
        .filter(|flag| flag.len() > 2)
        .collect()
}

/// Returns the commands in a page's code blocks that call zuwai, each on one line.
fn commands(text: &str) -> String {
    let blocks = text.split("\n```").skip(1).step_by(2);
    let lines = blocks.map(|block| block.replace("\\\n", " ")).collect::<Vec<_>>().join("\n");
    let calls = ["zuwai build ", "zuwai plan ", "zuwai compare-modes "];
    let ours = lines.lines().filter_map(|line| {
        calls.iter().find_map(|call| line.split_once(call)).map(|(_, arguments)| arguments)
    });
    ours.collect::<Vec<_>>().join("\n ")
}

#[test]
fn pages_name_only_flags_that_are_there() {
    let pages = source::files(&[".md"]);
    let (generated, pages): (Vec<SourceFile>, Vec<SourceFile>) =
        pages.into_iter().partition(|page| page.path == "docs/flags.md");
    let [generated] = generated.as_slice() else { panic!("no docs/flags.md") };
    let mut known = flags(&generated.text, "#### `");
    assert!(known.contains("--destination") && known.contains("--scenario"), "{known:?}");
    known.extend(flags(&generated.text, "name: `"));
    known.extend(OTHERS);
    let mut commands_count = 0;
    for page in &pages {
        let commands = commands(&page.text);
        commands_count += usize::from(!commands.is_empty());
        let named = &flags(&page.text, "`") | &flags(&commands, " ");
        let unknown: Vec<&&str> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{} names {unknown:?}", page.path);
    }
    assert!(commands_count >= 3, "commands were found in {commands_count} pages");
}

#[test]
fn a_flag_that_is_not_there_is_found() {
    let page =
        "Give `--destinaton=X`.\n\n```\nsudo zuwai build \\\n  --contxt . -d x\nls --all\n```\n";
    assert_eq!(flags(page, "`"), BTreeSet::from(["--destinaton"]));
    assert_eq!(flags(&commands(page), " "), BTreeSet::from(["--contxt"]));
}
