//! The JSON form of arguments.
//!
//! Its own reader, because what is not JSON is the shell form and must not be an error: the border
//! has to be where Go's `encoding/json` has it (lone surrogates are accepted, nesting ends at
//! 10,000, numbers beyond a double are refused), and a JSON library for Rust draws it elsewhere.

/// How deep arrays and objects may nest; deeper is not JSON.
pub(super) const MAX_DEPTH: usize = 10_000;

/// What a text is, read as JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonArray {
    /// Not a JSON array, or one with something around it.
    No,
    /// An array of strings.
    Strings(Vec<String>),
    /// An array with something else in it.
    Mixed,
}

/// Reads a text, blanks around it allowed.
pub(super) fn read_array(text: &str) -> JsonArray {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return JsonArray::No;
    }
    let mut reader = Reader { bytes: text.as_bytes(), position: 0 };
    match reader.document() {
        None => JsonArray::No,
        Some(elements) => {
            elements.into_iter().collect::<Option<_>>().map_or(JsonArray::Mixed, JsonArray::Strings)
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// What an open bracket expects to be closed by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

impl Reader<'_> {
    /// Reads the outermost array; a member that is no string is `None`.
    ///
    /// Nested containers are walked with a stack of their kinds, not by recursion: the depth is the
    /// author's choice.
    fn document(&mut self) -> Option<Vec<Option<String>>> {
        let mut members = Vec::new();
        let mut open: Vec<Container> = Vec::new();
        // Whether the container that was just opened may be closed without a member.
        let mut is_fresh;
        loop {
            // A value begins here.
            self.blanks();
            match self.peek()? {
                b'[' => {
                    self.position += 1;
                    open.push(Container::Array);
                    is_fresh = true;
                }
                b'{' => {
                    self.position += 1;
                    open.push(Container::Object);
                    is_fresh = true;
                }
                b'"' => {
                    let string = self.string()?;
                    if open.len() == 1 {
                        members.push(Some(string));
                    }
                    is_fresh = false;
                }
                _ => {
                    self.scalar()?;
                    if open.len() == 1 {
                        members.push(None);
                    }
                    is_fresh = false;
                }
            }
            if open.len() > MAX_DEPTH {
                return None;
            }
            // After a value, or inside a container that was just opened.
            loop {
                self.blanks();
                let container = *open.last()?;
                let next = self.peek()?;
                let closes = match container {
                    Container::Array => next == b']',
                    Container::Object => next == b'}',
                };
                if closes {
                    self.position += 1;
                    open.pop();
                    match open.len() {
                        0 => {
                            self.blanks();
                            return self.peek().is_none().then_some(members);
                        }
                        1 => members.push(None),
                        _ => {}
                    }
                    is_fresh = false;
                    continue;
                }
                if !is_fresh {
                    self.take(b',')?;
                    self.blanks();
                }
                if container == Container::Object {
                    self.string()?;
                    self.blanks();
                    self.take(b':')?;
                }
                break;
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    fn take(&mut self, expected: u8) -> Option<()> {
        (self.peek()? == expected).then(|| self.position += 1)
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.position += 1;
        }
    }

    /// Reads `true`, `false`, `null` or a number.
    fn scalar(&mut self) -> Option<()> {
        for literal in [&b"true"[..], b"false", b"null"] {
            if self.bytes.get(self.position..)?.starts_with(literal) {
                self.position += literal.len();
                return Some(());
            }
        }
        self.number()
    }

    fn number(&mut self) -> Option<()> {
        let start = self.position;
        if self.peek() == Some(b'-') {
            self.position += 1;
        }
        if self.peek() == Some(b'0') {
            self.position += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.position += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.position += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.position += 1;
            }
            self.digits()?;
        }
        let digits = std::str::from_utf8(self.bytes.get(start..self.position)?).ok()?;
        digits.parse::<f64>().ok()?.is_finite().then_some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.position;
        while let Some(b'0'..=b'9') = self.peek() {
            self.position += 1;
        }
        (self.position > start).then_some(())
    }

    fn string(&mut self) -> Option<String> {
        self.take(b'"')?;
        let mut bytes = Vec::new();
        loop {
            let byte = self.peek()?;
            self.position += 1;
            match byte {
                b'"' => return String::from_utf8(bytes).ok(),
                b'\\' => {
                    let mut buffer = [0; 4];
                    bytes.extend_from_slice(self.escape()?.encode_utf8(&mut buffer).as_bytes());
                }
                0..=0x1f => return None,
                _ => bytes.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.position += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.code_unit()?;
                let Some(low) = self.low_surrogate_after(unit) else {
                    // A surrogate without its other half becomes U+FFFD, as in Go.
                    return Some(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
                };
                char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))?
            }
            _ => return None,
        })
    }

    /// Reads the second half of a pair if `unit` is a first half and one follows.
    fn low_surrogate_after(&mut self, unit: u32) -> Option<u32> {
        if !(0xd800..0xdc00).contains(&unit) {
            return None;
        }
        let start = self.position;
        let low = self.take(b'\\').and_then(|()| self.take(b'u')).and_then(|()| self.code_unit());
        let low = low.filter(|low| (0xdc00..0xe000).contains(low));
        if low.is_none() {
            self.position = start;
        }
        low
    }

    fn code_unit(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.position..self.position.checked_add(4)?)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        self.position += 4;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}
