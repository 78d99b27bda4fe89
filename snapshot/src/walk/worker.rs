//! One thread of a walk.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{OFlags, RawDir, Statx, StatxAttributes};
use rustix::io::Errno;

use super::directory::{OpenDirectory, Unopened};
use super::{Found, Walk, io_error, metadata, stat};
use crate::index::{NodeId, Siblings};
use crate::metadata::{FileKind, Metadata};
use crate::path::RootfsPath;
use crate::rootfs::{Operation, RootfsError};
use crate::scope::Extent;

/// What one `getdents64` may return: larger buffers save no calls in directories of common size.
const LISTING_BYTES: usize = 64 * 1024;

/// A directory with more names than this is looked at by several threads.
const LARGE_DIRECTORY: usize = 2048;

/// As many names of a large directory go to a thread at once.
const BATCH_NAMES: usize = 1024;

/// Something to do.
pub(super) enum Task {
    /// List a directory and look at everything in it and below.
    List(Unopened),
    /// Look at what a part of the scope names in a directory and below.
    Look(Unopened, Range<usize>),
    /// Look at names (each with its NUL) of a directory that is being listed.
    Names(Arc<OpenDirectory>, Vec<u8>),
}

/// How far below an entry one has to look.
enum Depth {
    /// Everything below.
    Whole,
    /// What this part of the scope names.
    Scoped(Range<usize>),
}

pub(super) struct Worker<'w, 'a> {
    pub(super) walk: &'w Walk<'a>,
    own: Vec<Task>,
    pub(super) found: Found,
    error: Option<RootfsError>,
    listing: Vec<MaybeUninit<u8>>,
    pub(super) reading: Vec<u8>,
}

/// Lets nobody wait for a thread that panicked.
struct FinishOnDrop<'w, 'a>(&'w Walk<'a>);

impl Drop for FinishOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.queue.finish();
    }
}

impl<'w, 'a> Worker<'w, 'a> {
    pub(super) fn new(walk: &'w Walk<'a>) -> Self {
        Self {
            walk,
            own: Vec::new(),
            found: Found::default(),
            error: None,
            listing: vec![MaybeUninit::uninit(); LISTING_BYTES],
            reading: Vec::new(),
        }
    }

    /// Looks at the root itself, from which all other work follows.
    pub(super) fn start(&mut self, root: &Statx, is_scoped: bool) {
        let result = self.look_at_root(root, is_scoped);
        self.note(result);
    }

    /// Works until nobody has anything left to do. Returns what was found, and the first path, in
    /// order, that could not be looked at: going on after an error makes that the same every time.
    pub(super) fn run(mut self) -> (Found, Option<RootfsError>) {
        let _guard = FinishOnDrop(self.walk);
        while let Some(task) = self.walk.queue.next(&mut self.own) {
            let result = match task {
                Task::List(directory) => self.list(directory),
                Task::Look(directory, range) => self.look(directory, range),
                Task::Names(directory, names) => self.look_at_names(&directory, &names),
            };
            self.note(result);
            self.walk.queue.share(&mut self.own);
        }
        (self.found, self.error)
    }

    fn note(&mut self, result: Result<(), RootfsError>) {
        if let Err(error) = result {
            let is_first = self.error.as_ref().is_none_or(|known| error.path() < known.path());
            if is_first {
                self.error = Some(error);
            }
        }
    }

    fn look_at_root(&mut self, root: &Statx, is_scoped: bool) -> Result<(), RootfsError> {
        let path = RootfsPath::root();
        let now = metadata(root, RootfsPath::root)?;
        self.found.counts.entries_stated += 1;
        self.walk.seen.insert(NodeId::ROOT);
        let directory = Unopened::root();
        let handle = directory.open(
            self.walk.input.rootfs,
            OFlags::PATH,
            &self.walk.open_directories,
            Vec::new(),
        )?;
        let Some(handle) = handle else {
            return Err(io_error(Operation::OpenDirectory, path, Errno::NOENT));
        };
        self.judge(&handle, c".", Some(NodeId::ROOT), &now)?;
        let scope = self.walk.scope;
        let is_whole =
            scope.iter().any(|(path, extent)| path.is_root() && *extent == Extent::Subtree);
        if !is_scoped || is_whole {
            self.own.push(Task::List(Unopened::root()));
        } else {
            let first = scope.iter().take_while(|(path, _)| path.is_root()).count();
            self.own.push(Task::Look(Unopened::root(), first..scope.len()));
        }
        Ok(())
    }

    fn open(
        &mut self,
        directory: Unopened,
        purpose: OFlags,
    ) -> Result<Option<OpenDirectory>, RootfsError> {
        let ignored = self.walk.ignore.rules_in(&directory.path);
        let (path, node) = (directory.path.clone(), directory.node);
        let input = self.walk.input;
        let opened = directory.open(input.rootfs, purpose, &self.walk.open_directories, ignored)?;
        if opened.is_none() {
            self.found.vanished.push(path);
            self.found.removed.extend(node);
        }
        Ok(opened)
    }

    fn list(&mut self, directory: Unopened) -> Result<(), RootfsError> {
        let Some(mut directory) = self.open(directory, OFlags::RDONLY)? else {
            return Ok(());
        };
        let index = self.walk.input.index;
        directory.siblings = directory.node.map(|node| Siblings::of(index, node));
        self.found.counts.directories_listed += 1;
        let directory = Arc::new(directory);
        let mut buffer = std::mem::take(&mut self.listing);
        let result = self.list_into(&directory, &mut buffer);
        self.listing = buffer;
        self.leave(&directory);
        result
    }

    fn list_into(
        &mut self,
        directory: &Arc<OpenDirectory>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Result<(), RootfsError> {
        let inline_limit = if self.walk.thread_count > 1 { LARGE_DIRECTORY } else { usize::MAX };
        let mut listing = RawDir::new(directory.fd.as_fd(), buffer);
        let mut name_count = 0_usize;
        let mut batch = Vec::new();
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(|errno| {
                io_error(Operation::ReadDirectory, directory.path.clone(), errno)
            })?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            name_count += 1;
            if name_count <= inline_limit {
                let result = self.visit(directory, name, Depth::Whole);
                self.note(result);
                continue;
            }
            batch.extend_from_slice(name.to_bytes_with_nul());
            if name_count.is_multiple_of(BATCH_NAMES) {
                self.hand_out(directory, &mut batch);
            }
        }
        self.hand_out(directory, &mut batch);
        Ok(())
    }

    fn hand_out(&mut self, directory: &Arc<OpenDirectory>, batch: &mut Vec<u8>) {
        if !batch.is_empty() {
            directory.pending.fetch_add(1, Ordering::Relaxed);
            self.own.push(Task::Names(Arc::clone(directory), std::mem::take(batch)));
            self.walk.queue.share(&mut self.own);
        }
    }

    fn look_at_names(
        &mut self,
        directory: &Arc<OpenDirectory>,
        names: &[u8],
    ) -> Result<(), RootfsError> {
        for name in names.split_inclusive(|&byte| byte == 0) {
            if let Ok(name) = CStr::from_bytes_with_nul(name) {
                let result = self.visit(directory, name, Depth::Whole);
                self.note(result);
            }
        }
        self.leave(directory);
        Ok(())
    }

    /// Ends one task's work in a listed directory; the last one finds out what is missing.
    fn leave(&mut self, directory: &OpenDirectory) {
        // Acquire and release, so that the last one sees all bits that the others set.
        if directory.pending.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let index = self.walk.input.index;
        let Some(node) = directory.node else { return };
        if directory.met.load(Ordering::Relaxed) >= index.child_count(node) {
            return;
        }
        let missing = index.child_ids(node).filter(|&id| !self.walk.seen.contains(id));
        for id in missing {
            self.miss(directory, id);
        }
    }

    /// Notes that an entry of the index is not there.
    fn miss(&mut self, directory: &OpenDirectory, id: NodeId) {
        let index = self.walk.input.index;
        let is_ignored = directory.ignored.iter().any(|rule| rule.takes(index.name(id)));
        if !index.is_shadow(id) && !is_ignored {
            self.found.removed.push(id);
        }
    }

    /// Looks at what the scope names in a directory.
    fn look(&mut self, directory: Unopened, range: Range<usize>) -> Result<(), RootfsError> {
        let depth = directory.path.components().count();
        let Some(directory) = self.open(directory, OFlags::PATH)? else {
            return Ok(());
        };
        let directory = Arc::new(directory);
        let scope = self.walk.scope;
        let mut start = range.start;
        while start < range.end {
            // The entry itself comes first, then what is below it.
            let Some((path, extent)) = scope.get(start) else { break };
            let below = scope.get(start + 1..range.end).unwrap_or_default();
            let end =
                start + 1 + below.iter().take_while(|(other, _)| other.starts_with(path)).count();
            debug_assert_eq!(path.components().count(), depth + 1, "a scope is closed upwards");
            if let Some(name) = path.file_name().and_then(|name| CString::new(name).ok()) {
                let depth = match extent {
                    Extent::Entry => Depth::Scoped(start + 1..end),
                    Extent::Subtree => Depth::Whole,
                };
                let result = self.visit_scoped(&directory, &name, depth);
                self.note(result);
            }
            start = end;
        }
        Ok(())
    }

    fn visit_scoped(
        &mut self,
        directory: &Arc<OpenDirectory>,
        name: &CStr,
        depth: Depth,
    ) -> Result<(), RootfsError> {
        self.visit(directory, name, depth)?;
        // Nobody lists this directory, so what is missing has to be noted here.
        if let Some(id) = self.known(directory, name)
            && !self.walk.seen.contains(id)
        {
            self.miss(directory, id);
        }
        Ok(())
    }

    fn known(&self, directory: &OpenDirectory, name: &CStr) -> Option<NodeId> {
        let index = self.walk.input.index;
        match &directory.siblings {
            Some(siblings) => siblings.get(index, name.to_bytes()),
            None => index.child(directory.node?, name.to_bytes()),
        }
    }

    /// Looks at one name in a directory.
    fn visit(
        &mut self,
        directory: &Arc<OpenDirectory>,
        name: &CStr,
        depth: Depth,
    ) -> Result<(), RootfsError> {
        let bytes = name.to_bytes();
        let known = self.known(directory, name);
        if directory.ignored.iter().any(|rule| rule.takes(bytes)) {
            self.meet(directory, known);
            return Ok(());
        }
        let input = self.walk.input;
        if input.rootfs.has_faults() {
            input.rootfs.fault(Operation::Stat, &directory.path.join_name(bytes))?;
        }
        let stat = match stat(directory.fd.as_fd(), name) {
            Ok(stat) => stat,
            // It vanished since the directory was listed, or the scope names what is gone.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => {
                return Err(io_error(Operation::Stat, directory.path.join_name(bytes), errno));
            }
        };
        self.found.counts.entries_stated += 1;
        if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            self.found.counts.mounts_skipped += 1;
            self.meet(directory, known);
            return Ok(());
        }
        let now = metadata(&stat, || directory.path.join_name(bytes))?;
        if now.kind == FileKind::Socket {
            // No layer can hold it, so for a layer it is not there.
            self.found.sockets.push(directory.path.join_name(bytes));
            return Ok(());
        }
        if now.kind == FileKind::Directory && self.walk.ignore.contains_inode(now.inode()) {
            self.meet(directory, known);
            return Ok(());
        }
        if !self.judge(directory, name, known, &now)? {
            return Ok(());
        }
        self.meet(directory, known);
        if now.kind == FileKind::Directory {
            self.descend(directory, bytes, known, &now, depth);
        }
        Ok(())
    }

    fn meet(&self, directory: &OpenDirectory, known: Option<NodeId>) {
        if let Some(id) = known {
            self.walk.seen.insert(id);
            directory.met.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn descend(
        &mut self,
        directory: &Arc<OpenDirectory>,
        name: &[u8],
        known: Option<NodeId>,
        now: &Metadata,
        depth: Depth,
    ) {
        let index = self.walk.input.index;
        let was = known.map(|id| (id, index.metadata(id)));
        let was = was.filter(|(_, metadata)| metadata.kind == FileKind::Directory);
        let node = was.map(|(id, _)| id);
        // One that was made, or moved here, has nothing in common with what the scope knew.
        let is_other = was.is_none_or(|(_, metadata)| metadata.inode() != now.inode());
        let path = directory.path.join_name(name);
        match depth {
            Depth::Scoped(range) if !is_other => {
                if !range.is_empty() {
                    self.own.push(Task::Look(Unopened::child(directory, path, node), range));
                }
            }
            Depth::Whole | Depth::Scoped(_) => {
                self.own.push(Task::List(Unopened::child(directory, path, node)));
            }
        }
    }
}

/// Returns the path of an entry, or of the directory itself for `.`.
pub(super) fn entry_path(directory: &OpenDirectory, name: &CStr) -> RootfsPath {
    match name.to_bytes() {
        b"." => directory.path.clone(),
        name => directory.path.join_name(name),
    }
}
