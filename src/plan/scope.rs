//! Word expansion, and the arguments before the first `FROM`.

use std::collections::BTreeMap;

use super::error::{PlanError, PlanErrorKind};
use super::variables::Variables;
use crate::dockerfile::Word;
use crate::dockerfile::instruction::Dockerfile;
use crate::dockerfile::shell::{Expansion, Lex};

/// Expands words of one Dockerfile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expander(Lex);

impl Expander {
    pub(super) fn new(dockerfile: &Dockerfile) -> Self {
        Self(Lex::new(dockerfile.escape))
    }

    pub(super) fn word(&self, word: &Word, variables: &Variables) -> Result<String, PlanError> {
        self.expand(word, variables).map(|expansion| expansion.text)
    }

    /// Expands a word that may become several.
    pub(super) fn words(
        &self,
        word: &Word,
        variables: &Variables,
    ) -> Result<Vec<String>, PlanError> {
        self.expand(word, variables).map(|expansion| expansion.words)
    }

    fn expand(&self, word: &Word, variables: &Variables) -> Result<Expansion, PlanError> {
        self.0.expand(&word.value, |name| variables.get(name)).map_err(|source| {
            PlanErrorKind::Expand { word: word.value.clone(), source }.at(word.span)
        })
    }
}

/// Returns the variables that `FROM` lines expand with: `automatic` ones, then each global `ARG`
/// with the value given for it or its default, which sees the ones before it.
pub(super) fn global_variables(
    dockerfile: &Dockerfile,
    automatic: Variables,
    build_args: &BTreeMap<String, String>,
) -> Result<Variables, PlanError> {
    let expander = Expander::new(dockerfile);
    let mut variables = automatic;
    for definition in dockerfile.global_args.iter().flat_map(|arg| &arg.value.definitions) {
        let name = &definition.name.value;
        match (build_args.get(name), &definition.default) {
            (Some(given), _) => variables.set(name, given),
            (None, Some(default)) => {
                let value = expander.word(default, &variables)?;
                variables.set(name, &value);
            }
            (None, None) => {}
        }
    }
    Ok(variables)
}
