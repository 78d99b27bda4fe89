//! What is not shown of values that may hold secrets. Pure.

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// Words in the name of a variable that make its value a secret.
const TELLING: [&str; 9] =
    ["TOKEN", "SECRET", "PASSW", "PASSPHRASE", "CREDENTIAL", "APIKEY", "_KEY", "AUTH", "PRIVATE"];

/// Returns whether a variable's name says that its value is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    upper == "KEY" || TELLING.iter().any(|word| upper.contains(word))
}

/// Masks the value of a `NAME=VALUE` whose name says that it is a secret.
pub fn build_arg(argument: &str) -> String {
    match argument.split_once('=') {
        Some((name, _)) if is_secret_name(name) => format!("{name}={MASK}"),
        Some((name, value)) => format!("{name}={}", url(value)),
        None => argument.to_owned(),
    }
}

/// Masks user information in a proxy's address, which may come without a scheme.
pub fn proxy(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, host)) if !text.contains("://") => format!("{MASK}@{host}"),
        _ => url(text),
    }
}

/// Masks user information and the query of a URL; text that is no URL stays as it is.
pub fn url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{MASK}@{host}"),
        None => authority.to_owned(),
    };
    let tail = match tail.split_once('?') {
        Some((path, _)) => format!("{path}?{MASK}"),
        None => tail.to_owned(),
    };
    format!("{scheme}://{host}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_arguments_with_telling_names_are_masked() {
        let cases = [
            ("NPM_TOKEN=abc", "NPM_TOKEN=***"),
            ("db_password=a=b", "db_password=***"),
            ("AWS_SECRET_ACCESS_KEY=x", "AWS_SECRET_ACCESS_KEY=***"),
            ("VERSION=1.2", "VERSION=1.2"),
            ("KEYBOARD=de", "KEYBOARD=de"),
            ("PIP_INDEX_URL=https://me:pw@pypi/simple", "PIP_INDEX_URL=https://***@pypi/simple"),
            ("NAME", "NAME"),
        ];
        for (argument, expected) in cases {
            assert_eq!(build_arg(argument), expected);
        }
    }

    #[test]
    fn urls_lose_user_information_and_query() {
        let cases = [
            ("https://u:p@host/a?sig=1#f", "https://***@host/a?***"),
            ("git://TOKEN@host/repo#refs/heads/main", "git://***@host/repo#refs/heads/main"),
            ("s3://bucket/key", "s3://bucket/key"),
            ("https://host/a@b", "https://host/a@b"),
            ("/workspace/", "/workspace/"),
        ];
        for (text, expected) in cases {
            assert_eq!(url(text), expected);
        }
    }

    #[test]
    fn proxies_lose_user_information_with_and_without_scheme() {
        assert_eq!(proxy("http://u:p@proxy:3128"), "http://***@proxy:3128");
        assert_eq!(proxy("u:p@proxy:3128"), "***@proxy:3128");
        assert_eq!(proxy("proxy:3128"), "proxy:3128");
    }
}
