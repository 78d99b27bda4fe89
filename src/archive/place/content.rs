//! A regular file's content and metadata, through its descriptor.

use std::fs::File;
use std::io::{self, BufRead, Seek, SeekFrom, Write};

use rustix::fs::{Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use snapshot::{Digest, Digester, Metadata, Operation, RootfsError, RootfsPath, UnmappedOwner};

use super::{Contents, PlaceError};
use crate::archive::tar::{Entry, Reader, Segment};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Writes the current entry's content to `file`, holes as holes, hashing it on the way.
pub(super) fn copy<R: BufRead>(
    reader: &mut Reader<R>,
    mut file: Option<&File>,
    contents: Contents,
    path: &RootfsPath,
) -> Result<Option<Digest>, PlaceError> {
    let failed = |source| PlaceError::Write { path: path.clone(), source };
    let mut digester = (contents == Contents::Digest).then(Digester::new);
    let mut size: u64 = 0;
    let mut ends_in_hole = false;
    while let Some(segment) = reader.next_segment()? {
        match segment {
            Segment::Data(data) => {
                if let Some(digester) = &mut digester {
                    digester.update(data);
                }
                if let Some(file) = &mut file {
                    file.write_all(data).map_err(failed)?;
                }
                size += data.len() as u64;
                ends_in_hole = false;
            }
            Segment::Hole(length) => {
                if let Some(digester) = &mut digester {
                    update_with_zeros(digester, length);
                }
                size += length;
                if let Some(file) = &mut file {
                    file.seek(SeekFrom::Start(size)).map_err(failed)?;
                }
                ends_in_hole = true;
            }
        }
    }
    if let (true, Some(file)) = (ends_in_hole, file) {
        file.set_len(size).map_err(failed)?;
    }
    Ok(digester.map(Digester::finish))
}

fn update_with_zeros(digester: &mut Digester, mut length: u64) {
    while length > 0 {
        let part = usize::try_from(length).unwrap_or(usize::MAX).min(ZEROS.len());
        digester.update(ZEROS.get(..part).unwrap_or(&ZEROS));
        length -= part as u64;
    }
}

pub(super) fn set_owner(
    file: &File,
    (uid, gid): (u32, u32),
    path: &RootfsPath,
) -> Result<(), PlaceError> {
    let ids = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::fchown(file, Some(ids.0), Some(ids.1))
        .map_err(|errno| UnmappedOwner::explain(errno.into(), uid, gid))
        .map_err(at(Operation::SetOwner, path))
}

pub(super) fn set_mode(file: &File, entry: &Entry, path: &RootfsPath) -> Result<(), PlaceError> {
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(at(Operation::SetMode, path))
}

pub(super) fn set_xattr(
    file: &File,
    attribute: &[u8],
    value: &[u8],
    path: &RootfsPath,
) -> Result<(), PlaceError> {
    rustix::fs::fsetxattr(file, attribute, value, XattrFlags::empty())
        .map_err(at(Operation::SetXattr, path))
}

pub(super) fn set_mtime(file: &File, entry: &Entry, path: &RootfsPath) -> Result<(), PlaceError> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: entry.mtime.seconds,
            tv_nsec: entry.mtime.nanoseconds.into(),
        },
    };
    rustix::fs::futimens(file, &times).map_err(at(Operation::SetModificationTime, path))
}

pub(super) fn metadata(file: &File, path: &RootfsPath) -> Result<Metadata, PlaceError> {
    Metadata::of(file).map_err(at(Operation::Stat, path))
}

fn at<E: Into<io::Error>>(
    operation: Operation,
    path: &RootfsPath,
) -> impl FnOnce(E) -> PlaceError + '_ {
    move |error| RootfsError::Io { operation, path: path.clone(), source: error.into() }.into()
}
