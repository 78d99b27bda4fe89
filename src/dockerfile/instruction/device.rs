//! `RUN --device`.

use super::super::character::to_lower;
use super::super::error::{Located, ParseErrorKind};
use super::super::source::{Spanned, Word};
use super::csv::split_fields;
use super::mount;

/// A device asked for by `RUN --device`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The device's name; may be empty.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
}

/// Reads the value: a name, `name=…` and `required[=…]`, separated by commas.
pub(super) fn parse(flag: &Word) -> Result<Spanned<Device>, Located> {
    let fields = split_fields(&flag.value)
        .ok_or((ParseErrorKind::FlagFields { flag: "device" }, flag.span))?;
    let mut value = Device { name: String::new(), required: false };
    for field in fields {
        add(&mut value, &field)
            .ok_or((ParseErrorKind::DeviceOption { option: field }, flag.span))?;
    }
    Ok(Spanned { value, span: flag.span })
}

fn add(device: &mut Device, field: &str) -> Option<()> {
    let (key, value) = match field.split_once('=') {
        Some((key, value)) => (to_lower(key), Some(value)),
        None => (to_lower(field), None),
    };
    match (key.as_str(), value) {
        ("required", None) => device.required = true,
        ("required", Some(value)) => device.required = mount::parse_boolean(value)?,
        ("name", Some(value)) if device.name.is_empty() => device.name = value.to_owned(),
        ("name", Some(_)) => return None,
        // The first other word is the name, also one with `=` in it (`vendor/class=name`).
        _ if device.name.is_empty() => device.name = field.to_owned(),
        _ => return None,
    }
    Some(())
}
