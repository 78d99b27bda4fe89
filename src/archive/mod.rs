//! The only reader of tar streams: hostile input ends here.
//!
//! Entries go to a `Rootfs`; must not know images or layers.
