//! Who hears of a layer while it is written.

use crate::digest::Digest;
use crate::path::RootfsPath;

/// Hears of what goes into a layer's tar, in its order, on the thread that writes it.
///
/// So nobody has to decompress a layer that was just written to learn what is in it. A closure that
/// takes a path and a digest hears of contents only.
pub trait Listener {
    /// The tar begins. Where the layer is begun again, nothing that was heard before counts.
    fn begin(&mut self) {}

    /// The header of the next entry, as it is in the tar: all blocks of it, the extended header's
    /// before it among them.
    fn header(&mut self, _header: &[u8]) {}

    /// The next bytes of that entry's file, without what pads them. There may be none yet of a file
    /// that turns out to change, which begins the layer again.
    fn bytes(&mut self, _bytes: &[u8]) {}

    /// The digest of a regular file's bytes, after these, of a symbolic link's target, before its
    /// header, or of a hard link's file, before its header too.
    fn content(&mut self, path: &RootfsPath, digest: &Digest);
}

impl<F: FnMut(&RootfsPath, &Digest)> Listener for F {
    fn content(&mut self, path: &RootfsPath, digest: &Digest) {
        self(path, digest);
    }
}
