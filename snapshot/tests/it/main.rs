//! Snapshots of real directories.
#![expect(clippy::print_stderr, reason = "what cannot be unmounted is said")]

mod changes;
mod counts;
mod faults;
mod fixture;
mod oracle;
mod property;
mod scopes;
mod skip;
mod special;
mod track;
mod tracked;
