//! What a registry wants to see: `WWW-Authenticate`, parsed; pure.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use crate::http::Response;

/// How a registry wants requests to be authorised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from `realm`.
    Bearer {
        /// The URL that gives tokens, as the registry wrote it.
        realm: String,
        /// Who the token is for.
        service: Option<String>,
        /// What the token must allow, space-separated.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Returns what a token must allow, as the registry wrote it.
    pub(super) fn scope(&self) -> Option<&str> {
        match self {
            Self::Bearer { scope, .. } => scope.as_deref(),
            Self::Basic => None,
        }
    }
}

/// Returns the challenge of a response that asks for authorisation.
pub(super) fn wanted(response: &Response) -> Option<Challenge> {
    (response.status() == StatusCode::UNAUTHORIZED).then(|| choose(response.headers())).flatten()
}

/// Returns the challenge to answer: a bearer one if there is any, else a basic one.
pub(super) fn choose(headers: &HeaderMap) -> Option<Challenge> {
    let mut basic = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        for (scheme, parameters) in parse(text) {
            let parameter = |name: &str| {
                parameters
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.clone())
                    .filter(|value| !value.is_empty())
            };
            if scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = parameter("realm") {
                    let (service, scope) = (parameter("service"), parameter("scope"));
                    return Some(Challenge::Bearer { realm, service, scope });
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic
}

type Parameters = Vec<(String, String)>;

/// Splits one header value into schemes and their parameters (RFC 9110, 11.6.1). What does not
/// parse is left out.
fn parse(text: &str) -> Vec<(String, Parameters)> {
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let word_end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word_end);
        if word.is_empty() {
            if after.is_empty() {
                return challenges;
            }
            rest = after.get(1..).unwrap_or_default();
            continue;
        }
        let trimmed = after.trim_start_matches([' ', '\t']);
        // `name =` is a parameter; a word with anything else after it is a scheme. A scheme's
        // token68 form (`Negotiate abc==`) has no name before its `=` that could matter here.
        match trimmed.strip_prefix('=') {
            Some(value) => {
                let (value, left) = take_value(value.trim_start_matches([' ', '\t']));
                if let Some((_, parameters)) = challenges.last_mut() {
                    parameters.push((word.to_owned(), value));
                }
                rest = left;
            }
            None => {
                challenges.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
    }
}

/// Takes a token or quoted string off the front.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], expected: Option<Challenge>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        assert_eq!(choose(&headers), expected, "{values:?}");
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        })
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        check(
            &[
                r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push repository:c:pull""#,
            ],
            bearer(
                "https://auth.example/token",
                Some("r.example"),
                Some("repository:a/b:pull,push repository:c:pull"),
            ),
        );
        check(
            &[r#"bearer realm=https://a.example/t , service = x"#],
            bearer("https://a.example/t", Some("x"), None),
        );
        check(&[r#"Basic realm="Registry Realm""#], Some(Challenge::Basic));
        check(&["Basic"], Some(Challenge::Basic));
        check(
            &[r#"Basic realm="x", Bearer realm="https://a.example/t""#],
            bearer("https://a.example/t", None, None),
        );
        check(
            &[r#"Basic realm="x""#, r#"Bearer realm="https://a.example/t""#],
            bearer("https://a.example/t", None, None),
        );
        check(&[r#"Negotiate, Basic realm="a\"b, Bearer realm=\"x""#], Some(Challenge::Basic));
        check(&[r#"Negotiate abc==, Basic realm="x""#], Some(Challenge::Basic));
    }

    #[test]
    fn challenges_that_cannot_be_answered_are_none() {
        check(&[], None);
        check(&["Negotiate"], None);
        check(&[r#"Bearer service="x""#], None);
        check(&[r#"Bearer realm="""#], None);
        check(&[",,, = ,\"", "=\"", "realm=x"], None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".*") {
            parse(&text);
        }
    }
}
