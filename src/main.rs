//! The `zuwai` program: parse, run, exit code.

fn main() {}
