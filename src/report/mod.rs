//! The only writer to the terminal: log lines, events, errors with hints, timing tables.
//!
//! Must not decide anything about a build; it renders what it is told. [`event`] and [`fault`] are
//! the low half, which every phase may use; the rest is used by `main` and `cli`.

mod bars;
mod bridge;
mod display;
pub mod event;
mod failure;
pub mod fault;
pub mod line;
mod narrate;
mod progress;
pub mod settings;
mod terminal;
mod timing;

pub use terminal::Terminal;
