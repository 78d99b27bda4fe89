//! The files `~/.aws/credentials` and `~/.aws/config`. Pure.

use std::collections::BTreeMap;

/// The settings of one profile, by key in lower case.
pub(super) type Profile = BTreeMap<String, String>;

/// Which of the two files a text is: they name their sections differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sections are profiles.
    Credentials,
    /// Profiles are in sections `profile NAME`, only the default one has no prefix.
    Config,
}

/// Returns the settings of a profile; `None` when the text has no such section. A section that
/// comes twice adds up.
pub(super) fn read(text: &str, kind: Kind, profile: &str) -> Option<Profile> {
    let mut found: Option<Profile> = None;
    let mut inside = false;
    for line in text.lines() {
        // Further lines of a value, and settings below settings, start with blanks.
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let line = line.trim_end();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            let name = header.split(']').next().unwrap_or_default().trim();
            inside = section(name, kind) == Some(profile);
            if inside {
                found.get_or_insert_default();
            }
        } else if inside
            && let Some((key, value)) = line.split_once('=')
            && let Some(profile) = &mut found
        {
            // A comment after a value needs a blank before it.
            let value = value.split(" #").next().unwrap_or_default();
            let value = value.split(" ;").next().unwrap_or_default();
            profile.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

/// Returns the programs that a text's `credential_process` settings name.
pub(super) fn programs(text: &str) -> Vec<String> {
    let commands = text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        key.trim().eq_ignore_ascii_case("credential_process").then_some(value)
    });
    commands.filter_map(|command| words(command).into_iter().next()).collect()
}

/// Splits a command at blanks outside of quotes. Nothing else is special: there is no shell.
pub(super) fn words(command: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut quote = None;
    let mut is_inside = false;
    for character in command.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '"' | '\'') => {
                (quote, is_inside) = (Some(character), push(&mut words, is_inside))
            }
            (None, ' ' | '\t') => is_inside = false,
            _ => {
                is_inside = push(&mut words, is_inside);
                if let Some(word) = words.last_mut() {
                    word.push(character);
                }
            }
        }
    }
    words
}

/// Begins a word unless one has begun.
fn push(words: &mut Vec<String>, is_inside: bool) -> bool {
    if !is_inside {
        words.push(String::new());
    }
    true
}

fn section(name: &str, kind: Kind) -> Option<&str> {
    let named = name.strip_prefix("profile").filter(|rest| rest.starts_with([' ', '\t']));
    match (kind, named) {
        (Kind::Credentials, _) => Some(name),
        (Kind::Config, Some(profile)) => Some(profile.trim()),
        (Kind::Config, None) => (name == "default").then_some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "\
# comment
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key=secret/with=equals # comment

[ci]
AWS_ACCESS_KEY_ID = AKIACI
aws_secret_access_key = s
  nested = no
[ci]
aws_session_token = t
";

    const CONFIG: &str = "\
[default]
region = eu-west-1
[profile ci]
region = eu-central-1
s3 =
  addressing_style = path
[ci]
region = wrong
[sso-session ci]
region = wrong
";

    fn check(text: &str, kind: Kind, profile: &str, expected: Option<&[(&str, &str)]>) {
        let expected: Option<Profile> = expected.map(|pairs| {
            pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
        });
        assert_eq!(read(text, kind, profile), expected, "{profile}");
    }

    #[test]
    fn commands_are_split_at_blanks_outside_of_quotes() {
        let check = |text: &str, expected: &[&str]| assert_eq!(words(text), expected, "{text}");
        check("/bin/x", &["/bin/x"]);
        check("  x  --a\tb ", &["x", "--a", "b"]);
        check("\"/a b/x\" --c='d \"e' ''", &["/a b/x", "--c=d \"e", ""]);
        check("x; rm $(y)", &["x;", "rm", "$(y)"]);
        check("", &[]);
        let config = "[default]\nregion = r\nCredential_Process = \"/a b\" c\n";
        assert_eq!(programs(config), ["/a b"]);
    }

    #[test]
    fn sections_are_told_apart_in_both_files() {
        let default =
            [("aws_access_key_id", "AKIADEFAULT"), ("aws_secret_access_key", "secret/with=equals")];
        check(CREDENTIALS, Kind::Credentials, "default", Some(&default));
        let ci = [
            ("aws_access_key_id", "AKIACI"),
            ("aws_secret_access_key", "s"),
            ("aws_session_token", "t"),
        ];
        check(CREDENTIALS, Kind::Credentials, "ci", Some(&ci));
        check(CREDENTIALS, Kind::Credentials, "other", None);
        check(CONFIG, Kind::Config, "default", Some(&[("region", "eu-west-1")]));
        check(CONFIG, Kind::Config, "ci", Some(&[("region", "eu-central-1"), ("s3", "")]));
    }
}
