//! Instructions and resolved bases to what will happen: stage graph, steps, configs, history.
//!
//! Pure: the same Dockerfile, arguments and bases give the same plan.
