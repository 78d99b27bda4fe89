//! File handles: names of files that hold whatever a file is called.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `MAX_HANDLE_SZ`.
const MAX_HANDLE_BYTES: usize = 128;

/// `struct file_handle` with room for the longest one.
#[repr(C)]
struct RawHandle {
    handle_bytes: u32,
    handle_type: i32,
    handle: [u8; MAX_HANDLE_BYTES],
}

/// Returns type and bytes of the handle of `name` in `directory`, with an empty name that of
/// `directory` itself. Symbolic links are not followed.
///
/// # Errors
/// `EOPNOTSUPP` on file systems without handles.
pub(crate) fn name_to_handle(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<(i32, Vec<u8>)> {
    let mut handle = RawHandle {
        handle_bytes: MAX_HANDLE_BYTES as u32,
        handle_type: 0,
        handle: [0; MAX_HANDLE_BYTES],
    };
    let mut mount_id = 0;
    // SAFETY: the descriptor is open while it is borrowed, the name NUL-terminated; the kernel writes
    // an `int` and at most `handle_bytes` bytes after the handle's two numbers, for which there is
    // room. `RawHandle` begins as `file_handle` does, and is as long as it says.
    let result = unsafe {
        libc::name_to_handle_at(
            directory.as_raw_fd(),
            name.as_ptr(),
            (&raw mut handle).cast::<libc::file_handle>(),
            &raw mut mount_id,
            libc::AT_EMPTY_PATH,
        )
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    let length = (handle.handle_bytes as usize).min(MAX_HANDLE_BYTES);
    Ok((handle.handle_type, handle.handle.get(..length).unwrap_or_default().to_vec()))
}

/// Opens the file of a handle, without access to its content (`O_PATH`). `mount` is any file of the
/// same file system.
///
/// # Errors
/// `ESTALE` when there is no such file any more, `EPERM` without CAP_DAC_READ_SEARCH.
pub(crate) fn open_by_handle(
    mount: BorrowedFd<'_>,
    handle_type: i32,
    bytes: &[u8],
) -> io::Result<OwnedFd> {
    let mut handle = RawHandle {
        handle_bytes: u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        handle_type,
        handle: [0; MAX_HANDLE_BYTES],
    };
    match handle.handle.get_mut(..bytes.len()) {
        Some(room) => room.copy_from_slice(bytes),
        None => return Err(io::ErrorKind::InvalidInput.into()),
    }
    // SAFETY: the descriptor is open while it is borrowed; the kernel reads the handle's two numbers
    // and as many bytes as the first says, all of which are there.
    let fd = unsafe {
        libc::open_by_handle_at(
            mount.as_raw_fd(),
            (&raw mut handle).cast::<libc::file_handle>(),
            libc::O_PATH | libc::O_CLOEXEC,
        )
    };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just returned this descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_handle_leads_back_to_its_file() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("f"), "").expect("a file");
        let at = File::open(directory.path()).expect("it is there");
        let (handle_type, bytes) = match name_to_handle(at.as_fd(), c"f") {
            Ok(handle) => handle,
            Err(error) => return crate::tests::skip("file handles", error),
        };
        let inode = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).map(|stat| stat.st_ino).ok();
        match open_by_handle(at.as_fd(), handle_type, &bytes) {
            Ok(file) => {
                let expected = File::open(directory.path().join("f")).expect("it is there");
                assert_eq!(inode(file.as_fd()), inode(expected.as_fd()));
                drop(expected);
                drop(file);
                std::fs::remove_file(directory.path().join("f")).expect("it is there");
                let gone = open_by_handle(at.as_fd(), handle_type, &bytes).err();
                assert_eq!(gone.and_then(|error| error.raw_os_error()), Some(libc::ESTALE));
            }
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            }
        }
        let long = [0; MAX_HANDLE_BYTES + 1];
        let error = open_by_handle(at.as_fd(), 1, &long).err();
        assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::InvalidInput));
    }
}
