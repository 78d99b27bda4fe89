//! Image layers to a root file system, on `archive`; whiteouts; the first `Index` as it writes.
//!
//! Owns what a layer means: which of its entries take something away, what they take it from, and
//! that its bytes are the ones its DiffID names. Must not know registries or stores: a layer is
//! something that can be opened and read. The idea to hold in mind: whatever is recorded of an
//! entry (inode, times, content digest) was in hand when it was written, so that nothing is looked
//! at twice, but for directories and files with several names, which later writes change.

mod apply;
mod error;
mod headers;
mod layer;
mod stream;
mod whiteout;

use snapshot::{Index, Rootfs, RootfsPath};

pub use error::{LayerError, UnpackError};
pub use headers::{
    ContentsTable, HeaderEntry, HeaderIndex, HeaderKind, HeaderNotes, HeadersError, ImageHeaders,
    KEPT_FILE_BYTES, Kept, LayersAlone, Said, SaidEntry, TableError, TablePlace, follow_links,
    read_headers,
};
pub use layer::{LayerInput, OpenLayer};
pub use whiteout::WhiteoutError;

use crate::archive::{Beneath, DroppedXattrs, Limits, NotOnDisk};
use apply::Applier;
use stream::in_turn;

/// Most layers in one image. Docker takes 127, overlayfs 500.
pub const LAYER_COUNT: usize = 512;

/// How layers are unpacked.
#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {
    /// What each layer may cost; [`crate::archive::limits_for`] gives what suits a root.
    pub limits: Limits,
    /// Where what cannot be in the root, because something is mounted there or protected, is put.
    pub beneath: Option<Beneath>,
}

/// What unpacking did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnpackStats {
    /// Layers unpacked.
    pub layer_count: u64,
    /// Entries in them, whiteouts included.
    pub entry_count: u64,
    /// Whiteouts and opaque marks among them.
    pub whiteout_count: u64,
    /// Bytes read of the layers.
    pub compressed_bytes: u64,
    /// Bytes they decompressed to, each hashed once.
    pub tar_bytes: u64,
}

/// An unpacked image.
#[derive(Debug)]
pub struct Unpacked {
    /// Everything that the image holds, as it is on disk now.
    pub index: Index,
    /// What it took.
    pub stats: UnpackStats,
    /// What is in the image and the index (as shadow rows), but not on disk, in the order of the
    /// layers; a path may occur more than once and may be gone again.
    pub not_on_disk: Vec<(RootfsPath, NotOnDisk)>,
    /// Extended attributes that could not be set, by name (users' own as one).
    pub dropped_xattrs: Vec<(&'static str, DroppedXattrs)>,
}

impl Unpacked {
    /// Returns what no layer at all makes of a root that is as `index` says.
    pub fn nothing_on(index: Index) -> Self {
        let stats = UnpackStats::default();
        Self { index, stats, not_on_disk: Vec::new(), dropped_xattrs: Vec::new() }
    }

    /// Tells whether everything that the layers hold is on disk.
    pub fn is_whole(&self) -> bool {
        self.not_on_disk.is_empty() && self.dropped_xattrs.is_empty()
    }
}

/// Unpacks `layers`, lowest first, into `rootfs`.
///
/// Layers are opened, read, hashed and decompressed on threads of their own, at most two ahead of
/// the one that is written.
///
/// # Errors
/// See [`UnpackError`]. Half an image may be in `rootfs` then; nothing of it is to be trusted.
pub fn unpack(
    rootfs: &Rootfs,
    layers: Vec<LayerInput>,
    options: &UnpackOptions,
) -> Result<Unpacked, UnpackError> {
    unpack_onto(rootfs, Index::new(), layers, options)
}

/// Unpacks `layers` onto an image that is in `rootfs`, which is as `index` says; the index that is
/// returned is of all of it.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_onto(
    rootfs: &Rootfs,
    index: Index,
    layers: Vec<LayerInput>,
    options: &UnpackOptions,
) -> Result<Unpacked, UnpackError> {
    let mut applier = Applier::new(rootfs, index, options.beneath.as_ref());
    in_turn(layers, options.limits, |identity, stream| {
        applier.apply(stream, identity, options.limits)
    })?;
    applier.finish()
}
