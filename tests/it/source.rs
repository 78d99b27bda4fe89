//! Rust sources as tokens, for the checks of `layering` and `tidy`.
//!
//! Comments and literals are told from code, so that neither a doc link nor a message counts as an
//! import or a call.

use std::path::{Path, PathBuf};

/// A piece of code that matters to the checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// An identifier or keyword.
    Word(String),
    /// `::`.
    PathSeparator,
    /// Any other character that is not blank.
    Punctuation(char),
    /// A string literal, without quotes and with escapes as written.
    Text(String),
}

/// A token and the line it stands on, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub token: Token,
    pub line: usize,
}

/// One checked-in file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The path from the repository's root, with `/`.
    pub path: String,
    pub text: String,
}

impl SourceFile {
    /// Returns whether the whole file is test code.
    pub fn is_test(&self) -> bool {
        let in_tests = self.path.split('/').any(|part| part == "tests" || part == "benches");
        let name = self.path.rsplit('/').next().unwrap_or_default();
        in_tests || name == "tests.rs" || name.ends_with("_tests.rs")
    }

    /// Returns the text before an inline module of tests.
    pub fn without_tests(&self) -> &str {
        let marker = "\n#[cfg(test)]\nmod tests {\n";
        self.text.split_once(marker).map_or(self.text.as_str(), |(code, _)| code)
    }
}

/// Returns the repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every file below the root whose name ends with one of `endings`, sorted by path.
pub fn files(endings: &[&str]) -> Vec<SourceFile> {
    let mut files = Vec::new();
    let mut directories = vec![root().to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory that is there") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                // Build output and what is not checked in.
                if !name.starts_with('.') && name != "target" {
                    directories.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                files.push(read(path));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!files.is_empty(), "no file ends with {endings:?}");
    files
}

fn read(path: PathBuf) -> SourceFile {
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let path = path.strip_prefix(root()).expect("a path below the root");
    SourceFile { path: path.to_string_lossy().into_owned(), text }
}

/// Cuts Rust code into tokens.
pub fn tokens(text: &str) -> Vec<Located> {
    let mut lexer = Lexer { rest: text, line: 1, tokens: Vec::new() };
    while let Some(c) = lexer.rest.chars().next() {
        lexer.next(c);
    }
    lexer.tokens
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Located>,
}

impl Lexer<'_> {
    fn next(&mut self, c: char) {
        if c.is_whitespace() {
            self.skip(c.len_utf8());
        } else if self.rest.starts_with("//") {
            self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.skip(block_comment(self.rest));
        } else if let Some((before, body, after)) = string(self.rest) {
            self.push(Token::Text(self.rest[before..before + body].to_owned()));
            self.skip(before + body + after);
        } else if c == '\'' {
            self.skip(character(self.rest));
        } else if c.is_alphabetic() || c == '_' {
            let end = self
                .rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(self.rest.len());
            self.push(Token::Word(self.rest[..end].to_owned()));
            self.skip(end);
        } else if self.rest.starts_with("::") {
            self.push(Token::PathSeparator);
            self.skip(2);
        } else {
            self.push(Token::Punctuation(c));
            self.skip(c.len_utf8());
        }
    }

    fn push(&mut self, token: Token) {
        self.tokens.push(Located { token, line: self.line });
    }

    fn skip(&mut self, bytes: usize) {
        self.line += self.rest[..bytes].matches('\n').count();
        self.rest = &self.rest[bytes..];
    }
}

/// Returns the length of a block comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut position = 0;
    while position < text.len() {
        let rest = &text[position..];
        if rest.starts_with("/*") {
            depth += 1;
            position += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return position;
            }
        } else {
            position += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Returns the lengths of a string literal's opening, body and closing, if the text starts one.
fn string(text: &str) -> Option<(usize, usize, usize)> {
    if !text.starts_with(['"', 'b', 'c', 'r']) {
        return None;
    }
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '#']))
    })?;
    let rest = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let body = rest[hashes..].strip_prefix('"')?;
        let closing = format!("\"{}", "#".repeat(hashes));
        let length = body.find(&closing).unwrap_or(body.len());
        return Some((prefix.len() + hashes + 1, length, closing.len()));
    }
    let body = rest.strip_prefix('"')?;
    let mut escaped = false;
    for (position, c) in body.char_indices() {
        match c {
            '"' if !escaped => return Some((prefix.len() + 1, position, 1)),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

/// Returns the length of a character literal, or of the quote of a lifetime.
fn character(text: &str) -> usize {
    let body = &text[1..];
    let literal = match body.strip_prefix('\\') {
        Some(escape) => escape.char_indices().skip(1).find(|(_, c)| *c == '\'').map(|(p, _)| p + 1),
        None => body.chars().next().map(char::len_utf8).filter(|&p| body[p..].starts_with('\'')),
    };
    literal.map_or(1, |length| 1 + length + 1)
}

#[test]
fn code_is_told_from_comments_and_literals() {
    let text = concat!(
        "// crate::a\n/* crate::b /* x */ */ let s = \"crate::c \\\" d\"; // \"\n",
        "let r = br#\"crate::\"e\"#; let c = '\"'; let d = '\\''; fn f<'a>(x: &'a u8) {}\ncrate::g"
    );
    let words: Vec<(String, usize)> = tokens(text)
        .into_iter()
        .filter_map(|located| match located.token {
            Token::Word(word) => Some((word, located.line)),
            Token::Text(text) => Some((format!("\"{text}\""), located.line)),
            Token::PathSeparator | Token::Punctuation(_) => None,
        })
        .collect();
    let expected = [
        ("let", 2),
        ("s", 2),
        ("\"crate::c \\\" d\"", 2),
        ("let", 3),
        ("r", 3),
        ("\"crate::\"e\"", 3),
        ("let", 3),
        ("c", 3),
        ("let", 3),
        ("d", 3),
        ("fn", 3),
        ("f", 3),
        ("a", 3),
        ("x", 3),
        ("a", 3),
        ("u8", 3),
        ("crate", 4),
        ("g", 4),
    ];
    assert_eq!(words, expected.map(|(word, line)| (word.to_owned(), line)));
}
