//! How flags are written: Go's pflag grammar, brought to one canonical form. Pure.
//!
//! The order of arguments, `=` or a space, shorthands alone or glued to values, deprecated names:
//! all of it ends here as `(long name, value)` pairs. What the values mean is decided later, so this
//! module knows of a flag only its names and whether it stands alone.

use thiserror::Error;

use super::go_values;

/// What the grammar has to know of one flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagShape {
    /// The long name, without dashes.
    pub long: String,
    /// The one-letter name.
    pub short: Option<char>,
    /// Whether it needs a value or is `true` when it stands alone.
    pub arity: Arity,
}

/// Whether a flag needs a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// `--flag VALUE` or `--flag=VALUE`.
    Value,
    /// `--flag` or `--flag=BOOL`; a separate word after it is not its value.
    Switch,
}

/// A name kept for old pipelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldName {
    /// What is still accepted, without dashes.
    pub name: &'static str,
    /// What it is called now.
    pub successor: &'static str,
    /// Which of the two counts when both are given.
    pub precedence: Precedence,
    /// Whether using it is worth a warning.
    pub notice: Notice,
}

/// Which of two names of one flag counts when both are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// The one given last.
    LastGiven,
    /// The old name, unless its value is empty; kaniko copies it over the new one after parsing.
    OldName,
}

/// Whether using an old name is worth a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Yes, naming the successor.
    Warn,
    /// No: kaniko knows no other name here.
    Silent,
}

/// Arguments in canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spelled {
    /// Long name and value of each flag, in the order in which they count: a later one wins.
    pub flags: Vec<(String, String)>,
    /// Words that belong to no flag.
    pub positionals: Vec<Positional>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// A word that belongs to no flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positional {
    /// The word.
    pub text: String,
    /// The switch right before it, when the word reads like its value.
    pub after_switch: Option<String>,
}

/// Why arguments could not be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SpellingError {
    /// No flag of that long name.
    #[error("unknown flag `--{name}`")]
    UnknownFlag {
        /// The name as typed, without dashes and value.
        name: String,
        /// A known flag that looks much like it.
        similar: Option<String>,
    },
    /// No flag of that one-letter name.
    #[error("unknown shorthand flag `{letter}` in `{argument}`")]
    UnknownShorthand {
        /// The letter.
        letter: char,
        /// The whole argument.
        argument: String,
        /// The long flag that was probably meant.
        similar: Option<String>,
    },
    /// The arguments end where a value should be.
    #[error("flag `{flag}` needs a value")]
    MissingValue {
        /// The flag as typed.
        flag: String,
    },
    /// Dashes that start no flag.
    #[error("`{argument}` is not a flag")]
    BadSyntax {
        /// The whole argument.
        argument: String,
    },
}

/// Reads `arguments` (without the program's name) against the flags that exist.
///
/// # Errors
/// The first argument that pflag would refuse too.
pub fn read(
    arguments: &[String],
    shapes: &[FlagShape],
    old_names: &[OldName],
) -> Result<Spelled, SpellingError> {
    let mut reader = Reader { shapes, old_names, spelled: Spelled::default(), overriding: vec![] };
    let mut rest = arguments;
    let mut last_switch = None;
    while let Some((argument, after)) = rest.split_first() {
        rest = after;
        let switch_before = last_switch.take();
        if argument == "--" {
            for text in rest {
                reader
                    .spelled
                    .positionals
                    .push(Positional { text: text.clone(), after_switch: None });
            }
            break;
        } else if let Some(body) = argument.strip_prefix("--") {
            (rest, last_switch) = reader.long(argument, body, rest)?;
        } else if argument.len() > 1 && argument.starts_with('-') {
            rest = reader.short(argument, rest)?;
        } else {
            let looks_like_value = go_values::parse_bool(argument).is_ok();
            let after_switch = switch_before.filter(|_| looks_like_value);
            reader.spelled.positionals.push(Positional { text: argument.clone(), after_switch });
        }
    }
    reader.spelled.flags.append(&mut reader.overriding);
    Ok(reader.spelled)
}

struct Reader<'a> {
    shapes: &'a [FlagShape],
    old_names: &'a [OldName],
    spelled: Spelled,
    /// Old names that beat their successor wherever it stands.
    overriding: Vec<(String, String)>,
}

impl Reader<'_> {
    /// Reads `--body`; returns what is left, and the flag's name if it stood alone as a switch.
    fn long<'b>(
        &mut self,
        argument: &str,
        body: &str,
        rest: &'b [String],
    ) -> Result<(&'b [String], Option<String>), SpellingError> {
        if body.starts_with('-') || body.starts_with('=') {
            return Err(SpellingError::BadSyntax { argument: argument.to_owned() });
        }
        let (name, glued) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let old = self.old_names.iter().find(|old| old.name == name).copied();
        let current = old.map_or(name, |old| old.successor);
        let Some(shape) = self.shapes.iter().find(|shape| shape.long == current) else {
            return Err(SpellingError::UnknownFlag {
                name: name.to_owned(),
                similar: self.similar(name),
            });
        };
        let arity = shape.arity;
        let (value, rest, switch) = match (glued, arity) {
            (Some(value), _) => (value, rest, None),
            (None, Arity::Switch) => ("true".to_owned(), rest, Some(name.to_owned())),
            (None, Arity::Value) => match rest.split_first() {
                Some((value, after)) => (value.clone(), after, None),
                None => return Err(SpellingError::MissingValue { flag: format!("--{name}") }),
            },
        };
        match old {
            Some(old) => self.old_name(old, value),
            None => self.spelled.flags.push((current.to_owned(), value)),
        }
        Ok((rest, switch))
    }

    fn old_name(&mut self, old: OldName, value: String) {
        if old.notice == Notice::Warn {
            let warning = format!("Flag --{} is deprecated. Use: --{}", old.name, old.successor);
            if !self.spelled.warnings.contains(&warning) {
                self.spelled.warnings.push(warning);
            }
        }
        match old.precedence {
            Precedence::LastGiven => self.spelled.flags.push((old.successor.to_owned(), value)),
            Precedence::OldName if value.is_empty() => {
                // kaniko keeps an empty old value apart and then ignores it, but a later empty one
                // takes back an earlier one.
                self.overriding.retain(|(name, _)| name != old.successor);
            }
            Precedence::OldName => self.overriding.push((old.successor.to_owned(), value)),
        }
    }

    /// Reads `-abc`, `-c=value`, `-cvalue` or `-c value`; returns what is left.
    fn short<'b>(
        &mut self,
        argument: &str,
        rest: &'b [String],
    ) -> Result<&'b [String], SpellingError> {
        let mut letters = argument.get(1..).unwrap_or_default();
        while let Some(letter) = letters.chars().next() {
            let after = letters.get(letter.len_utf8()..).unwrap_or_default();
            let Some(shape) = self.shapes.iter().find(|shape| shape.short == Some(letter)) else {
                return Err(SpellingError::UnknownShorthand {
                    letter,
                    argument: argument.to_owned(),
                    similar: self.long_with_one_dash(argument),
                });
            };
            let (name, arity) = (shape.long.clone(), shape.arity);
            // pflag wants something behind the `=`: `-c=` alone has the value `=`.
            let glued = after.strip_prefix('=').filter(|value| !value.is_empty());
            match (glued, arity) {
                (Some(value), _) => {
                    self.spelled.flags.push((name, value.to_owned()));
                    return Ok(rest);
                }
                (None, Arity::Switch) => {
                    self.spelled.flags.push((name, "true".to_owned()));
                    letters = after;
                }
                (None, Arity::Value) if !after.is_empty() => {
                    if let Some(meant) = self.long_with_one_dash(argument) {
                        self.spelled.warnings.push(format!(
                            "`{argument}` was read as `-{letter}` with the value `{after}`; \
                             write `--{meant}` with two dashes if that was meant"
                        ));
                    }
                    self.spelled.flags.push((name, after.to_owned()));
                    return Ok(rest);
                }
                (None, Arity::Value) => {
                    let Some((value, rest)) = rest.split_first() else {
                        return Err(SpellingError::MissingValue { flag: format!("-{letter}") });
                    };
                    self.spelled.flags.push((name, value.clone()));
                    return Ok(rest);
                }
            }
        }
        Ok(rest)
    }

    /// Returns the long flag that `argument` would be with one more dash.
    fn long_with_one_dash(&self, argument: &str) -> Option<String> {
        let body = argument.trim_start_matches('-');
        let name = body.split_once('=').map_or(body, |(name, _)| name);
        let known = self.shapes.iter().any(|shape| shape.long == name)
            || self.old_names.iter().any(|old| old.name == name);
        (known && name.chars().count() > 1).then(|| name.to_owned())
    }

    /// Returns the flag whose name is nearest to `name`, if one is near.
    fn similar(&self, name: &str) -> Option<String> {
        // "--flag value" in one argument: the flag is right, the spelling is not.
        if let Some((flag, _)) = name.split_once(' ')
            && self.shapes.iter().any(|shape| shape.long == flag)
        {
            return Some(flag.to_owned());
        }
        const NEAR: f64 = 0.8; // clap's own threshold for its suggestions
        self.shapes
            .iter()
            .map(|shape| (strsim::jaro_winkler(name, &shape.long), &shape.long))
            .filter(|(nearness, _)| *nearness > NEAR)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, long)| long.clone())
    }
}

#[cfg(test)]
mod tests;
