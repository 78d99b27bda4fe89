//! Go's way of writing values, which history entries are made of.

use std::sync::LazyLock;

use regex::Regex;

/// Writes a list as Go's `%v`: `[a b]`.
pub(super) fn list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.as_ref().to_owned()).collect();
    format!("[{}]", items.join(" "))
}

/// Writes a list of texts as Go's `%q`: `["a" "b"]`.
pub(super) fn quoted_list(items: &[String]) -> String {
    list(items.iter().map(|item| quoted(item)))
}

/// What Go prints as it is: letters, marks, numbers, punctuation, symbols, and the plain blank.
static PRINTABLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$").expect("the pattern is a constant")
});

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for rune in text.chars() {
        let code = u32::from(rune);
        match rune {
            '"' | '\\' => out.extend(['\\', rune]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0C' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0B' => out.push_str("\\v"),
            _ if PRINTABLE.is_match(rune.encode_utf8(&mut [0; 4])) => out.push(rune),
            _ if rune.is_ascii() => out.push_str(&format!("\\x{code:02x}")),
            _ if code < 0x10000 => out.push_str(&format!("\\u{code:04x}")),
            _ => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out + "\""
}

/// Writes nanoseconds as Go's `time.Duration` does: `1m30s`, `1.5s`, `2ms`, `0s`.
pub(super) fn duration(nanoseconds: i64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let decimal = |value: u64, unit: u64| {
        let (whole, rest) = (value / unit, value % unit);
        let digits = format!("{:0width$}", rest, width = unit.ilog10() as usize);
        match digits.trim_end_matches('0') {
            _ if rest == 0 => whole.to_string(),
            digits => format!("{whole}.{digits}"),
        }
    };
    let text = match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{total}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(total, 1_000)),
        1_000_000..SECOND => format!("{}ms", decimal(total, 1_000_000)),
        _ => {
            let minutes = total / (60 * SECOND);
            let seconds = decimal(total % (60 * SECOND), SECOND);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_in_go() {
        for (text, expected) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("\"\\", r#""\"\\""#),
            ("\t\n\r\x07\x08\x0B\x0C", r#""\t\n\r\a\b\v\f""#),
            ("\x1B\x7F\0", r#""\x1b\x7f\x00""#),
            ("é☺é", "\"é☺é\""),
            ("\u{A0}\u{200B}\u{FEFF}", r#""\u00a0\u200b\ufeff""#),
            ("\u{E0001}", r#""\U000e0001""#),
        ] {
            assert_eq!(quoted(text), expected, "text {text:?}");
        }
        assert_eq!(quoted_list(&["/bin/sh".to_owned(), "-c".to_owned()]), r#"["/bin/sh" "-c"]"#);
        assert_eq!(quoted_list(&[]), "[]");
    }

    #[test]
    fn durations_are_written_as_in_go() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (5_400_250_000_000, "1h30m0.25s"),
            (-1_000_000_000, "-1s"),
        ] {
            assert_eq!(duration(nanoseconds), expected);
        }
    }
}
