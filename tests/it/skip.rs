//! Tests that cannot run where they are say so, and fail where everything was promised.
//!
//! `hack/test.sh` installs what the tests use and sets `ZUWAI_REQUIRE_ALL`: there a test that would
//! be skipped for want of a program, a base image or a right fails instead. What no script can
//! provide stays a reason: a network, and a machine of another kind.

#![expect(clippy::disallowed_methods, reason = "how strict tests are is said by the environment")]
#![expect(clippy::print_stdout, reason = "who runs the tests must see what was not tested")]

/// Why a test is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason<'a> {
    /// `hack/test.sh` should have provided this.
    Lacking(&'a str),
    /// There is no way from here to something outside of this machine.
    NoNetwork(&'a str),
    /// The machine is of a kind that the test is not about.
    OtherKind(&'a str),
}

/// Prints that a test is skipped, and why.
///
/// # Panics
/// When everything was promised and this is [`Reason::Lacking`].
pub fn skip(test: &str, reason: Reason<'_>) {
    let everything = std::env::var_os("ZUWAI_REQUIRE_ALL").is_some_and(|value| !value.is_empty());
    let text = match reason {
        Reason::Lacking(what) => {
            assert!(!everything, "{test} cannot run here, although it has to: {what}");
            what
        }
        Reason::NoNetwork(what) | Reason::OtherKind(what) => what,
    };
    println!("skipped {test}: {text}");
}

/// Tells whether owners, devices and namespaces can be made here; if not, the test is skipped.
pub fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip(test, Reason::Lacking("needs root"));
    }
    is_root
}
