//! Regular expressions in Go's syntax, as far as ignore patterns can make them, for the `regex`
//! crate.
//!
//! An ignore pattern becomes the text of a regular expression, and what Go's engine (RE2) makes of
//! that text is what Docker does. The two syntaxes differ where it shows: in RE2 a `[` inside a
//! class is a plain character, `&&` and `--` are no set operations, `\d` and `\b` know ASCII only,
//! `\Q…\E` quotes, and unknown escapes are errors that differ from ours. So the text is read here
//! by Go's rules and written anew with everything escaped.
//!
//! Source: Go's `regexp/syntax` with the flags of `regexp.Compile` (Perl).

/// Memory that one compiled pattern may take; far above what a sensible pattern needs.
const COMPILED_LIMIT_BYTES: usize = 64 << 20;

/// Compiles `source`, which is in Go's syntax. `None` where Go refuses it.
pub fn compile(source: &str) -> Option<regex::bytes::Regex> {
    regex::bytes::RegexBuilder::new(&translate(source)?)
        .size_limit(COMPILED_LIMIT_BYTES)
        .build()
        .ok()
}

/// Rewrites `source` from Go's syntax to that of the `regex` crate.
fn translate(source: &str) -> Option<String> {
    let mut out = String::with_capacity(source.len() * 2);
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let tail = rest.get(first.len_utf8()..)?;
        rest = match first {
            '\\' => escape(tail, &mut out)?,
            '[' => class(tail, &mut out)?,
            // Written by the translation of a pattern, never by its author.
            '^' | '$' | '.' | '*' | '?' | '(' | ')' => {
                out.push(first);
                tail
            }
            _ => {
                push_literal(first, &mut out);
                tail
            }
        };
    }
    Some(out)
}

/// Reads what follows a `\` outside a class.
fn escape<'s>(text: &'s str, out: &mut String) -> Option<&'s str> {
    let first = text.chars().next()?;
    let tail = text.get(first.len_utf8()..)?;
    match first {
        'A' => out.push_str(r"\A"),
        'z' => out.push_str(r"\z"),
        'b' => out.push_str(r"(?-u:\b)"),
        'B' => out.push_str(r"(?-u:\B)"),
        'Q' => {
            let (quoted, rest) = tail.split_once(r"\E").unwrap_or((tail, ""));
            quoted.chars().for_each(|rune| push_literal(rune, out));
            return Some(rest);
        }
        'p' | 'P' => {
            let (set, rest) = unicode_set(first, tail)?;
            out.push_str(&set);
            return Some(rest);
        }
        _ => {
            if let Some(set) = perl_set(first) {
                out.push_str(set);
                return Some(tail);
            }
            let (rune, rest) = escaped_rune(text)?;
            push_literal(rune, out);
            return Some(rest);
        }
    }
    Some(tail)
}

/// Reads a class after its `[`.
fn class<'s>(text: &'s str, out: &mut String) -> Option<&'s str> {
    let mut rest = text;
    out.push('[');
    if let Some(tail) = rest.strip_prefix('^') {
        out.push('^');
        rest = tail;
    }
    let mut is_first = true;
    loop {
        if !is_first && let Some(tail) = rest.strip_prefix(']') {
            out.push(']');
            return Some(tail);
        }
        is_first = false;
        if let Some((set, tail)) = class_set(rest)? {
            out.push_str(&set);
            rest = tail;
            continue;
        }
        let (low, tail) = class_rune(rest)?;
        rest = tail;
        push_class_rune(low, out);
        if let Some(tail) = rest.strip_prefix('-')
            && !tail.is_empty()
            && !tail.starts_with(']')
        {
            let (high, tail) = class_rune(tail)?;
            if high < low {
                return None;
            }
            out.push('-');
            push_class_rune(high, out);
            rest = tail;
        }
    }
}

/// Reads a named set inside a class: `[:alpha:]`, `\pL`, `\d`. `Some(None)` where there is none.
#[expect(
    clippy::option_option,
    reason = "malformed and absent are two answers, private to this file"
)]
fn class_set(text: &str) -> Option<Option<(String, &str)>> {
    if let Some(named) = text.strip_prefix("[:")
        && let Some((name, tail)) = named.split_once(":]")
    {
        let known = name.strip_prefix('^').unwrap_or(name);
        return POSIX_SETS.contains(&known).then(|| Some((format!("[:{name}:]"), tail)));
    }
    let Some(escape) = text.strip_prefix('\\') else {
        return Some(None);
    };
    let Some(first) = escape.chars().next() else {
        return Some(None);
    };
    let tail = escape.get(first.len_utf8()..)?;
    if matches!(first, 'p' | 'P') {
        return unicode_set(first, tail).map(Some);
    }
    Some(perl_set(first).map(|set| (set.to_owned(), tail)))
}

const POSIX_SETS: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

fn perl_set(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\x0C\r ]",
        'S' => r"[^\t\n\x0C\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

/// Reads the name of `\p` or `\P`: one letter, or a name in braces that `^` may negate.
fn unicode_set(sign: char, text: &str) -> Option<(String, &str)> {
    let (name, tail) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}')?,
        None => text.split_at_checked(text.chars().next()?.len_utf8())?,
    };
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (sign == 'p', name),
        None => (sign == 'P', name),
    };
    if !name.chars().all(|rune| rune.is_ascii_alphanumeric() || matches!(rune, '_' | ' ' | '-')) {
        return None;
    }
    let sign = if negated { 'P' } else { 'p' };
    Some((format!(r"\{sign}{{{name}}}"), tail))
}

fn class_rune(text: &str) -> Option<(char, &str)> {
    match text.strip_prefix('\\') {
        Some(escape) => escaped_rune(escape),
        None => {
            let rune = text.chars().next()?;
            Some((rune, text.get(rune.len_utf8()..)?))
        }
    }
}

/// Reads the character that a `\` before `text` stands for.
fn escaped_rune(text: &str) -> Option<(char, &str)> {
    let first = text.chars().next()?;
    let tail = text.get(first.len_utf8()..)?;
    let rune = match first {
        // One digit would be a back reference, which RE2 has not.
        '1'..='7' if !tail.starts_with(|rune: char| rune.is_digit(8)) => return None,
        '0'..='7' => {
            let more = tail.chars().take(2).take_while(|rune| rune.is_digit(8));
            let (digits, rest) = text.split_at_checked(1 + more.count())?;
            return Some((char::from_u32(u32::from_str_radix(digits, 8).ok()?)?, rest));
        }
        'x' => {
            let (digits, rest) = match tail.strip_prefix('{') {
                Some(braced) => braced.split_once('}')?,
                None => tail.split_at_checked(2)?,
            };
            if digits.is_empty() || !digits.chars().all(|rune| rune.is_ascii_hexdigit()) {
                return None;
            }
            return Some((char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, rest));
        }
        'a' => '\x07',
        'f' => '\x0C',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0B',
        _ if first.is_ascii() && !first.is_ascii_alphanumeric() => first,
        _ => return None,
    };
    Some((rune, tail))
}

fn push_literal(rune: char, out: &mut String) {
    out.push_str(&regex::escape(rune.encode_utf8(&mut [0; 4])));
}

fn push_class_rune(rune: char, out: &mut String) {
    out.push_str(&format!(r"\x{{{:X}}}", u32::from(rune)));
}
