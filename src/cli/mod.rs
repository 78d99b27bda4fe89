//! What was typed and what is meant by it: arguments, environment, and their lowering to options.
//!
//! Owns every flag, its kaniko spelling, and the only reader of the environment ([`env`]).
//! Must not do work: it ends in a `BuildOptions` value that `build` carries out.
