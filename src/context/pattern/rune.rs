//! Characters and lexical paths in byte strings, counted as Go counts them.

/// Returns the first character of `bytes` and its width: U+FFFD and 1 where it is no UTF-8,
/// `None` where `bytes` is empty.
pub fn first_rune(bytes: &[u8]) -> Option<(char, usize)> {
    let head = bytes.get(..bytes.len().min(4))?;
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?,
    };
    match valid.chars().next() {
        Some(rune) => Some((rune, rune.len_utf8())),
        None if head.is_empty() => None,
        None => Some((char::REPLACEMENT_CHARACTER, 1)),
    }
}

fn last_rune(bytes: &[u8]) -> Option<(char, usize)> {
    (1..=bytes.len().min(4))
        .find_map(|width| {
            let tail = bytes.get(bytes.len() - width..)?;
            let mut runes = std::str::from_utf8(tail).ok()?.chars();
            let rune = runes.next()?;
            runes.next().is_none().then_some((rune, width))
        })
        .or_else(|| bytes.last().map(|_| (char::REPLACEMENT_CHARACTER, 1)))
}

/// Returns `bytes` without white space (Unicode's) at either end.
pub fn trim_space(mut bytes: &[u8]) -> &[u8] {
    while let Some((rune, width)) = first_rune(bytes) {
        if !rune.is_whitespace() {
            break;
        }
        bytes = bytes.get(width..).unwrap_or_default();
    }
    while let Some((rune, width)) = last_rune(bytes) {
        if !rune.is_whitespace() {
            break;
        }
        bytes = bytes.get(..bytes.len() - width).unwrap_or_default();
    }
    bytes
}

/// Returns `bytes` as text, with one U+FFFD for every byte that is part of no character.
///
/// `String::from_utf8_lossy` puts one for a whole broken sequence, which would make `?` match more
/// than it does in Go.
pub fn to_text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.into();
    }
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((rune, width)) = first_rune(rest) {
        text.push(rune);
        rest = rest.get(width..).unwrap_or_default();
    }
    text.into()
}

/// Returns the shortest lexical equivalent of a slash-separated path: Go's `filepath.Clean`.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut kept: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => match kept.last() {
                Some(last) if *last != b".." => {
                    kept.pop();
                }
                _ if rooted => {}
                _ => kept.push(component),
            },
            _ => kept.push(component),
        }
    }
    let joined = kept.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/".as_slice(), &joined].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}
