//! What unit tests share: those that cannot run where they are say so, and fail where everything was
//! promised, which is where `hack/test.sh` has set `ZUWAI_REQUIRE_ALL`.

#![expect(clippy::disallowed_methods, reason = "how strict tests are is said by the environment")]

use std::fmt;

/// Prints that something is not tested, and why.
///
/// # Panics
/// When everything was promised.
pub(crate) fn skip(what: impl fmt::Display, lacking: impl fmt::Display) {
    let everything = std::env::var_os("ZUWAI_REQUIRE_ALL").is_some_and(|value| !value.is_empty());
    assert!(!everything, "{what} cannot be tested here, although it has to: {lacking}");
    println!("skipped {what}: {lacking}");
}
