//! `zuwai broker`: holds the credentials and alone talks to registries, for a build in another
//! container that has none.
//!
//! Owns the socket that builds ask on, and what they may ask. Must not know Dockerfiles, layers or
//! images: it passes single requests of the distribution API on, streaming both ways, and keeps
//! nothing but where uploads go on.
//!
//! The one idea to hold in mind: on the other side is code that nobody trusts, beside a build that
//! can be trusted and cannot be told from it by its user or address. So a request counts only with
//! the ticket of the build that came first ([`door`]), only for named repositories ([`Allowed`]),
//! and only in the forms that a build uses ([`ask`]); and an answer has no header that is not on a
//! list, above all no `Location` of a registry, which may be signed.

mod allow;
mod answer;
mod ask;
mod door;
mod error;
mod refusal;
mod serve;
#[cfg(test)]
mod tests;
mod uploads;

use std::path::PathBuf;

pub use allow::Allowed;
pub use error::BrokerError;
pub use serve::run;

use crate::build::options::RegistryAccess;

/// What a broker does.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerOptions {
    /// Where the Unix socket is made.
    pub listen: PathBuf,
    /// What may be asked for.
    pub allowed: Allowed,
    /// How registries are reached, credentials included.
    pub registry: RegistryAccess,
}
