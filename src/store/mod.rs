//! Blobs by digest on disk: spool, verified commits, and the work directory, which it owns.
//!
//! One build has one directory below the work directory, locked while the build lives; what a
//! killed build left behind is found by its free lock and removed by the next one. Blobs are
//! written to a spool file, hashed on the way by us or by whoever writes them, and get their name
//! only when digest and size are what was promised. What outlives builds is beside them
//! ([`KeptStore`]), or in a directory that many share ([`SharedStore`]). Must not know registries or images.

mod arrival;
mod blob;
mod kept;
mod layout;
mod passing;
mod shared;
mod workspace;

pub use arrival::{ArrivingBlob, ArrivingReader, NotArrived};
pub use blob::{Blob, BlobWriter, CheckedBlobWriter, ExpectedBlob};
pub use kept::KeptStore;
pub use layout::{Layout, LayoutError, LayoutManifest};
pub use passing::{PassingReader, PassingWriter, passing_blob};
pub use shared::{
    Access, CacheVolume, CacheVolumes, Documents, HeldTree, Item, ItemKind, Items, PathLock,
    Pruned, SHARED_FOLDER, SharedBlobWriter, SharedScratch, SharedStore, SharedTree, Sharing,
    TREE_DEPTH, TreeDraft, Trouble, VolumeError, Wish,
};
pub use workspace::{Store, StoreError};
