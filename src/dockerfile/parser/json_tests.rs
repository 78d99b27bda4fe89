use super::json::{JsonArray, MAX_DEPTH, read_array};

#[test]
fn arrays_of_strings_are_read() {
    for (text, expected) in [
        ("[]", &[][..]),
        (" [\t\"a\" ,\r\n\"b\" ] ", &["a", "b"]),
        (r#"[""]"#, &[""]),
        (r#"["\"\\\/\b\f\n\r\t\u0041\u0000"]"#, &["\"\\/\u{8}\u{c}\n\r\tA\0"]),
        (
            r#"["\ud83d\ude00","\ud83d","\ude00x","\ud83d\u0041"]"#,
            &["\u{1f600}", "\u{fffd}", "\u{fffd}x", "\u{fffd}A"],
        ),
        ("[\"\u{2665}\"]", &["\u{2665}"]),
    ] {
        let expected = expected.iter().map(|&word| word.to_owned()).collect();
        assert_eq!(read_array(text), JsonArray::Strings(expected), "{text}");
    }
}

#[test]
fn arrays_with_other_values_are_told_from_what_is_no_json() {
    for text in [
        "[1]",
        "[\"a\",-0.5e+10,\"b\"]",
        "[null]",
        "[true, false]",
        "[{}]",
        "[[]]",
        "[\"a\", {\"b\": [\"c\", {\"d\": null}]}]",
        "[[\"a\"]]",
    ] {
        assert_eq!(read_array(text), JsonArray::Mixed, "{text}");
    }
    for text in [
        "",
        "a",
        "{}",
        "\"a\"",
        "[",
        "[\"a\"",
        "[\"a\"]x",
        "[\"a\"] # c",
        "[\"a\",]",
        "[,\"a\"]",
        "[\"a\" \"b\"]",
        "['a']",
        "[\"a\tb\"]",
        "[\"\\x\"]",
        "[\"\\u12g4\"]",
        "[\"a]",
        "[01]",
        "[1.]",
        "[.5]",
        "[+1]",
        "[1e999]",
        "[\"a\", 1e999]",
        "[nul]",
        "[{\"a\"}]",
        "[{\"a\":}]",
        "[{1:2}]",
        "[{\"a\":1,}]",
        "[{]}",
        "[}",
        "[\u{a0}\"a\"]",
    ] {
        assert_eq!(read_array(text), JsonArray::No, "{text}");
    }
}

#[test]
fn nesting_is_bounded_and_takes_no_stack() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!(read_array(&nested(MAX_DEPTH)), JsonArray::Mixed);
    assert_eq!(read_array(&nested(MAX_DEPTH + 1)), JsonArray::No);
    assert_eq!(read_array(&"[".repeat(1_000_000)), JsonArray::No);
}
