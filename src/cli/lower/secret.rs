//! Secrets for commands.

use super::absolute;
use crate::build::options::{SecretPlace, SecretSource};
use crate::cli::env::{Environment, Facts};
use crate::cli::error::Error;
use crate::secret::SecretBytes;

const FLAG: &str = "--secret";

/// Lowers each `--secret`.
pub fn secrets(
    texts: &[String],
    environment: &Environment,
    facts: &Facts,
) -> Result<Vec<SecretSource>, Error> {
    texts.iter().map(|text| secret(text, environment, facts)).collect()
}

/// Reads `id=NAME[,src=FILE|,env=VARIABLE][,type=file|env]`, as Docker does.
fn secret(text: &str, environment: &Environment, facts: &Facts) -> Result<SecretSource, Error> {
    let wrong = |reason: &str| Error::WrongValue {
        flag: FLAG,
        value: text.to_owned(),
        reason: reason.to_owned(),
    };
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for field in text.split(',') {
        let (key, value) =
            field.split_once('=').ok_or_else(|| wrong("expected `KEY=VALUE` fields"))?;
        match key.to_ascii_lowercase().as_str() {
            "id" => id = Some(value),
            "src" | "source" => file = Some(value),
            "env" => variable = Some(value),
            "type" => kind = Some(value),
            _ => return Err(wrong("its fields are `id`, `src`, `env` and `type`")),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| wrong("it has no `id`"))?;
    // Docker's way to say it in two fields.
    let (file, variable) = match (kind, file, variable) {
        (Some("env"), Some(name), None) => (None, Some(name)),
        (Some("env"), None, variable) => (None, Some(variable.unwrap_or(id))),
        (Some("file"), file, None) => (Some(file.unwrap_or(id)), None),
        (None, file, variable) => (file, variable),
        (Some("env" | "file"), _, _) => return Err(wrong("`type` and the other fields disagree")),
        (Some(_), _, _) => return Err(wrong("its `type` is neither `file` nor `env`")),
    };
    let value = |name: &str| -> Result<Option<SecretPlace>, Error> {
        let value = environment.get(name)?;
        Ok(value.map(|value| SecretPlace::Value(SecretBytes::new(value))))
    };
    let place = match (file, variable) {
        (Some(_), Some(_)) => return Err(wrong("it has both `src` and `env`")),
        (Some(file), None) => SecretPlace::File(absolute(file, facts)),
        (None, Some(name)) => value(name)?
            .ok_or_else(|| wrong("the environment variable that it names is not set"))?,
        (None, None) => value(id)?.unwrap_or_else(|| SecretPlace::File(absolute(id, facts))),
    };
    Ok(SecretSource { id: id.to_owned(), place })
}
