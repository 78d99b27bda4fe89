//! Lists of what the directory that builds and warmers share holds: text for people, or JSON. Pure.

use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::items::{Item, Items};
use super::prune::Pruned;

impl Items {
    /// Returns a table of what is kept, what was not used for longest first.
    pub fn table(&self) -> String {
        let mut text = rows(&self.items);
        text.push_str(&format!("{} in {}\n", size(self.total_bytes), things(self.items.len())));
        text
    }

    /// Returns the same as one line of JSON.
    pub fn json(&self) -> String {
        let list: Vec<Value> = self.items.iter().map(object).collect();
        format!("{}\n", json!({ "items": list, "total_bytes": self.total_bytes }))
    }
}

impl Pruned {
    /// Returns a table of what was removed.
    pub fn table(&self) -> String {
        let mut text = rows(&self.removed);
        for item in &self.busy {
            let name = visible(&item.name);
            text.push_str(&format!("in use, and kept: {} {name}\n", item.kind.name()));
        }
        text.push_str(&format!(
            "{} in {} removed, {} left\n",
            size(self.removed_bytes),
            things(self.removed.len()),
            size(self.kept_bytes)
        ));
        text
    }

    /// Returns the same as one line of JSON.
    pub fn json(&self) -> String {
        let list = |items: &[Item]| items.iter().map(object).collect::<Vec<Value>>();
        let value = json!({
            "removed": list(&self.removed),
            "busy": list(&self.busy),
            "removed_bytes": self.removed_bytes,
            "kept_bytes": self.kept_bytes,
        });
        format!("{value}\n")
    }
}

fn rows(items: &[Item]) -> String {
    let mut text = String::new();
    if !items.is_empty() {
        text.push_str("KIND     SIZE      LAST USED             NAME\n");
    }
    for item in items {
        let name = visible(&item.name);
        text.push_str(&format!(
            "{:<8} {:<9} {}  {name}\n",
            item.kind.name(),
            size(item.size_bytes),
            when(item.used)
        ));
    }
    text
}

fn object(item: &Item) -> Value {
    json!({
        "kind": item.kind.name(),
        "name": item.name,
        "size_bytes": item.size_bytes,
        "last_used": when(item.used),
    })
}

/// Ids come from Dockerfiles: they must neither start a line nor move the cursor.
fn visible(name: &str) -> String {
    name.chars().flat_map(char::escape_debug).collect()
}

fn when(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn things(count: usize) -> String {
    match count {
        1 => "1 thing".to_owned(),
        count => format!("{count} things"),
    }
}

/// Writes a size with three digits and a unit of 1000.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut tenths = bytes.saturating_mul(10);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    match (unit, tenths) {
        (0, tenths) => format!("{} {name}", tenths / 10),
        (_, tenths) => format!("{}.{} {name}", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::shared::items::ItemKind;

    fn items() -> Vec<Item> {
        let item = |kind, name: &str, size_bytes, used| Item {
            kind,
            name: name.to_owned(),
            size_bytes,
            used: SystemTime::UNIX_EPOCH + Duration::from_secs(used),
            path: "/cache/zuwai/x".into(),
        };
        vec![
            item(ItemKind::Blob, "aa", 28_231_000, 1_700_000_000),
            item(ItemKind::Mount, "go\nmod", 512, 1_700_000_001),
        ]
    }

    #[test]
    fn what_is_kept_is_listed() {
        let items = Items { items: items(), total_bytes: 28_231_512 };
        assert_eq!(
            items.table(),
            "KIND     SIZE      LAST USED             NAME\n\
             blob     28.2 MB   2023-11-14T22:13:20Z  aa\n\
             mount    512 B     2023-11-14T22:13:21Z  go\\nmod\n\
             28.2 MB in 2 things\n"
        );
        assert_eq!(Items::default().table(), "0 B in 0 things\n");
        let expected = json!({
            "items": [
                {"kind": "blob", "name": "aa", "size_bytes": 28_231_000, "last_used": "2023-11-14T22:13:20Z"},
                {"kind": "mount", "name": "go\nmod", "size_bytes": 512, "last_used": "2023-11-14T22:13:21Z"},
            ],
            "total_bytes": 28_231_512,
        });
        assert_eq!(items.json(), format!("{expected}\n"));
    }

    #[test]
    fn what_was_removed_is_listed() {
        let [removed, busy] = <[Item; 2]>::try_from(items()).expect("two");
        let pruned = Pruned {
            removed: vec![removed],
            removed_bytes: 28_231_000,
            kept_bytes: 512,
            busy: vec![busy],
        };
        assert_eq!(
            pruned.table(),
            "KIND     SIZE      LAST USED             NAME\n\
             blob     28.2 MB   2023-11-14T22:13:20Z  aa\n\
             in use, and kept: mount go\\nmod\n\
             28.2 MB in 1 thing removed, 512 B left\n"
        );
        let value: Value = serde_json::from_str(&pruned.json()).expect("JSON");
        assert_eq!(value["busy"][0]["kind"], "mount");
        assert_eq!(value["removed_bytes"], 28_231_000);
    }
}
