//! The only writer to the terminal: log lines, events, errors with hints, timing tables, exit codes.
//!
//! Must not decide anything about a build; it renders what it is told. [`event`] and [`fault`] are
//! the low half, which every phase may use; the rest is used by `main` alone.

pub mod event;
pub mod fault;
