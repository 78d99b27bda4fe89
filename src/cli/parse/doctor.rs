//! The command line of the doctor: that of the build that is meant, and registries to ask.

use super::{Invocation, Line, Purpose};
use crate::cli::error::Error;
use crate::image::Reference;

/// The flag that names a reference whose registry is asked.
const FLAG: &str = "--registry";

impl Line<'_> {
    pub(super) fn doctor(&self, words: &[String]) -> Result<Invocation, super::Failure> {
        let (texts, rest) = taken(words).map_err(|error| self.early(error))?;
        let mut references = Vec::new();
        for text in texts {
            let reference: Reference = text.parse().map_err(|source| {
                self.early(Error::Reference { flag: FLAG, value: text.clone(), source })
            })?;
            references.push(reference);
        }
        Ok(match self.build(&rest, Purpose::Examine)? {
            Invocation::Doctor(request) if !references.is_empty() => {
                Invocation::DoctorOfRegistries { request, references }
            }
            other => other,
        })
    }
}

/// Takes the doctor's own flag out of the flags of a build.
fn taken(words: &[String]) -> Result<(Vec<String>, Vec<String>), Error> {
    let (mut taken, mut rest) = (Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.split_once('=') {
            Some((FLAG, value)) => taken.push(value.to_owned()),
            None if word == FLAG => match words.next() {
                Some(value) => taken.push(value.clone()),
                None => {
                    return Err(Error::WrongValue {
                        flag: FLAG,
                        value: String::new(),
                        reason: "expected the reference of an image".to_owned(),
                    });
                }
            },
            _ => rest.push(word.clone()),
        }
    }
    Ok((taken, rest))
}
