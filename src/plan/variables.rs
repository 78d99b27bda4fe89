//! Variables that words are expanded with.

/// Names and values in the order in which they were last set, each name once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Variables(Vec<(String, String)>);

impl Variables {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn to_vec(&self) -> Vec<(String, String)> {
        self.0.clone()
    }
}

/// Splits an `Env` entry of a config at its first `=`.
pub(super) fn split_entry(entry: &str) -> (&str, &str) {
    entry.split_once('=').unwrap_or((entry, ""))
}

/// Sets a variable in a config's `Env`: in place where it is, else at the end.
pub(super) fn set_entry(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    match env.iter_mut().find(|known| split_entry(known).0 == name) {
        Some(known) => *known = entry,
        None => env.push(entry),
    }
}
