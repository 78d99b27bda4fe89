//! The texts that Go's standard library reads as booleans, integers and durations.
//!
//! Pipelines were written for a program in Go; what it accepted has to be accepted here, and what
//! it refused has to be refused, digit by digit. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

/// Why a value was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ValueError {
    /// Not one of Go's words for true and false.
    #[error("expected a boolean: 1, t, T, TRUE, true, True, 0, f, F, FALSE, false or False")]
    Boolean,
    /// Not an integer of 64 bits.
    #[error("expected an integer")]
    Integer,
    /// Not a duration.
    #[error("expected a duration such as `336h` or `1h30m`")]
    Duration,
    /// No `=` in a `key=value`.
    #[error("expected `key=value`")]
    KeyValue,
    /// Not a size.
    #[error("expected a size such as `500M` or `20Gi`")]
    Size,
    /// Neither gzip nor zstd.
    #[error("expected `gzip` or `zstd`")]
    Compression,
}

/// Reads a boolean as `strconv.ParseBool` does.
///
/// # Errors
/// Any word but the twelve that Go knows.
pub fn parse_bool(text: &str) -> Result<bool, ValueError> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(ValueError::Boolean),
    }
}

/// Reads an integer as `strconv.ParseInt(text, 0, 64)` does: optional sign, prefixes `0x`, `0o`,
/// `0b` and `0`, and underscores between digits where there is a prefix.
///
/// # Errors
/// Anything else, and values outside 64 bits.
pub fn parse_int(text: &str) -> Result<i64, ValueError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = if let Some(body) = lower.strip_prefix("0x") {
        (16, body)
    } else if let Some(body) = lower.strip_prefix("0o") {
        (8, body)
    } else if let Some(body) = lower.strip_prefix("0b") {
        (2, body)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.get(1..).unwrap_or_default())
    } else {
        (10, lower.as_str())
    };
    let plain = match body.contains('_') {
        false => body.to_owned(),
        // Go wants underscores only after a prefix, single, and between digits.
        true if radix == 10 || body.ends_with('_') || body.contains("__") => {
            return Err(ValueError::Integer);
        }
        true => body.replace('_', ""),
    };
    if plain.is_empty() || !plain.chars().all(|c| c.is_digit(radix)) {
        return Err(ValueError::Integer);
    }
    let magnitude = i128::from_str_radix(&plain, radix).map_err(|_| ValueError::Integer)?;
    let value = if negative { -magnitude } else { magnitude };
    i64::try_from(value).map_err(|_| ValueError::Integer)
}

/// A duration as Go has it: signed nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration {
    /// The duration in nanoseconds.
    pub nanoseconds: i64,
}

impl FromStr for GoDuration {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..).unwrap_or_default()),
            Some(b'+') => (false, text.get(1..).unwrap_or_default()),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self { nanoseconds: 0 });
        }
        if rest.is_empty() {
            return Err(ValueError::Duration);
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let (amount, after) = take_amount(rest)?;
            total = total.checked_add(amount).ok_or(ValueError::Duration)?;
            rest = after;
        }
        let signed = if negative { -total } else { total };
        i64::try_from(signed)
            .map(|nanoseconds| Self { nanoseconds })
            .map_err(|_| ValueError::Duration)
    }
}

/// Takes one `12.5h` off the front of `text`; returns its nanoseconds and what follows.
fn take_amount(text: &str) -> Result<(i128, &str), ValueError> {
    const UNITS: [(&str, i128); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000), // U+00B5, the micro sign
        ("μs", 1_000), // U+03BC, the Greek letter
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let whole_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (whole, after_whole) = text.split_at(whole_end);
    let (fraction, after) = match after_whole.strip_prefix('.') {
        Some(tail) => {
            let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
            tail.split_at(end)
        }
        None => ("", after_whole),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(ValueError::Duration);
    }
    let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
    let (unit, rest) = after.split_at(unit_end);
    let scale = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, scale)| *scale)
        .ok_or(ValueError::Duration)?;
    let digits = |text: &str| match text {
        "" => Ok(0),
        _ => text.parse::<i64>().map(i128::from).map_err(|_| ValueError::Duration),
    };
    // Digits beyond the eighteenth are below a nanosecond in every unit.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let power = fraction.bytes().fold(1_i128, |power, _| power * 10);
    Ok((digits(whole)? * scale + digits(fraction)? * scale / power, rest))
}

impl fmt::Display for GoDuration {
    /// Writes the duration as Go's `Duration.String` does, such as `336h0m0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanoseconds == 0 {
            return f.write_str("0s");
        }
        if self.nanoseconds < 0 {
            f.write_str("-")?;
        }
        let nanoseconds = self.nanoseconds.unsigned_abs();
        let small = |value: u64, scale: u64, unit: &str, f: &mut fmt::Formatter<'_>| {
            write!(f, "{}{unit}", decimal(value, scale))
        };
        match nanoseconds {
            0..1_000 => small(nanoseconds, 1, "ns", f),
            1_000..1_000_000 => small(nanoseconds, 1_000, "µs", f),
            1_000_000..1_000_000_000 => small(nanoseconds, 1_000_000, "ms", f),
            _ => {
                let minutes = nanoseconds / 60_000_000_000;
                let seconds = nanoseconds % 60_000_000_000;
                match (minutes / 60, minutes % 60) {
                    (0, 0) => {}
                    (0, minutes) => write!(f, "{minutes}m")?,
                    (hours, minutes) => write!(f, "{hours}h{minutes}m")?,
                }
                small(seconds, 1_000_000_000, "s", f)
            }
        }
    }
}

/// Writes `value / scale` with as many decimals as it needs.
fn decimal(value: u64, scale: u64) -> String {
    let (whole, fraction) = (value / scale, value % scale);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    format!("{whole}.{fraction:0width$}").trim_end_matches('0').to_owned()
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_gos_twelve_words() {
        for word in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(parse_bool(word), Ok(true), "{word}");
        }
        for word in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(parse_bool(word), Ok(false), "{word}");
        }
        for word in ["", "yes", "no", "on", "tRUE", "2", " true", "\"true\""] {
            assert_eq!(parse_bool(word), Err(ValueError::Boolean), "{word}");
        }
    }

    #[test]
    fn integers_are_read_with_base_prefixes() {
        let cases = [
            ("0", 0),
            ("5", 5),
            ("-7", -7),
            ("+3", 3),
            ("0x1F", 31),
            ("0b101", 5),
            ("0o17", 15),
            ("017", 15),
            ("0x_ff", 255),
            ("0_7", 7),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_int(text), Ok(expected), "{text}");
        }
        for text in
            ["", "-", "1_000", "1.5", "five", "08", "0x", "9223372036854775808", " 1", "0x1_"]
        {
            assert_eq!(parse_int(text), Err(ValueError::Integer), "{text}");
        }
    }

    #[test]
    fn durations_are_read_and_written_as_go_does() {
        let cases = [
            ("336h", "336h0m0s"),
            ("24h", "24h0m0s"),
            ("1h30m", "1h30m0s"),
            ("90s", "1m30s"),
            ("1.5h", "1h30m0s"),
            (".5s", "500ms"),
            ("5.s", "5s"),
            ("0", "0s"),
            ("-0", "0s"),
            ("0h", "0s"),
            ("100ms", "100ms"),
            ("1500us", "1.5ms"),
            ("2µs", "2µs"),
            ("2μs", "2µs"),
            ("3ns", "3ns"),
            ("-1h", "-1h0m0s"),
            ("+2m", "2m0s"),
            ("1h1h", "2h0m0s"),
            ("1.0000000000000000000000001s", "1s"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                text.parse::<GoDuration>().map(|d| d.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
        for text in
            ["", "-", "336", "1d", "h", "1 h", "1h ", "two weeks", "99999999999h", ".", "1.h.s"]
        {
            assert_eq!(text.parse::<GoDuration>(), Err(ValueError::Duration), "{text}");
        }
    }
}
