//! From the network into something that may block.

use std::io::{self, Write};

use tokio::runtime::{Handle, RuntimeFlavor};

/// Writes all of `bytes` to a sink that may wait for a disk or a consumer, without holding up the
/// other transfers of this runtime.
///
/// # Errors
/// Those of the sink.
pub fn write_blocking(sink: &mut (dyn Write + Send), bytes: &[u8]) -> io::Result<()> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(|| sink.write_all(bytes)),
        _ => sink.write_all(bytes),
    }
}
