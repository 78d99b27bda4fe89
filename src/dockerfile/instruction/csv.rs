//! Comma-separated flag values, with quotes as in CSV.

/// Splits at commas; a field that begins with `"` may hold commas and doubled quotes. `None` if the
/// text is empty or a quote is out of place.
pub(super) fn split_fields(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return None;
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let after = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut field = String::new();
                let mut quoted = quoted;
                loop {
                    let (part, after) = quoted.split_once('"')?;
                    field.push_str(part);
                    match after.strip_prefix('"') {
                        Some(after) => {
                            field.push('"');
                            quoted = after;
                        }
                        None => {
                            fields.push(field);
                            break after;
                        }
                    }
                }
            }
            None => {
                let (field, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                if field.contains('"') {
                    return None;
                }
                fields.push(field.to_owned());
                after
            }
        };
        if after.is_empty() {
            return Some(fields);
        }
        rest = after.strip_prefix(',')?;
    }
}

#[cfg(test)]
mod tests {
    use super::split_fields;

    #[test]
    fn fields_are_split_at_commas_outside_quotes() {
        for (text, expected) in [
            ("a", &["a"][..]),
            ("type=bind,target=/a b", &["type=bind", "target=/a b"]),
            ("a,,b,", &["a", "", "b", ""]),
            (",", &["", ""]),
            (r#"a,"target=/x,y",b"#, &["a", "target=/x,y", "b"]),
            (r#""a""b""#, &[r#"a"b"#]),
            (r#""""#, &[""]),
            (" a , b", &[" a ", " b"]),
        ] {
            let fields = split_fields(text).expect(text);
            assert_eq!(fields, expected, "{text}");
        }
        for text in ["", "\"", "\"a", "a\"b", "\"a\"b", "\"a\" ,b", "\"\"\""] {
            assert_eq!(split_fields(text), None, "{text}");
        }
    }
}
