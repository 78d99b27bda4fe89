//! Puts entries of an archive where they belong in a root file system.
//!
//! Owns what both extraction and unpacking of layers do to the disk: what is in the way goes,
//! parents are found or made, metadata is set in the one order that keeps it. Knows nothing of
//! whiteouts. The idea to hold in mind: a path is resolved to a directory handle, its last component
//! is never followed, and a directory's own metadata is set when nothing more is put into it.

mod content;
mod covered;
mod directories;
mod error;
mod parents;
mod placed;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::rc::Rc;

use rustix::io::Errno;
use snapshot::xattr::belongs_in_image;
use snapshot::{Digest, Directory, FileKind, Metadata, Rootfs, RootfsError, RootfsPath, Xattrs};

pub use error::PlaceError;
pub use placed::{Contents, DroppedXattrs, NotOnDisk, Ownership, PlaceOptions, Placed, State};

use self::covered::not_on_disk;
use self::directories::{DirectoryMetadata, PendingDirectories};
use self::parents::Parents;
pub(super) use self::parents::make_implied;
use super::beneath::Beneath;
use super::tar::{Entry, EntryKind, Reader};

/// Places entries, one after the other, in one root file system.
pub struct Placer {
    parents: Parents,
    directories: PendingDirectories,
    dropped_xattrs: BTreeMap<&'static str, DroppedXattrs>,
    options: PlaceOptions,
    /// Gets what cannot be where it belongs.
    beneath: Option<(Beneath, Box<Placer>)>,
}

impl Placer {
    /// Places into `rootfs`.
    #[must_use]
    pub fn new(rootfs: &Rootfs, options: PlaceOptions) -> Self {
        Self {
            parents: Parents::new(rootfs.clone(), options.ownership),
            directories: PendingDirectories::default(),
            dropped_xattrs: BTreeMap::new(),
            options,
            beneath: None,
        }
    }

    /// Places `entry`, whose content `reader` gives next.
    ///
    /// What is in the way is removed, a directory with all that is in it; only a directory where a
    /// directory is stays.
    ///
    /// # Errors
    /// See [`PlaceError`]. Something covered by a mount, protected, or a device that may not be
    /// made is no error but [`State::NotOnDisk`].
    pub fn place<R: BufRead>(
        &mut self,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<Placed, PlaceError> {
        let mut placed = Placed {
            path: entry.path.clone(),
            made: Vec::new(),
            replaced: false,
            state: State::Directory,
            content: None,
            xattrs: Xattrs::new(),
        };
        let Some((parent, name)) = entry.path.parent().zip(entry.path.file_name()) else {
            // The reader gives the root as a directory only.
            self.directories.insert(&RootfsPath::root(), DirectoryMetadata::of(entry));
            return Ok(placed);
        };
        let is_covered = |(tree, _): &(Beneath, _)| tree.cover(&entry.path).is_some();
        if self.beneath.as_ref().is_some_and(is_covered) {
            placed.state = State::NotOnDisk(NotOnDisk::OnMount);
        } else {
            match self.put(&parent, name, entry, reader, &mut placed) {
                Ok(state) => placed.state = state,
                Err(PlaceError::Rootfs(error)) => match not_on_disk(&error, &entry.kind) {
                    Some(reason) => {
                        placed.path = self.parents.rootfs().resolve_parent(&entry.path)?;
                        placed.state = State::NotOnDisk(reason);
                    }
                    None => return Err(error.into()),
                },
                Err(error) => return Err(error),
            }
        }
        if let State::NotOnDisk(reason) = placed.state {
            self.keep(reason, entry, reader, &mut placed)?;
        }
        Ok(placed)
    }

    /// Returns where `path` is, links in its parents followed; `None` when the directory it is in
    /// does not exist.
    ///
    /// # Errors
    /// What the kernel says on the way.
    pub fn locate(&mut self, path: &RootfsPath) -> Result<Option<RootfsPath>, PlaceError> {
        match path.parent().zip(path.file_name()) {
            None => Ok(Some(RootfsPath::root())),
            Some((parent, name)) => {
                Ok(self.parents.open(&parent)?.map(|parent| parent.path().join_name(name)))
            }
        }
    }

    /// Removes what is at `path`, as [`Placer::locate`] gave it, and everything below it. What is
    /// on another mount, or protected, stays.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_all(&mut self, path: &RootfsPath) -> Result<(), PlaceError> {
        self.beneath.as_mut().map_or(Ok(()), |(_, beneath)| beneath.remove_all(path))?;
        let Some((parent, name)) = path.parent().zip(path.file_name()) else { return Ok(()) };
        let Some(parent) = self.parents.open(&parent)? else { return Ok(()) };
        match self.clear(&parent, name, path) {
            Err(RootfsError::OnMount { .. } | RootfsError::Protected { .. }) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Sets the metadata of every directory that was placed, and hands each to `each` with what it
    /// is and the extended attributes it has after that.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn finish(
        mut self,
        each: &mut dyn FnMut(&RootfsPath, Metadata, Xattrs),
    ) -> Result<BTreeMap<&'static str, DroppedXattrs>, PlaceError> {
        if let Some((_, beneath)) = self.beneath.take() {
            beneath.finish(&mut |_, _, _| {})?;
        }
        let rootfs = self.parents.rootfs().clone();
        for (path, wanted) in std::mem::take(&mut self.directories).into_inside_out() {
            let directory = rootfs.open_dir(&path)?;
            if let Some((uid, gid)) = self.options.ownership.of(wanted.uid, wanted.gid) {
                directory.set_owner(b".", uid, gid)?;
            }
            directory.set_mode(b".", wanted.mode)?;
            let xattrs = self.set_xattrs(&path, &wanted.xattrs, |attribute, value| {
                directory.set_xattr(b".", attribute, value)
            })?;
            directory.set_mtime(b".", wanted.mtime)?;
            let metadata = directory.metadata(b".")?;
            each(&path, metadata.ok_or_else(|| PlaceError::Vanished(path.clone()))?, xattrs);
        }
        Ok(self.dropped_xattrs)
    }

    fn put<R: BufRead>(
        &mut self,
        parent: &RootfsPath,
        name: &[u8],
        entry: &Entry,
        reader: &mut Reader<R>,
        placed: &mut Placed,
    ) -> Result<State, PlaceError> {
        let parent = self.parents.open_or_make(parent, &mut placed.made);
        for made in &placed.made {
            if let Some(mtime) = self.options.implied_mtime {
                self.directories.insert(made, DirectoryMetadata::implied(mtime));
            }
        }
        let parent = parent?;
        placed.path = parent.path().join_name(name);
        let path = placed.path.clone();
        let replaced = &mut placed.replaced;
        let device = |kind, major, minor| (kind, (major, minor));
        let (kind, device) = match &entry.kind {
            EntryKind::Directory => {
                self.put_directory(&parent, name, &path, replaced)?;
                self.directories.insert(&path, DirectoryMetadata::of(entry));
                return Ok(State::Directory);
            }
            EntryKind::Regular => {
                let file = self.make(&parent, name, &path, replaced, Directory::create_file)?;
                placed.content = content::copy(reader, Some(&file), self.options.contents, &path)?;
                if let Some(owner) = self.options.ownership.of(entry.uid, entry.gid) {
                    content::set_owner(&file, owner, &path)?;
                }
                content::set_mode(&file, entry, &path)?;
                placed.xattrs = self.set_xattrs(&path, &entry.xattrs, |attribute, value| {
                    content::set_xattr(&file, attribute, value, &path)
                })?;
                content::set_mtime(&file, entry, &path)?;
                return Ok(State::OnDisk(content::metadata(&file, &path)?));
            }
            EntryKind::HardLink(target) => return self.put_link(target, &parent, name, placed),
            EntryKind::Symlink(target) => {
                self.make(&parent, name, &path, replaced, |parent, name| {
                    parent.symlink(target, name)
                })?;
                if self.options.contents == Contents::Digest {
                    placed.content = Some(Digest::of(target));
                }
                (FileKind::Symlink, (0, 0))
            }
            EntryKind::CharDevice { major, minor } => device(FileKind::CharDevice, *major, *minor),
            EntryKind::BlockDevice { major, minor } => {
                device(FileKind::BlockDevice, *major, *minor)
            }
            EntryKind::Fifo => device(FileKind::Fifo, 0, 0),
        };
        if kind != FileKind::Symlink {
            // No more than the owner may at first: the owner is not set yet.
            self.make(&parent, name, &path, replaced, |parent, name| {
                parent.make_node(name, kind, 0o600, device)
            })?;
        }
        if let Some((uid, gid)) = self.options.ownership.of(entry.uid, entry.gid) {
            parent.set_owner(name, uid, gid)?;
        }
        if kind != FileKind::Symlink {
            parent.set_mode(name, entry.mode)?;
        }
        placed.xattrs = self.set_xattrs(&path, &entry.xattrs, |attribute, value| {
            parent.set_xattr(name, attribute, value)
        })?;
        parent.set_mtime(name, entry.mtime)?;
        let metadata = parent.metadata(name)?;
        Ok(State::OnDisk(metadata.ok_or(PlaceError::Vanished(path))?))
    }

    fn put_directory(
        &mut self,
        parent: &Directory,
        name: &[u8],
        path: &RootfsPath,
        replaced: &mut bool,
    ) -> Result<(), RootfsError> {
        // Closed to others until its owner and mode are set, when it is complete.
        const MODE_WHILE_FILLED: u32 = 0o700;
        match parent.create_dir(name, MODE_WHILE_FILLED) {
            Err(error) if error.is_existing() => {}
            other => return other,
        }
        match parent.metadata(name)? {
            Some(found) if found.kind == FileKind::Directory => Ok(()),
            _ => {
                self.clear(parent, name, path)?;
                *replaced = true;
                parent.create_dir(name, MODE_WHILE_FILLED)
            }
        }
    }

    fn put_link(
        &mut self,
        target: &RootfsPath,
        parent: &Directory,
        name: &[u8],
        placed: &mut Placed,
    ) -> Result<State, PlaceError> {
        let path = placed.path.clone();
        let missing =
            || PlaceError::LinkTargetMissing { path: path.clone(), target: target.clone() };
        let (target_parent, target_name) =
            target.parent().zip(target.file_name()).ok_or_else(|| PlaceError::LinkToDirectory {
                path: path.clone(),
                target: target.clone(),
            })?;
        let target_parent: Rc<Directory> =
            self.parents.open(&target_parent)?.ok_or_else(missing)?;
        let found = target_parent.path().join_name(target_name);
        match target_parent.metadata(target_name)? {
            None => return Err(missing()),
            Some(metadata) if metadata.kind == FileKind::Directory => {
                return Err(PlaceError::LinkToDirectory { path, target: found });
            }
            Some(_) => {}
        }
        // What is in the way is removed first; the target must not be, or be in, it.
        if found.starts_with(&path) {
            return Err(PlaceError::LinkToItself { path, target: found });
        }
        self.make(parent, name, &path, &mut placed.replaced, |parent, name| {
            target_parent.hard_link(target_name, parent, name)
        })?;
        let metadata = parent.metadata(name)?.ok_or(PlaceError::Vanished(path))?;
        Ok(State::Linked { target: found, metadata })
    }

    /// Makes an entry, once more when something had to be removed for it.
    fn make<T>(
        &mut self,
        parent: &Directory,
        name: &[u8],
        path: &RootfsPath,
        replaced: &mut bool,
        make: impl Fn(&Directory, &[u8]) -> Result<T, RootfsError>,
    ) -> Result<T, RootfsError> {
        match make(parent, name) {
            Err(error) if error.is_existing() => {
                self.clear(parent, name, path)?;
                *replaced = true;
                make(parent, name)
            }
            other => other,
        }
    }

    fn clear(
        &mut self,
        parent: &Directory,
        name: &[u8],
        path: &RootfsPath,
    ) -> Result<(), RootfsError> {
        match parent.metadata(name)?.map(|metadata| metadata.kind) {
            None => return Ok(()),
            Some(FileKind::Directory | FileKind::Symlink) => {
                // Any path that was looked up may have led through it.
                self.parents.forget();
                self.directories.remove(path);
            }
            Some(_) => {}
        }
        parent.remove_all(name)
    }

    /// Sets those of `xattrs` that belong in an image; returns those that could be set.
    fn set_xattrs<E>(
        &mut self,
        path: &RootfsPath,
        xattrs: &Xattrs,
        set: impl Fn(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<Xattrs, PlaceError>
    where
        PlaceError: From<E>,
    {
        let mut done = Xattrs::new();
        for (attribute, value) in xattrs.iter().filter(|(name, _)| belongs_in_image(name)) {
            let Err(error) = set(attribute, value).map_err(PlaceError::from) else {
                done.insert(attribute.clone(), value.clone());
                continue;
            };
            match error.errno() {
                Some(reason @ (Errno::OPNOTSUPP | Errno::PERM)) => {
                    let dropped =
                        self.dropped_xattrs.entry(class(attribute)).or_insert_with(|| {
                            DroppedXattrs { entry_count: 0, first: path.clone(), reason }
                        });
                    dropped.entry_count += 1;
                }
                _ => return Err(error),
            }
        }
        Ok(done)
    }
}

/// Returns the name under which an attribute is reported; users' own are one class, because an
/// archive may hold any number of them.
fn class(attribute: &[u8]) -> &'static str {
    match attribute {
        b"security.capability" => "security.capability",
        b"system.posix_acl_access" => "system.posix_acl_access",
        b"system.posix_acl_default" => "system.posix_acl_default",
        _ => "user.*",
    }
}
