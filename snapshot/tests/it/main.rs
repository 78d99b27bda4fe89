//! Snapshots of real directories.
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

mod changes;
mod counts;
mod faults;
mod fixture;
mod oracle;
mod property;
mod scopes;
mod special;
mod track;
mod tracked;
