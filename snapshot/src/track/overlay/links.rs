//! Files of the root with several names, changed through one of them.
//!
//! A step that writes to such a file has it copied into the upper layer under the name it used. That
//! the other names show the copy too is in the overlay's index: a directory with one more name of
//! each copy, which spells the handle of the file of the root. So each of the root's names is made a
//! name of the copy, as if the file had been written in place. Those that the step has removed or
//! moved since are removed or moved afterwards, like all others.

use std::os::fd::AsFd;

use crate::index::Index;
use crate::metadata::{FileKind, InodeId, Metadata};
use crate::path::RootfsPath;
use crate::rootfs::{Directory, Rootfs, RootfsError};
use crate::sys;

use super::error::OverlayError;
use super::{marks, upper};

/// `struct ovl_fb`: version, magic number, length of it all, flags, type of the handle, the file
/// system's id; then the handle.
const HEADER_BYTES: usize = 21;
const VERSION: u8 = 0;
const MAGIC: u8 = 0xfb;

/// A name that is made before it takes another's place.
const PASSING: &[u8] = b"link";

/// Makes all names of each copied file names of the copy; `aside` is an empty directory. Returns
/// those names.
pub(super) fn relink(
    root: &Rootfs,
    copies: &Directory,
    index: &Index,
    aside: &Directory,
) -> Result<Vec<RootfsPath>, OverlayError> {
    let mut relinked = Vec::new();
    for CopiedUp { name, original } in each(root, copies)? {
        marks::strip(copies, &name)?;
        let names = names_of(root, index, &original)?;
        for path in &names {
            replace(root, path, copies, &name, aside)?;
        }
        relinked.extend(names);
    }
    Ok(relinked)
}

/// A file of the root that was copied.
struct CopiedUp {
    /// What the copy is called in the index.
    name: Vec<u8>,
    original: Metadata,
}

/// Returns what the files were that have copies; `root` is on their file system.
pub(super) fn originals(root: &Rootfs, copies: &Directory) -> Result<Vec<Metadata>, OverlayError> {
    Ok(each(root, copies)?.into_iter().map(|copy| copy.original).collect())
}

fn each(root: &Rootfs, copies: &Directory) -> Result<Vec<CopiedUp>, OverlayError> {
    // Handles lead nowhere from a descriptor that cannot be read.
    let mount = root.open_dir(&RootfsPath::root())?.open_listing(b".")?;
    let mut found = Vec::new();
    for entry in copies.entries()? {
        let metadata = copies.metadata(&entry.name)?;
        // The mark of a copy that lost its last name, and room that the kernel works in.
        if entry.kind == FileKind::Directory
            || entry.name.starts_with(b"#")
            || metadata.is_none_or(|metadata| upper::is_whiteout(&metadata))
        {
            continue;
        }
        let (handle_type, handle) = parse(&entry.name).ok_or_else(|| {
            let path = copies.path().join_name(&entry.name);
            OverlayError::UnknownForm { what: "an entry of its index", path }
        })?;
        let file = sys::open_by_handle(mount.as_fd(), handle_type, &handle)
            .map_err(OverlayError::Handle)?;
        let original = Metadata::of(file.as_fd()).map_err(OverlayError::Handle)?;
        found.push(CopiedUp { name: entry.name, original });
    }
    Ok(found)
}

/// Returns type and bytes of the handle that a name of the index spells.
fn parse(name: &[u8]) -> Option<(i32, Vec<u8>)> {
    let text = std::str::from_utf8(name).ok()?;
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2));
    let bytes: Vec<u8> =
        pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<_>>()?;
    let (header, handle) = bytes.split_at_checked(HEADER_BYTES)?;
    let &[VERSION, MAGIC, length, _flags, handle_type, ..] = header else { return None };
    (usize::from(length) == bytes.len()).then(|| (i32::from(handle_type), handle.to_vec()))
}

/// Returns all paths of a file of the root.
fn names_of(root: &Rootfs, index: &Index, file: &Metadata) -> Result<Vec<RootfsPath>, RootfsError> {
    let known = index.paths_of(file.inode());
    let mut are_right = known.len() as u64 == u64::from(file.nlink);
    for path in &known {
        let found = root.metadata(path)?.map(|found| found.inode());
        are_right &= found == Some(file.inode());
    }
    if are_right {
        return Ok(known);
    }
    // Names that no snapshot has looked at yet, or ever does, or that are outside of the root.
    search(root, file.inode())
}

fn search(root: &Rootfs, inode: InodeId) -> Result<Vec<RootfsPath>, RootfsError> {
    let mut found = Vec::new();
    let mut pending = vec![RootfsPath::root()];
    while let Some(path) = pending.pop() {
        let directory = root.open_dir(&path)?;
        for entry in directory.entries()? {
            if entry.kind == FileKind::Directory {
                pending.push(path.join_name(&entry.name));
            } else if directory.metadata(&entry.name)?.is_some_and(|file| file.inode() == inode) {
                found.push(path.join_name(&entry.name));
            }
        }
    }
    Ok(found)
}

/// Makes `path` a name of the copy.
fn replace(
    root: &Rootfs,
    path: &RootfsPath,
    copies: &Directory,
    copy: &[u8],
    aside: &Directory,
) -> Result<(), RootfsError> {
    let Some((parent, name)) = path.parent().zip(path.file_name()) else { return Ok(()) };
    let parent = root.open_dir(&parent)?;
    let before = parent.metadata(b".")?;
    copies.hard_link(copy, aside, PASSING)?;
    aside.rename(PASSING, &parent, name)?;
    // Nothing was made or removed here as far as the step could see.
    match before {
        Some(before) => parent.set_mtime(b".", before.mtime),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_index_are_handles() {
        let name = b"00fb1d0001000000000000000000000000000000000e609a0062e91a38";
        let handle = vec![0x0e, 0x60, 0x9a, 0x00, 0x62, 0xe9, 0x1a, 0x38];
        assert_eq!(parse(name), Some((1, handle)));
        let other_version = b"01fb1d0001000000000000000000000000000000000e609a0062e91a38";
        let cut = b"00fb1d0001000000000000000000000000000000000e609a0062e91a";
        for bad in [&other_version[..], cut, b"00fb", b"", b"#800", b"0", b"\xff\xfe"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
