//! Dockerfile text to typed instructions with spans, as BuildKit reads it.
//!
//! Pure: takes bytes, returns values; no IO, no clock, no environment.
