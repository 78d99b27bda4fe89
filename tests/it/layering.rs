//! Who may import whom: the table of `docs/architecture.md`, held against every path in `src/`.
//!
//! Test code counts too. Paths are read from tokens, so that macros, groups and `super::` are seen.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{self, Located, SourceFile, Token};

/// Each module and what it stands on; what those stand on it may use too.
///
/// `report::event`, `report::fault`, `secret` and `interrupt` are below everything.
const TABLE: &[(&str, &[&str])] = &[
    ("report::event", &[]),
    ("report::fault", &[]),
    ("secret", &[]),
    ("interrupt", &[]),
    ("image", &[]),
    ("dockerfile", &[]),
    ("http", &[]),
    ("identity", &["http"]),
    ("archive", &[]),
    ("plan", &["image", "dockerfile"]),
    ("registry", &["image", "identity"]),
    ("context", &["identity", "archive"]),
    ("unpack", &["image", "archive"]),
    ("store", &[]),
    ("sandbox", &[]),
    ("cache", &["registry", "store", "archive"]),
    ("export", &["registry", "store"]),
    ("uploads", &["registry", "store"]),
    ("execute", &["plan", "context", "unpack", "sandbox"]),
    ("build", &["cache", "execute", "export", "uploads"]),
    ("warm", &["build"]),
    ("doctor", &["build"]),
    ("broker", &["build"]),
    ("compare", &["build"]),
    ("report", &[]),
    ("cli", &["build", "broker", "warm", "doctor", "compare", "report"]),
];

/// Modules that every module may use.
const FLOOR: [&str; 4] = ["report::event", "report::fault", "secret", "interrupt"];

/// What only one module may use of other crates, so that there is one way to do it.
///
/// reqwest's vocabulary (methods, headers, statuses) is common; making a client is not.
const OWNED_CRATES: &[(&str, &[&str])] = &[
    ("clap", &["cli"]),
    ("gix_protocol", &["context"]),
    ("hyper::server", &["broker"]),
    ("hickory_resolver", &["http"]),
    ("indicatif", &["report"]),
    ("object_store", &["context", "identity"]),
    ("reqwest::Client", &["http"]),
    ("reqwest::ClientBuilder", &["http"]),
    ("reqwest::blocking", &["http"]),
    ("reqwest::get", &["http"]),
    ("rustls::ClientConfig", &["http"]),
    ("tracing_subscriber", &["report"]),
];

/// Paths that modules without IO and clock must not use.
const IMPURE: [&str; 9] = [
    "std::fs",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "jiff::Timestamp::now",
    "rustix",
    "nix",
    "tokio",
];

/// Modules without IO and clock.
const PURE: [&str; 3] = ["image", "dockerfile", "plan"];

/// Returns everything that a module may use.
fn allowed(module: &str) -> BTreeSet<&'static str> {
    let mut allowed: BTreeSet<&str> = FLOOR.into();
    let below = |module: &str| -> &'static [&'static str] {
        TABLE.iter().find(|(name, _)| *name == module).map(|(_, below)| *below).unwrap_or_default()
    };
    let mut open: Vec<&'static str> = below(module).to_vec();
    while let Some(module) = open.pop() {
        if allowed.insert(module) {
            open.extend(below(module));
        }
    }
    allowed
}

/// Returns the module path of a file below `src/`.
fn module_path(file: &str) -> Vec<String> {
    let inner = file.strip_prefix("src/").and_then(|path| path.strip_suffix(".rs"));
    let mut parts: Vec<String> = inner.unwrap_or_default().split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib" || last == "main") {
        parts.pop();
    }
    parts
}

/// Returns the row of the table that a path inside this crate belongs to.
fn row(path: &[String]) -> Option<String> {
    match path {
        [first, second, ..] if first == "report" && (second == "event" || second == "fault") => {
            Some(format!("report::{second}"))
        }
        [first, ..] => Some(first.clone()),
        [] => None,
    }
}

/// A path as written, made absolute where it starts at `crate` or `super`.
#[derive(Debug, PartialEq, Eq)]
struct Path {
    /// `crate`, or the name of another crate or item.
    start: String,
    rest: Vec<String>,
    line: usize,
}

/// Returns every path of a file.
fn paths(file: &SourceFile) -> Vec<Path> {
    let tokens = source::tokens(&file.text);
    let mut reader = Reader { tokens: &tokens, position: 0, paths: Vec::new() };
    let mut modules = module_path(&file.path);
    // Inline modules, with the depth of braces they were opened at.
    let mut inline: Vec<usize> = Vec::new();
    let mut depth = 0_usize;
    while let Some(located) = tokens.get(reader.position) {
        match &located.token {
            Token::Word(word) if word == "mod" => {
                if let (Some(Token::Word(name)), Some(Token::Punctuation('{'))) =
                    (reader.peek(1), reader.peek(2))
                {
                    modules.push(name.clone());
                    inline.push(depth);
                }
                reader.position += 2;
            }
            Token::Punctuation('{') => {
                depth += 1;
                reader.position += 1;
            }
            Token::Punctuation('}') => {
                depth = depth.saturating_sub(1);
                if inline.last() == Some(&depth) {
                    inline.pop();
                    modules.pop();
                }
                reader.position += 1;
            }
            Token::Word(_) => reader.path(&modules),
            Token::PathSeparator | Token::Punctuation(_) | Token::Text(_) => reader.position += 1,
        }
    }
    reader.paths
}

struct Reader<'a> {
    tokens: &'a [Located],
    position: usize,
    paths: Vec<Path>,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.position + ahead).map(|located| &located.token)
    }

    /// Reads one path, groups included, and leaves it behind.
    fn path(&mut self, modules: &[String]) {
        let line = self.tokens[self.position].line;
        let Some(Token::Word(start)) = self.peek(0).cloned() else {
            self.position += 1;
            return;
        };
        self.position += 1;
        let mut prefix = match start.as_str() {
            "super" => modules[..modules.len().saturating_sub(1)].to_vec(),
            "self" => modules.to_vec(),
            _ => Vec::new(),
        };
        let inside = ["crate", "super", "self", "zuwai"].contains(&start.as_str());
        let start = if inside { "crate".to_owned() } else { start };
        while let (Some(Token::PathSeparator), Some(Token::Word(word))) =
            (self.peek(0), self.peek(1))
        {
            if word == "super" {
                prefix.pop();
            } else {
                prefix.push(word.clone());
            }
            self.position += 2;
        }
        let group = (self.peek(0), self.peek(1))
            == (Some(&Token::PathSeparator), Some(&Token::Punctuation('{')));
        if group {
            self.position += 2;
            self.group(&start, &prefix, line);
        } else {
            self.paths.push(Path { start, rest: prefix, line });
        }
    }

    /// Reads the items of a `{…}` after `prefix::`.
    fn group(&mut self, start: &str, prefix: &[String], line: usize) {
        let mut item = prefix.to_vec();
        while let Some(token) = self.peek(0).cloned() {
            let line = self.tokens.get(self.position).map_or(line, |located| located.line);
            self.position += 1;
            match token {
                Token::Word(word) if word == "as" => self.position += 1,
                Token::Word(word) => item.push(word),
                Token::Punctuation('{') => {
                    self.group(start, &item.clone(), line);
                    item = Vec::new();
                }
                Token::Punctuation(end @ (',' | '}')) => {
                    if item.len() > prefix.len() {
                        let rest = std::mem::replace(&mut item, prefix.to_vec());
                        self.paths.push(Path { start: start.to_owned(), rest, line });
                    }
                    item = prefix.to_vec();
                    if end == '}' {
                        return;
                    }
                }
                Token::PathSeparator | Token::Punctuation(_) | Token::Text(_) => {}
            }
        }
    }
}

/// Returns what is wrong with the imports of a file.
fn violations(file: &SourceFile) -> Vec<String> {
    let own_path = module_path(&file.path);
    let Some(own) = row(&own_path) else {
        return Vec::new();
    };
    let at = |path: &Path, what: String| format!("{}:{}: {what}", file.path, path.line);
    let mut violations = Vec::new();
    if !TABLE.iter().any(|(name, _)| *name == own) {
        return vec![format!("{}: the module `{own}` has no row in the table", file.path)];
    }
    let allowed = allowed(&own);
    let top = own_path.first().map(String::as_str).unwrap_or_default();
    for path in paths(file) {
        let whole = std::iter::once(&path.start).chain(&path.rest).cloned().collect::<Vec<_>>();
        let text = whole.join("::");
        if path.start == "crate" {
            let Some(target) = row(&path.rest) else { continue };
            let known = TABLE.iter().any(|(name, _)| *name == target);
            if known && target != own && !allowed.contains(target.as_str()) {
                violations.push(at(&path, format!("`{own}` must not use `{target}` ({text})")));
            }
            continue;
        }
        let begins = |prefix: &str| text == prefix || text.starts_with(&format!("{prefix}::"));
        for (name, owners) in OWNED_CRATES {
            if begins(name) && !owners.contains(&top) && !file.is_test() {
                violations.push(at(&path, format!("only {owners:?} may use `{name}`")));
            }
        }
        let impure = IMPURE.iter().find(|name| begins(name));
        if let Some(name) = impure.filter(|_| PURE.contains(&top) && !file.is_test()) {
            violations.push(at(&path, format!("`{top}` does no IO and reads no clock: `{name}`")));
        }
    }
    violations
}

fn sources() -> Vec<SourceFile> {
    source::files(&[".rs"]).into_iter().filter(|file| file.path.starts_with("src/")).collect()
}

#[test]
fn modules_import_only_what_is_below_them() {
    let violations: Vec<String> = sources()
        .iter()
        .filter(|file| !["src/main.rs", "src/lib.rs"].contains(&file.path.as_str()))
        .flat_map(violations)
        .collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn the_table_has_no_cycle_and_names_only_its_own_rows() {
    for (index, (module, below)) in TABLE.iter().enumerate() {
        for name in *below {
            let earlier = TABLE[..index].iter().any(|(earlier, _)| earlier == name);
            assert!(earlier, "`{module}` stands on `{name}`, which is not above it in the table");
        }
    }
}

#[test]
fn the_table_in_the_docs_is_the_one_that_is_held() {
    let page = std::fs::read_to_string(source::root().join("docs/architecture.md")).expect("docs");
    let rows: BTreeMap<&str, Vec<&str>> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "))
        .filter(|(module, _)| TABLE.iter().any(|(name, _)| name == module))
        .map(|(module, below)| (module, below.split('`').skip(1).step_by(2).collect()))
        .collect();
    let held: BTreeMap<&str, Vec<&str>> =
        TABLE.iter().map(|(module, below)| (*module, below.to_vec())).collect();
    assert_eq!(rows, held);
}

fn planted(path: &str, text: &str) -> Vec<String> {
    violations(&SourceFile { path: path.to_owned(), text: text.to_owned() })
}

#[test]
fn planted_violations_are_found() {
    let found = |path: &str, text: &str| !planted(path, text).is_empty();
    // Up, sideways, and around a named exception.
    assert!(found("src/image/mod.rs", "use crate::registry::Registry;"));
    assert!(found("src/registry/pull.rs", "use crate::plan::Plan;"));
    assert!(found("src/execute/run.rs", "fn f() { crate::registry::pull(); }"));
    assert!(found("src/build/mod.rs", "use crate::cli::Error;"));
    assert!(found("src/http/mod.rs", "use crate::report::Terminal;"));
    // Through groups, renames, `super`, macros, inline modules.
    assert!(found("src/plan/a.rs", "use crate::{image, store::{self, Store}};"));
    assert!(found("src/plan/a.rs", "use crate::{\n    image::Platform,\n    build,\n};"));
    assert!(found("src/plan/a.rs", "use crate::store as image;"));
    assert!(found("src/plan/a/b.rs", "use super::super::super::store::Store;"));
    assert!(found("src/plan/mod.rs", "use super::store::Store;"));
    assert!(found("src/plan/a.rs", "fn f() { println!(\"{}\", crate::store::NAME); }"));
    assert!(found("src/plan/a.rs", "mod tests { use super::super::super::store::X; }"));
    // Crates with an owner, and pure modules.
    assert!(found("src/registry/mod.rs", "use reqwest::Client;"));
    assert!(found("src/plan/a.rs", "fn f() { std::fs::read(\"x\"); }"));
    assert!(found("src/image/a.rs", "use std::{fmt, time::{Duration, SystemTime}};"));
    // A module without a row.
    assert!(found("src/helpers/mod.rs", ""));
}

#[test]
fn what_is_allowed_is_let_through() {
    let found = |path: &str, text: &str| planted(path, text);
    let none = Vec::<String>::new();
    assert_eq!(found("src/image/mod.rs", "use crate::report::fault::Fault;"), none);
    assert_eq!(
        found("src/execute/run.rs", "use crate::{archive, dockerfile::ast, sandbox};"),
        none
    );
    assert_eq!(found("src/plan/a/b.rs", "use super::super::graph::Node;"), none);
    assert_eq!(found("src/plan/a.rs", "mod tests { use super::super::graph::X; }"), none);
    assert_eq!(
        found("src/plan/a.rs", "//! [`crate::store`]\nconst A: &str = \"crate::cli\";"),
        none
    );
    assert_eq!(found("src/image/a.rs", "use std::{fmt, time::Duration};"), none);
    assert_eq!(
        found("src/report/line.rs", "use super::event::Event; use super::settings::X;"),
        none
    );
}
