//! House rules that no lint holds: sizes, names, docs, and who may do what.

use crate::source::{self, SourceFile, Token};

/// Returns all Rust files of the repository.
fn rust() -> Vec<SourceFile> {
    source::files(&[".rs"])
}

/// Fails with one line for each finding of a rule in the given files.
fn check(files: &[SourceFile], rule: impl Fn(&SourceFile) -> Vec<String>) {
    let findings: Vec<String> = files
        .iter()
        .flat_map(|file| rule(file).into_iter().map(|what| format!("{}: {what}", file.path)))
        .collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// Returns the words of a file's code, each with what follows it, and its line.
fn words(text: &str) -> Vec<(String, Option<Token>, usize)> {
    let tokens = source::tokens(text);
    let next = |index: usize| tokens.get(index + 1).map(|located| located.token.clone());
    tokens
        .iter()
        .enumerate()
        .filter_map(|(index, located)| match &located.token {
            Token::Word(word) => Some((word.clone(), next(index), located.line)),
            Token::PathSeparator | Token::Punctuation(_) | Token::Text(_) => None,
        })
        .collect()
}

/// Returns the paths of a file's code, such as `std::env::var`, with their lines.
fn paths(text: &str) -> Vec<(String, usize)> {
    let mut paths: Vec<(String, usize)> = Vec::new();
    let mut open = false;
    for (word, next, line) in words(text) {
        match paths.last_mut() {
            Some((path, _)) if open => {
                path.push_str("::");
                path.push_str(&word);
            }
            _ => paths.push((word, line)),
        }
        open = next == Some(Token::PathSeparator);
    }
    paths
}

/// Longest file, tests not counted.
const LONGEST: usize = 400;

#[test]
fn files_stay_small() {
    let code: Vec<SourceFile> = rust().into_iter().filter(|file| !file.is_test()).collect();
    check(&code, too_long);
}

fn too_long(file: &SourceFile) -> Vec<String> {
    let count = file.without_tests().lines().count();
    let finding = format!("{count} lines, more than {LONGEST}; split it by noun");
    (count > LONGEST).then_some(finding).into_iter().collect()
}

#[test]
fn no_file_is_named_for_nothing() {
    let vague = ["utils", "util", "helpers", "helper", "common", "misc"];
    check(&rust(), |file| {
        file.path
            .trim_end_matches(".rs")
            .split('/')
            .filter(|part| vague.contains(part) && !file.path.contains("/credentials/"))
            .map(|part| format!("`{part}` says nothing about what is inside"))
            .collect()
    });
}

#[test]
fn every_module_says_what_it_is() {
    let modules: Vec<SourceFile> = rust()
        .into_iter()
        .filter(|file| !file.is_test() || file.path.ends_with("main.rs"))
        .collect();
    check(&modules, |file| match file.text.starts_with("//! ") {
        true => vec![],
        false => vec!["does not open with `//!`".to_owned()],
    });
}

#[test]
fn open_ends_have_an_issue() {
    // Put together so that this file passes.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let files = source::files(&[".rs", ".md", ".sh", ".toml"]);
    check(&files, |file| {
        let open = |line: &str| {
            marks.iter().any(|mark| {
                line.match_indices(mark).any(|(at, _)| {
                    let rest = &line[at + mark.len()..];
                    !rest.strip_prefix("(#").is_some_and(|rest| rest.starts_with(char::is_numeric))
                })
            })
        };
        let lines = file.text.lines().enumerate();
        // The conventions name the form.
        lines
            .filter(|(_, line)| open(line) && file.path != "docs/conventions.md")
            .map(|(index, _)| format!("line {}: an open end without an issue", index + 1))
            .collect()
    });
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    // Put together so that this file passes.
    let machine = [
        concat!("/wo", "rk/main"),
        concat!("/wo", "rk/shared"),
        concat!("/tmp/", "zuwai/"),
        concat!("/ro", "ot/.cargo"),
        concat!("farm", "-bench"),
    ];
    let files = source::files(&[".rs", ".md", ".sh", ".toml", ".yaml", ".yml", ".txt", "run"]);
    check(&files, |file| {
        machine
            .iter()
            .filter(|name| file.text.contains(**name))
            .map(|name| format!("names `{name}`"))
            .collect()
    });
}

#[test]
fn every_package_has_the_licence() {
    let text = |path: &str| std::fs::read_to_string(source::root().join(path)).expect(path);
    assert!(text("LICENSE").contains("Apache License\n                           Version 2.0"));
    assert!(text("Cargo.toml").contains("license = \"Apache-2.0\""));
    check(&source::files(&["Cargo.toml"]), |file| {
        match file.text.contains("license.workspace = true") {
            true => vec![],
            false => vec!["does not take the workspace's licence".to_owned()],
        }
    });
}

/// Who may do what in shipped code: the path or macro, where it may stand, and why.
const RESERVED: &[(&str, &[&str], &str)] = &[
    ("println", &[], "only `report` writes to the terminal, through its writers"),
    ("eprintln", &[], "only `report` writes to the terminal, through its writers"),
    ("print", &[], "only `report` writes to the terminal, through its writers"),
    ("eprint", &[], "only `report` writes to the terminal, through its writers"),
    ("dbg", &[], "left over from a trial"),
    ("todo", &[], "no stubs"),
    ("unimplemented", &[], "no stubs"),
    ("std::io::stdout", &["src/report/"], "only `report` writes to the terminal"),
    // `cli::env` asks whether it is a terminal.
    ("std::io::stderr", &["src/report/", "src/cli/env.rs"], "only `report` writes to the terminal"),
    ("std::env::var", &["src/cli/env.rs"], "only `cli::env` reads the environment"),
    ("std::env::var_os", &["src/cli/env.rs"], "only `cli::env` reads the environment"),
    ("std::env::vars", &["src/cli/env.rs"], "only `cli::env` reads the environment"),
    ("std::env::vars_os", &["src/cli/env.rs"], "only `cli::env` reads the environment"),
    ("std::env::current_dir", &["src/cli/env.rs"], "only `cli::env` asks the machine"),
    ("std::env::current_exe", &["src/cli/env.rs"], "only `cli::env` asks the machine"),
    ("std::env::temp_dir", &[], "files are made in the work directory"),
    ("std::env::args_os", &["src/main.rs"], "only `main` sees the arguments"),
    ("std::env::args", &[], "arguments may not be text"),
    ("std::process::exit", &["src/main.rs"], "only `main` ends the process"),
    ("unsafe", &["snapshot/src/sys/", "snapshot/src/sys.rs", "src/sandbox/supervisor/"], "fenced"),
];

/// Returns uses of what a file must not use.
fn reserved(file: &SourceFile) -> Vec<String> {
    let code = file.without_tests();
    let macros = ["println", "eprintln", "print", "eprint", "dbg", "todo", "unimplemented"];
    let single = words(code)
        .into_iter()
        .filter(|(word, next, _)| {
            !macros.contains(&word.as_str()) || *next == Some(Token::Punctuation('!'))
        })
        .map(|(word, _, line)| (word, line));
    let uses: Vec<(String, usize)> =
        single.chain(paths(code).into_iter().filter(|(path, _)| path.contains("::"))).collect();
    let mut findings = Vec::new();
    for (what, places, why) in RESERVED {
        let allowed = places.iter().any(|place| file.path.starts_with(place));
        for (_, line) in uses.iter().filter(|(name, _)| name == what && !allowed) {
            findings.push(format!("line {line}: `{what}`: {why}"));
        }
    }
    findings.extend(changing_statics(code));
    findings
}

/// Returns statics that are or hold something that changes.
fn changing_statics(code: &str) -> Vec<String> {
    let changing = ["mut", "Mutex", "RwLock", "RefCell", "Cell", "OnceLock", "OnceCell"];
    let tokens = source::tokens(code);
    let mut findings = Vec::new();
    for (index, located) in tokens.iter().enumerate() {
        if located.token != Token::Word("static".to_owned()) {
            continue;
        }
        // Up to the `=` stand the name and the type; a lifetime ends sooner and holds neither.
        let item = tokens[index..].iter().take_while(|t| t.token != Token::Punctuation('='));
        let named = matches!(tokens.get(index + 1).map(|t| &t.token), Some(Token::Word(name))
            if name == "mut" || name.chars().all(|c| c.is_uppercase() || c == '_'));
        let changes = item.take(40).any(|t| match &t.token {
            Token::Word(word) => changing.contains(&word.as_str()) || word.starts_with("Atomic"),
            Token::PathSeparator | Token::Punctuation(_) | Token::Text(_) => false,
        });
        if named && changes {
            findings.push(format!("line {}: `static`: no global state", located.line));
        }
    }
    findings
}

#[test]
fn what_one_place_does_no_other_place_does() {
    let shipped: Vec<SourceFile> = rust()
        .into_iter()
        .filter(|file| !file.is_test())
        .filter(|file| file.path.starts_with("src/") || file.path.starts_with("snapshot/src/"))
        .collect();
    check(&shipped, reserved);
}

/// Returns uses of paths as text in the modules that touch a root file system.
///
/// `File` as a type is how `Rootfs` hands out content; it is opening by path that leads out.
fn raw_paths(file: &SourceFile) -> Vec<String> {
    let touches = ["src/archive/", "src/execute/", "src/unpack/"];
    if !touches.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    let is_raw = |path: &str| {
        (path.starts_with("std::fs") && path != "std::fs::File")
            || ["File::open", "File::create", "File::create_new", "OpenOptions::new"]
                .contains(&path)
            || path.starts_with("fs::")
    };
    let uses = paths(file.without_tests()).into_iter().filter(|(path, _)| is_raw(path));
    uses.map(|(path, line)| format!("line {line}: `{path}`: a `Rootfs` belongs here")).collect()
}

#[test]
fn root_file_systems_are_touched_through_rootfs() {
    let shipped: Vec<SourceFile> = rust().into_iter().filter(|file| !file.is_test()).collect();
    check(&shipped, raw_paths);
}

#[test]
fn kanikos_paths_are_known_to_the_command_line_alone() {
    let shipped: Vec<SourceFile> = rust()
        .into_iter()
        .filter(|file| file.path.starts_with("src/") && !file.path.starts_with("src/cli/"))
        .filter(|file| !file.is_test())
        .collect();
    check(&shipped, |file| {
        source::tokens(file.without_tests())
            .into_iter()
            .filter_map(|located| match located.token {
                Token::Text(text) if text.starts_with("/kaniko") => {
                    Some(format!("line {}: a path constant of kaniko's", located.line))
                }
                _ => None,
            })
            .collect()
    });
}

#[test]
fn lints_are_silenced_with_a_reason() {
    check(&rust(), |file| {
        words(&file.text)
            .windows(2)
            .filter(|pair| pair[0].0 == "allow" && pair[0].1 == Some(Token::Punctuation('(')))
            .filter(|pair| ["clippy", "dead_code", "unused", "missing_docs"].contains(&&*pair[1].0))
            .map(|pair| format!("line {}: `allow`; use `expect` with a reason", pair[0].2))
            .collect()
    });
}

#[test]
fn tests_are_neither_skipped_nor_timed() {
    let tests: Vec<SourceFile> = rust().into_iter().filter(SourceFile::is_test).collect();
    check(&tests, |file| {
        let ignored = words(&file.text)
            .into_iter()
            .filter(|(word, next, _)| word == "ignore" && *next == Some(Token::Punctuation(']')))
            .map(|(_, _, line)| format!("line {line}: a test that is ignored"));
        let sleeping = paths(&file.text)
            .into_iter()
            .filter(|(path, _)| path.ends_with("thread::sleep") || path.ends_with("time::sleep"))
            .map(|(path, line)| format!("line {line}: `{path}`; wait for what is expected"));
        ignored.chain(sleeping).collect()
    });
}

/// Runs the program for a generated page.
fn generated(page: &str) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_zuwai"))
        .args(["__docs", page])
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn generated_docs_are_current() {
    let text = |path: &str| std::fs::read_to_string(source::root().join(path)).expect(path);
    let flags = text("docs/flags.md");
    assert_eq!(generated("flags"), flags, "run hack/docs.sh");
    let page = text("docs/compatibility.md");
    let tables = page
        .split_once("<!-- generated by hack/docs.sh -->\n")
        .and_then(|(_, rest)| rest.split_once("<!-- end of the generated part -->"))
        .map(|(tables, _)| tables);
    assert_eq!(tables, Some(generated("compatibility").as_str()), "run hack/docs.sh");
}

#[test]
fn the_architecture_stays_readable() {
    let page = std::fs::read_to_string(source::root().join("docs/architecture.md")).expect("docs");
    assert!(page.lines().count() < 250, "docs/architecture.md has {} lines", page.lines().count());
}

#[test]
fn links_between_pages_lead_somewhere() {
    check(&source::files(&[".md"]), |file| {
        let folder = source::root().join(&file.path);
        let folder = folder.parent().expect("a file has a folder");
        let targets = file.text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        targets
            .map(|(target, _)| target.split('#').next().unwrap_or_default())
            .filter(|target| !target.is_empty() && !target.contains("://"))
            .filter(|target| !folder.join(target).exists())
            .map(|target| format!("a link to `{target}`, which is not there"))
            .collect()
    });
}

#[test]
fn the_changelog_has_a_place_for_the_next_release() {
    let page = std::fs::read_to_string(source::root().join("CHANGELOG.md")).expect("a changelog");
    assert!(page.contains("\n## [Unreleased]\n"));
}

#[test]
fn planted_violations_are_found() {
    let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
    let found = |path: &str, text: &str| reserved(&file(path, text)).len();
    assert_eq!(found("src/plan/a.rs", "fn f() { println!(\"x\"); }"), 1);
    assert_eq!(found("src/plan/a.rs", "fn f() { self.print(\"x\"); } // println!()"), 0);
    assert_eq!(found("src/plan/a.rs", "fn f() { std::env::var(\"x\"); }"), 1);
    assert_eq!(found("src/cli/env.rs", "fn f() { std::env::vars_os(); }"), 0);
    assert_eq!(found("src/plan/a.rs", "fn f() { unsafe { g() } }"), 1);
    assert_eq!(found("src/sandbox/supervisor/a.rs", "fn f() { unsafe { g() } }"), 0);
    assert_eq!(found("src/plan/a.rs", "static A: u8 = 1;\nstatic mut B: u8 = 1;"), 1);
    assert_eq!(found("src/plan/a.rs", "static A: std::sync::LazyLock<u8> = x();"), 0);
    assert_eq!(found("src/plan/a.rs", "static A: std::sync::Mutex<u8> = x();"), 1);
    assert_eq!(found("src/plan/a.rs", "const A: &'static str = \"unsafe println!\";"), 0);
    assert_eq!(found("src/plan/a.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n unsafe {} }"), 0);
    assert_eq!(too_long(&file("src/a.rs", &"x\n".repeat(401))).len(), 1);
    assert_eq!(too_long(&file("src/a.rs", &"x\n".repeat(400))).len(), 0);
    let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}", "x\n".repeat(400), "y\n".repeat(99));
    assert_eq!(too_long(&file("src/a.rs", &tested)).len(), 0);
}
