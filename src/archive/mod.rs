//! The only reader of tar streams: hostile input ends here.
//!
//! Owns decompression, the strict reader of the format and the extraction of entries; base layers,
//! contexts and `ADD` all come through it. Must not know images or layers. The idea to hold in
//! mind: bytes from outside either have one meaning, on which GNU tar, Python and Go agree, or they
//! are an error that names the entry.

mod beneath;
mod decompress;
mod extract;
mod limits;
mod place;
mod sniff;
mod tar;

pub use beneath::Beneath;
pub use decompress::{Format, StreamLimitError, decompress};
pub use extract::{
    ExtractError, ExtractOptions, ExtractTo, Extracted, Touched, extract, extract_to, limits_for,
};
pub use limits::{Limits, RatioLimit};
pub use place::{
    Contents, DroppedXattrs, NotOnDisk, Ownership, PlaceError, PlaceOptions, Placed, Placer, State,
};
pub use sniff::is_tar;
pub use tar::{
    BlockError, Entry, EntryKind, EntryProblem, PaxError, Reader, Segment, SparseError, TarError,
    entry_path, symlink_target,
};

#[cfg(test)]
#[path = "../../tests/it/tarball.rs"]
mod tarball;
