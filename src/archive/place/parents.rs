//! The directories that entries go into: found once, open while they are used.

use std::collections::VecDeque;
use std::rc::Rc;

use snapshot::{Directory, NewDirectory, Rootfs, RootfsError, RootfsPath};

use super::Ownership;

/// How many directories stay open. Archives are written directory by directory, so that a few
/// suffice; and descriptors are few.
const OPEN_COUNT: usize = 32;

/// Makes the directory `path`, free of links, and what is missing above it: directories that an
/// archive implies but does not hold, as Docker and containerd make them. Returns those it made.
pub(in crate::archive) fn make_implied(
    rootfs: &Rootfs,
    path: &RootfsPath,
    ownership: Ownership,
) -> Result<Vec<RootfsPath>, RootfsError> {
    const MODE: u32 = 0o755;
    if let Some((uid, gid)) = ownership.of(0, 0) {
        return rootfs.create_dir_all(path, &NewDirectory { mode: MODE, uid, gid });
    }
    let mut missing = Vec::new();
    for directory in std::iter::once(path.clone()).chain(path.ancestors()) {
        if rootfs.metadata(&directory)?.is_some() {
            break;
        }
        missing.push(directory);
    }
    missing.reverse();
    for directory in &missing {
        rootfs.create_dir(directory, MODE)?;
    }
    Ok(missing)
}

/// Directories by the paths that entries use for them.
pub(super) struct Parents {
    rootfs: Rootfs,
    ownership: Ownership,
    /// Used last comes first.
    open: VecDeque<(RootfsPath, Rc<Directory>)>,
}

impl Parents {
    pub(super) fn new(rootfs: Rootfs, ownership: Ownership) -> Self {
        Self { rootfs, ownership, open: VecDeque::new() }
    }

    pub(super) fn rootfs(&self) -> &Rootfs {
        &self.rootfs
    }

    /// Returns the directory `path`, links followed; `None` when there is none.
    pub(super) fn open(&mut self, path: &RootfsPath) -> Result<Option<Rc<Directory>>, RootfsError> {
        if let Some(known) = self.known(path) {
            return Ok(Some(known));
        }
        if let Some(directory) = self.step_down(path) {
            return Ok(Some(self.keep(path, directory)));
        }
        let resolved = self.rootfs.resolve(path)?;
        match self.rootfs.open_dir(&resolved) {
            Ok(directory) => Ok(Some(self.keep(path, directory))),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the directory `path`, links followed; what is missing is made and added to `made`.
    pub(super) fn open_or_make(
        &mut self,
        path: &RootfsPath,
        made: &mut Vec<RootfsPath>,
    ) -> Result<Rc<Directory>, RootfsError> {
        if let Some(directory) = self.open(path)? {
            return Ok(directory);
        }
        let resolved = self.rootfs.resolve(path)?;
        made.extend(make_implied(&self.rootfs, &resolved, self.ownership)?);
        let directory = self.rootfs.open_dir(&resolved)?;
        Ok(self.keep(path, directory))
    }

    /// Forgets every directory: a path may lead elsewhere now.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    fn known(&mut self, path: &RootfsPath) -> Option<Rc<Directory>> {
        let index = self.open.iter().position(|(known, _)| known == path)?;
        let used = self.open.remove(index)?;
        let directory = Rc::clone(&used.1);
        self.open.push_front(used);
        Some(directory)
    }

    /// Opens `path` in its parent, where that is open and `path` is no link: the usual case, and
    /// one call.
    fn step_down(&mut self, path: &RootfsPath) -> Option<Directory> {
        let parent = self.known(&path.parent()?)?;
        // Whatever is wrong, the long way finds it again.
        parent.open_dir(path.file_name()?).ok()
    }

    fn keep(&mut self, path: &RootfsPath, directory: Directory) -> Rc<Directory> {
        let directory = Rc::new(directory);
        self.open.truncate(OPEN_COUNT - 1);
        self.open.push_front((path.clone(), Rc::clone(&directory)));
        directory
    }
}
