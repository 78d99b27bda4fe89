//! Trackers: whatever is done to a root, what they say of it gives the layer that reading everything
//! gives.
//!
//! A step is done by other processes ([`writer`]), on each kind of file system ([`ground`]), and
//! judged ([`trial`]) by an oracle that reads the whole tree the slow way, and by applying the layer
//! ([`applied`]).

mod applied;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod equivalence;
#[cfg(test)]
mod faults;
mod ground;
#[cfg(test)]
mod overlay;
#[cfg(test)]
mod pairs;
mod random;
mod steps;
#[cfg(test)]
mod table;
mod trial;
mod writer;

#[cfg(not(test))]
pub use {
    ground::FileSystem,
    random::{Mix, OPERATIONS},
    steps::{Counts, Tally, run, shrink},
    trial::{Trial, Way},
};
