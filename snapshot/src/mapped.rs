//! A store through shared memory: the one kind of write that no call announces.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use crate::sys::SharedPage;

/// Writes the first byte of a file through a shared mapping, after reading it there: for whoever
/// tries out who notices. The file is open for reading and writing and has 4096 bytes at least.
///
/// # Errors
/// When the file is shorter or cannot be mapped.
pub fn write_through_mapping(file: &File, byte: u8) -> io::Result<()> {
    if file.metadata()?.len() < 4096 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut page = SharedPage::map(file.as_fd())?;
    page.read();
    page.write(byte);
    Ok(())
}
