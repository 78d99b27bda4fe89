use super::heredoc::{HeredocWord, drop_leading_tabs};

fn word(name: &str) -> HeredocWord {
    HeredocWord { name: name.to_owned(), expand: true, chomp: false, file_descriptor: 0 }
}

#[test]
fn words_that_begin_a_heredoc_are_read() {
    let quoted = |name| HeredocWord { expand: false, ..word(name) };
    for (text, expected) in [
        ("<<E", word("E")),
        ("3<<E", HeredocWord { file_descriptor: 3, ..word("E") }),
        ("99999999999999999999<<E", HeredocWord { file_descriptor: u64::MAX, ..word("E") }),
        ("<<-E", HeredocWord { chomp: true, ..word("E") }),
        ("<< \t-E", word("-E")),
        ("<<'E'", quoted("E")),
        ("<<a\"b c\"", quoted("ab c")),
        (r"<<a\'b", word("a'b")),
        (r"<<'a'\'b", quoted("a'b")),
        ("<<$E", word("$E")),
        ("<<${E:-x}", word("${E:-x}")),
        ("<<E>f", word("E>f")),
    ] {
        assert_eq!(HeredocWord::parse(text), Ok(Some(expected)), "{text}");
    }
}

#[test]
fn other_words_begin_none() {
    for text in
        ["", "E", "<E", "<<", "<<-", "<< ", "<<<E", "<<E<", "a<<E", "<<a b", "<<''", "x3<<E"]
    {
        assert_eq!(HeredocWord::parse(text), Ok(None), "{text}");
    }
    for text in ["<<'E", "<<E\"", "<<${", "<<'' a"] {
        assert!(HeredocWord::parse(text).is_err(), "{text}");
    }
}

#[test]
fn lines_begin_heredocs_outside_quotes_only() {
    for (line, expected) in [
        ("RUN cat <<A <<-'B c' > x", &["A", "B c"][..]),
        ("RUN << E", &["E"]),
        ("RUN '<<E' \"<<F\"", &[]),
        ("RUN echo it's <<E", &[]),
        (r"RUN \<<E", &[]),
        ("RUN a<<E b<<'E'", &[]),
        ("RUN $((1<<2))", &[]),
    ] {
        let found = HeredocWord::find(line).expect(line);
        assert_eq!(found.iter().map(|word| &word.name).collect::<Vec<_>>(), expected, "{line}");
    }
}

#[test]
fn leading_tabs_are_dropped_from_each_line() {
    assert_eq!(drop_leading_tabs(b"\t\ta\tb\n\t\n \tc\r\n\t\xff"), b"a\tb\n\n \tc\r\n\xff");
}
