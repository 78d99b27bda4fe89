//! What servers say, as it may be shown.

/// Characters of a server's text that are shown.
pub const SAID_CHARACTERS: usize = 400;

/// Makes a server's text fit for one line of a terminal: no control characters, and not too long.
pub fn said(text: &str) -> String {
    let words: Vec<&str> = text.split(|c: char| c.is_control() || c == ' ').collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SAID_CHARACTERS) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
