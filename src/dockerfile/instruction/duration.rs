//! Durations as Go's `time.ParseDuration` reads them: `1h30m`, `1.5s`, `-2ms`, `0`.

/// A number of nanoseconds, or more than the original can hold.
const MAX: u64 = 1 << 63;

/// Reads a duration as signed nanoseconds; `None` if it is none, or does not fit.
pub(super) fn parse_nanoseconds(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let length = after.find(|next: char| next == '.' || next.is_ascii_digit());
        let (unit, after) = after.split_at(length.unwrap_or(after.len()));
        let unit = nanoseconds_of(unit)?;
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
        let mut value = whole.checked_mul(unit).filter(|value| *value <= MAX)?;
        value = value.checked_add(fraction_of(fraction, unit))?;
        total = total.checked_add(value).filter(|total| value <= MAX && *total <= MAX)?;
        rest = after;
    }
    match (is_negative, total) {
        (true, MAX) => Some(i64::MIN),
        (true, total) => i64::try_from(total).ok().map(|total| -total),
        (false, total) => i64::try_from(total).ok(),
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let length = text.find(|next: char| !next.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(length)
}

fn nanoseconds_of(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // Micro sign and Greek mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Returns the nanoseconds of a fraction of a unit, cut; digits beyond what 63 bits hold are
/// dropped, and the rest computed in doubles, as in the original. Below 3.6e12.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let mut value: u64 = 0;
    let mut scale = 1.0;
    for digit in digits.bytes() {
        let next = value.checked_mul(10).and_then(|tens| tens.checked_add(u64::from(digit - b'0')));
        match next.filter(|next| value <= (MAX - 1) / 10 && *next <= MAX) {
            None => break,
            Some(next) => {
                value = next;
                scale *= 10.0;
            }
        }
    }
    (value as f64 * (unit as f64 / scale)) as u64
}
