//! URLs as they may be shown: signed queries and user names stay out of logs and errors.

use url::Url;

/// Query keys whose values are public. Anything else may be a signature or a token.
const SHOWN_KEYS: &[&str] = &["digest", "from", "last", "mount", "n", "ns", "scope", "service"];

/// Returns `url` without user name, password and fragment, and with `***` for the value of every
/// query key that is not known to be harmless.
pub fn redact(url: &Url) -> String {
    let mut shown = url.clone();
    // Both fail only for URLs without a host, which cannot carry either.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    if url.query().is_some() {
        let pairs: Vec<String> = url
            .query_pairs()
            .map(|(key, value)| {
                if SHOWN_KEYS.contains(&key.as_ref()) {
                    format!("{key}={value}")
                } else if value.is_empty() {
                    // A lone word may itself be the token.
                    "***".to_owned()
                } else {
                    format!("{key}=***")
                }
            })
            .collect();
        shown.set_query(Some(&pairs.join("&")));
    }
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_query_values_and_no_user_names_are_shown() {
        let check = |input: &str, expected: &str| {
            assert_eq!(redact(&Url::parse(input).unwrap()), expected);
        };
        check("https://r.example/v2/", "https://r.example/v2/");
        check("https://user:secret@r.example/v2/", "https://r.example/v2/");
        check("https://r.example/p#token", "https://r.example/p");
        check(
            "https://r.example/u/1?_state=abc&digest=sha256:00",
            "https://r.example/u/1?_state=***&digest=sha256:00",
        );
        check(
            "https://s3.example/o?X-Amz-Signature=f00",
            "https://s3.example/o?X-Amz-Signature=***",
        );
        check("https://s3.example/o?tokenwithoutvalue", "https://s3.example/o?***");
    }
}
