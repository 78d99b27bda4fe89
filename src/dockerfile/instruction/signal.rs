//! What `STOPSIGNAL` takes.

/// A stop signal that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid stop signal `{text}`: must be a number or a name such as SIGTERM or RTMIN+3")]
pub struct InvalidSignal {
    /// What was given.
    pub text: String,
}

/// The names that Docker knows, apart from the real-time ones.
const NAMES: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// Checks an expanded stop signal: any number but 0, or a name in any case, with or without `SIG`.
///
/// # Errors
/// [`InvalidSignal`].
pub fn check_signal(text: &str) -> Result<(), InvalidSignal> {
    let is_valid = match text.parse::<i64>() {
        Ok(number) => number != 0,
        Err(_) => {
            let name = text.to_uppercase();
            is_name(name.strip_prefix("SIG").unwrap_or(&name))
        }
    };
    if is_valid { Ok(()) } else { Err(InvalidSignal { text: text.to_owned() }) }
}

fn is_name(name: &str) -> bool {
    let offset = |text: &str, most: u8| {
        let number = text.parse::<u8>().ok().filter(|number| (1..=most).contains(number));
        // Written as Docker writes it: no sign, no leading zero.
        number.is_some_and(|number| number.to_string() == text)
    };
    if let Some(text) = name.strip_prefix("RTMIN+") {
        offset(text, 15)
    } else if let Some(text) = name.strip_prefix("RTMAX-") {
        offset(text, 14)
    } else {
        name == "RTMIN" || name == "RTMAX" || NAMES.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidSignal, check_signal};

    #[test]
    fn numbers_and_names_are_known() {
        for text in ["9", "SIGTERM", "term", "sigKill", "RTMIN", "SIGRTMIN+15", "rtmax-14", "-3"] {
            assert_eq!(check_signal(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "0",
            "SIG",
            "SIGSIGTERM",
            "FOO",
            "9x",
            "a b",
            "RTMIN+0",
            "RTMIN+16",
            "RTMIN+03",
            "RTMAX-15",
            "RTMAX+1",
            " TERM",
        ] {
            let text = text.to_owned();
            assert_eq!(check_signal(&text.clone()), Err(InvalidSignal { text }));
        }
    }
}
