//! The only writer to the terminal: log lines, events, errors with hints, timing tables, exit codes.
//!
//! Must not decide anything about a build; it renders what it is told.
