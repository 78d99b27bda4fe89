//! What one thread of a walk makes of an entry it met: compares, reads what the comparison asks for,
//! and notes the outcome.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::directory::OpenDirectory;
use super::worker::{Worker, entry_path};
use super::{content, io_error};
use crate::diff::{Comparison, Contents, LinkGroup, LinkName, Sighting, Verdict};
use crate::digest::Digest;
use crate::index::{NodeId, Row};
use crate::metadata::{FileKind, Metadata};
use crate::rootfs::{self, Operation, RootfsError};
use crate::xattr;

impl Worker<'_, '_> {
    /// Compares an entry with its row and notes what came of it. Returns whether it is (still)
    /// there.
    pub(super) fn judge(
        &mut self,
        directory: &OpenDirectory,
        name: &CStr,
        known: Option<NodeId>,
        now: &Metadata,
    ) -> Result<bool, RootfsError> {
        let index = self.walk.input.index;
        let rules = &self.walk.input.rules;
        let old = known.filter(|&id| !index.is_shadow(id)).map(|id| (id, index.metadata(id)));
        let comparison = match &old {
            Some((_, old)) => rules.compare(old, now),
            None => Comparison::Different,
        };
        if let Some((id, old)) = &old
            && old.kind == FileKind::Directory
            && now.kind != FileKind::Directory
        {
            self.found.replaced.push(*id);
        }
        let had_links = old.as_ref().is_some_and(|(_, old)| old.nlink > 1);
        let has_links = now.kind != FileKind::Directory && (now.nlink > 1 || had_links);
        if comparison != Comparison::Same {
            let is_unclear = comparison == Comparison::Unclear;
            let Some(contents) = self.read(directory, name, now, is_unclear)? else {
                return Ok(false);
            };
            let verdict = match (&old, known) {
                (Some((id, _)), _) if is_unclear => rules.settle(&index.row(*id), now, &contents),
                (Some(_), _) => Some(Verdict::Modified),
                // Nothing was ever known of the root: there is nothing it could differ from.
                (None, Some(NodeId::ROOT)) => Some(Verdict::Noted),
                (None, Some(_)) => Some(Verdict::Modified),
                (None, None) => Some(Verdict::Added),
            };
            if let Some(verdict) = verdict {
                let Contents { content, xattrs } = contents;
                let row = Row { metadata: *now, content, xattrs, shadow: false };
                let path = entry_path(directory, name);
                self.found.sightings.push(Sighting { path, verdict, row });
            }
        }
        if has_links {
            let name = match known {
                Some(id) => LinkName::Known(id),
                None => LinkName::New(entry_path(directory, name)),
            };
            let group = || LinkGroup { metadata: *now, names: Default::default() };
            self.walk.links.entry(now.inode()).or_insert_with(group).names.insert(name);
        }
        Ok(true)
    }

    /// Reads an entry's attributes and link target, and its content when asked to; `None` when it
    /// has vanished.
    fn read(
        &mut self,
        directory: &OpenDirectory,
        name: &CStr,
        now: &Metadata,
        with_content: bool,
    ) -> Result<Option<Contents>, RootfsError> {
        let rootfs = self.walk.input.rootfs;
        if with_content && rootfs.has_faults() {
            rootfs.fault(Operation::ReadFile, &entry_path(directory, name))?;
        }
        let is_file = with_content && now.kind == FileKind::Regular;
        let shared = (is_file && now.nlink > 1).then(|| {
            let place = self.walk.contents.entry(now.inode()).or_default();
            Arc::clone(place.value())
        });
        // Whoever comes by another name meanwhile waits for what is read here.
        let mut known = shared.as_ref().map(|shared| match shared.lock() {
            Ok(known) => known,
            // Written in one go: a panic elsewhere leaves it whole.
            Err(poisoned) => poisoned.into_inner(),
        });
        if let Some(contents) = known.as_deref().copied().flatten() {
            return Ok(Some(contents));
        }
        let result = if is_file && now.size > 0 {
            self.read_file(directory, name)
        } else {
            self.read_around(directory, name, now)
        };
        match result {
            Ok(contents) => {
                if let Some(known) = &mut known {
                    **known = Some(contents);
                }
                Ok(Some(contents))
            }
            Err((_, Errno::NOENT)) => Ok(None),
            Err((operation, errno)) => Err(io_error(operation, entry_path(directory, name), errno)),
        }
    }

    /// Reads everything but the content of a regular file.
    fn read_around(
        &mut self,
        directory: &OpenDirectory,
        name: &CStr,
        now: &Metadata,
    ) -> Result<Contents, (Operation, Errno)> {
        let content = match now.kind {
            FileKind::Symlink => {
                let target = rustix::fs::readlinkat(directory.fd.as_fd(), name, Vec::new());
                let target = target.map_err(|errno| (Operation::ReadLink, errno))?;
                Some(Digest::of(target.to_bytes()))
            }
            FileKind::Regular if now.size == 0 => Some(Digest::of(b"")),
            _ => None,
        };
        let xattrs = rootfs::read_xattrs(directory.fd.as_fd(), name, now.kind)
            .map_err(|errno| (Operation::ReadXattrs, errno))?;
        Ok(Contents { content, xattrs: xattr::digest(&xattrs) })
    }

    /// Reads a regular file.
    fn read_file(
        &mut self,
        directory: &OpenDirectory,
        name: &CStr,
    ) -> Result<Contents, (Operation, Errno)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rootfs::open_without_atime(directory.fd.as_fd(), name, flags)
            .map_err(|errno| (Operation::OpenFile, errno))?;
        self.found.counts.files_opened += 1;
        let (content, byte_count) = content::digest(file.as_fd(), &mut self.reading)
            .map_err(|errno| (Operation::ReadFile, errno))?;
        self.found.counts.bytes_hashed += byte_count;
        let xattrs = rootfs::open_file_xattrs(file.as_fd())
            .map_err(|errno| (Operation::ReadXattrs, errno))?;
        Ok(Contents { content: Some(content), xattrs: xattr::digest(&xattrs) })
    }
}
