//! Mount points that a RUN needs and an image may not have: made before, taken away after.
//!
//! What is made here is no change of the image: it is removed again, found by device and inode,
//! and the times of its directories are put back. What the step made of it is kept: a directory
//! with something in it, a file with content.

use std::io::Write;

use snapshot::{FileKind, InodeId, Metadata, NewDirectory, Rootfs, RootfsError, RootfsPath};

use super::step_mount::StepMount;
use super::{PipeFile, SandboxError};

/// The directories that are mounted over.
const DIRECTORIES: [&str; 3] = ["proc", "dev", "sys"];

/// Files that are mounted over with the machine's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostFile {
    ResolvConf,
    Hosts,
}

const FILES: [(HostFile, &str); 2] =
    [(HostFile::ResolvConf, "etc/resolv.conf"), (HostFile::Hosts, "etc/hosts")];

/// The mount points of one step.
#[derive(Debug, Default)]
pub(super) struct Stubs {
    /// What was made, parents first.
    made: Vec<Stub>,
    covers: Vec<(HostFile, RootfsPath)>,
    places: Vec<MountPlace>,
}

/// Where something that the Dockerfile mounts goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountPlace {
    /// The target, links resolved.
    pub path: RootfsPath,
    /// It is inside of something that is mounted before it.
    pub is_nested: bool,
    /// The mode of what the image has there.
    pub mode: Option<u32>,
}

#[derive(Debug)]
struct Stub {
    path: RootfsPath,
    inode: InodeId,
    kind: FileKind,
    content: Content,
}

/// What a stub holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Nothing: once there is something, the step put it there.
    Nothing,
    /// What we put there.
    Ours,
}

impl Stubs {
    /// Makes what is missing of the mount points.
    pub fn make(rootfs: &Rootfs, mounts: &[StepMount]) -> Result<Self, SandboxError> {
        let mut stubs = Self::default();
        let made = stubs.make_all(rootfs).and_then(|()| stubs.make_targets(rootfs, mounts));
        match made {
            Ok(()) => Ok(stubs),
            Err(error) => {
                // The first error is the one to tell; this one would only follow from it.
                if let Err(second) = stubs.remove(rootfs) {
                    tracing::debug!(%second, "mount points left behind");
                }
                Err(error)
            }
        }
    }

    /// Makes the files of a step in `/dev/pipes` of the root that is there.
    pub fn make_pipes(rootfs: &Rootfs, pipes: &[PipeFile]) -> Result<Self, SandboxError> {
        let mut stubs = Self::default();
        match stubs.make_all_pipes(rootfs, pipes) {
            Ok(()) => Ok(stubs),
            Err(error) => {
                if let Err(second) = stubs.remove(rootfs) {
                    tracing::debug!(%second, "heredoc files left behind");
                }
                Err(error)
            }
        }
    }

    fn make_all_pipes(&mut self, rootfs: &Rootfs, pipes: &[PipeFile]) -> Result<(), SandboxError> {
        let directory = RootfsPath::new("dev/pipes")?;
        if !pipes.is_empty() && rootfs.metadata(&directory)?.is_none() {
            self.make_directory(rootfs, &directory)?;
        }
        for pipe in pipes {
            let path = directory.join(&pipe.name)?;
            let mut file = keeping_times(rootfs, &path, || rootfs.create_file(&path))?;
            self.remember(rootfs, path.clone(), Content::Ours)?;
            file.write_all(&pipe.content)
                .map_err(|source| SandboxError::PipeFile { name: pipe.name.clone(), source })?;
            rootfs.set_mode(&path, 0o755)?;
        }
        Ok(())
    }

    /// Returns the files to mount over and where they are, links resolved.
    pub fn covers(&self) -> impl Iterator<Item = (HostFile, &RootfsPath)> {
        self.covers.iter().map(|(file, path)| (*file, path))
    }

    /// Returns where each of the Dockerfile's mounts goes.
    pub fn places(&self) -> &[MountPlace] {
        &self.places
    }

    fn make_targets(&mut self, rootfs: &Rootfs, mounts: &[StepMount]) -> Result<(), SandboxError> {
        for mount in mounts {
            let path = rootfs.resolve(&mount.target)?;
            if path.is_root() {
                return Err(SandboxError::MountOnRoot { target: mount.target.clone() });
            }
            let is_kernels =
                DIRECTORIES.iter().any(|name| path.components().next() == Some(name.as_bytes()));
            if is_kernels || self.places.iter().any(|place| path.starts_with(&place.path)) {
                self.places.push(MountPlace { path, is_nested: true, mode: None });
                continue;
            }
            let is_directory = mount.content.is_directory();
            let found = rootfs.metadata(&path)?;
            match &found {
                None if is_directory => self.make_directory(rootfs, &path)?,
                None => self.make_file(rootfs, &path)?,
                Some(found) if is_directory => expect(&path, found, FileKind::Directory)?,
                Some(found) => expect(&path, found, FileKind::Regular)?,
            }
            let mode = found.map(|found| found.mode);
            self.places.push(MountPlace { path, is_nested: false, mode });
        }
        Ok(())
    }

    fn make_all(&mut self, rootfs: &Rootfs) -> Result<(), SandboxError> {
        for name in DIRECTORIES {
            let path = RootfsPath::new(name)?;
            match rootfs.metadata(&path)? {
                None => self.make_directory(rootfs, &path)?,
                Some(found) => expect(&path, &found, FileKind::Directory)?,
            }
        }
        for (file, name) in FILES {
            // The link `/etc/resolv.conf` -> `../run/systemd/resolve/stub-resolv.conf` is common.
            let path = rootfs.resolve(&RootfsPath::new(name)?)?;
            if DIRECTORIES.iter().any(|name| path.components().next() == Some(name.as_bytes())) {
                tracing::debug!(%path, "not mounted: leads into a kernel file system");
                continue;
            }
            match rootfs.metadata(&path)? {
                None => self.make_file(rootfs, &path)?,
                Some(found) => expect(&path, &found, FileKind::Regular)?,
            }
            self.covers.push((file, path));
        }
        Ok(())
    }

    fn make_directory(&mut self, rootfs: &Rootfs, path: &RootfsPath) -> Result<(), SandboxError> {
        let missing: Vec<RootfsPath> = {
            let mut missing = vec![path.clone()];
            for above in path.ancestors() {
                if rootfs.metadata(&above)?.is_some() {
                    break;
                }
                missing.push(above);
            }
            missing.reverse();
            missing
        };
        for path in missing {
            keeping_times(rootfs, &path, || {
                let new = NewDirectory { mode: 0o755, uid: 0, gid: 0 };
                rootfs.create_dir_all(&path, &new).map(|_| ())
            })?;
            self.remember(rootfs, path, Content::Nothing)?;
        }
        Ok(())
    }

    fn make_file(&mut self, rootfs: &Rootfs, path: &RootfsPath) -> Result<(), SandboxError> {
        if let Some(parent) = path.parent()
            && rootfs.metadata(&parent)?.is_none()
        {
            self.make_directory(rootfs, &parent)?;
        }
        keeping_times(rootfs, path, || {
            drop(rootfs.create_file(path)?);
            rootfs.set_mode(path, 0o644)
        })?;
        self.remember(rootfs, path.clone(), Content::Nothing)
    }

    fn remember(
        &mut self,
        rootfs: &Rootfs,
        path: RootfsPath,
        content: Content,
    ) -> Result<(), SandboxError> {
        let made = rootfs.metadata(&path)?.ok_or(SandboxError::RootGone)?;
        self.made.push(Stub { path, inode: made.inode(), kind: made.kind, content });
        Ok(())
    }

    /// Takes away what was made, unless the step made something of it.
    pub fn remove(self, rootfs: &Rootfs) -> Result<(), SandboxError> {
        for stub in self.made.iter().rev() {
            let Some(found) = rootfs.metadata(&stub.path)? else { continue };
            if (found.inode(), found.kind) != (stub.inode, stub.kind) {
                continue;
            }
            let is_used = match stub.kind {
                FileKind::Regular if stub.content == Content::Ours => false,
                FileKind::Directory => !rootfs.read_dir(&stub.path)?.is_empty(),
                FileKind::Regular
                | FileKind::Symlink
                | FileKind::CharDevice
                | FileKind::BlockDevice
                | FileKind::Fifo
                | FileKind::Socket => found.size > 0 || found.nlink > 1,
            };
            if !is_used {
                keeping_times(rootfs, &stub.path, || rootfs.remove(&stub.path))?;
            }
        }
        Ok(())
    }
}

fn expect(path: &RootfsPath, found: &Metadata, expected: FileKind) -> Result<(), SandboxError> {
    if found.kind == expected {
        return Ok(());
    }
    Err(SandboxError::MountPoint { path: path.clone(), found: found.kind, expected })
}

/// Does something to an entry of a directory without moving the directory's modification time.
fn keeping_times<T>(
    rootfs: &Rootfs,
    path: &RootfsPath,
    act: impl FnOnce() -> Result<T, RootfsError>,
) -> Result<T, SandboxError> {
    let parent = path.parent().unwrap_or_else(RootfsPath::root);
    let before = rootfs.metadata(&parent)?;
    let done = act()?;
    if let Some(before) = before {
        rootfs.set_mtime(&parent, before.mtime)?;
    }
    Ok(done)
}
