//! Blobs by digest on disk: spool, verified reads, and the work directory, which it owns.
