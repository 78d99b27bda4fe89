//! Where stages go that have left the root: a directory on the root's own mount, because only there
//! they can be moved to without being copied.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use serde::{Deserialize, Serialize};
use snapshot::RootfsPath;

use super::InPlace;
use super::residents::Resident;
use crate::sandbox::SandboxError;

/// A directory at the top of the root that belongs to one build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    #[serde(with = "as_text")]
    pub(super) path: RootfsPath,
    pub(super) resident: Resident,
}

/// Its name is ours to choose, so that it is text.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use snapshot::RootfsPath;

    pub fn serialize<S: Serializer>(path: &RootfsPath, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&path.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<RootfsPath, D::Error> {
        RootfsPath::new(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl InPlace {
    /// Tells whether what is in the root can be moved into `directory` without being copied.
    ///
    /// # Errors
    /// [`SandboxError::Protect`] when it cannot be looked at.
    pub fn is_beside(&self, directory: &Path) -> Result<bool, SandboxError> {
        let mount = |handle: std::os::fd::BorrowedFd<'_>| {
            let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
            let stat = rustix::fs::statx(handle, c"", flags, StatxFlags::MNT_ID)?;
            let is_told = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
            Ok(is_told.then_some(stat.stx_mnt_id))
        };
        let failed = |errno: rustix::io::Errno| SandboxError::Protect {
            path: directory.to_owned(),
            source: errno.into(),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(directory, flags, Mode::empty()).map_err(failed)?;
        let (theirs, own) = (mount(handle.as_fd()), mount(self.root.as_fd()));
        // Where the kernel does not tell (before Linux 5.8), a directory of the root's own is as
        // good.
        Ok(match (theirs.map_err(failed)?, own.map_err(failed)?) {
            (Some(theirs), Some(own)) => theirs == own,
            (_, _) => false,
        })
    }

    /// Removes what builds that were killed before they wrote down that they were there have left at
    /// the top of the root; by its name it is ours. Nobody else may be building there.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sweep(&self) -> Result<(), SandboxError> {
        let root = RootfsPath::root();
        let before = self.root.metadata(&root)?.ok_or(SandboxError::RootGone)?;
        let entries = self.root.read_dir(&root)?;
        let left: Vec<_> = entries.iter().filter(|entry| is_ours(&entry.name)).collect();
        for entry in &left {
            self.remove_what_may_go(&root.join_name(&entry.name))?;
        }
        if !left.is_empty() {
            self.root.set_mtime(&root, before.mtime)?;
        }
        Ok(())
    }

    /// Makes a directory in the root that is protected as the others are, and in the record of
    /// whoever moves in from now on.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_aside(self) -> Result<Self, SandboxError> {
        let name = |count: u32| format!(".zuwai-{}-{count}", std::process::id());
        let root = RootfsPath::root();
        let before = self.root.metadata(&root)?.ok_or(SandboxError::RootGone)?;
        let mut count = 0;
        let path = loop {
            let path = RootfsPath::root().join_name(name(count).as_bytes());
            match self.root.create_dir(&path, 0o700) {
                Ok(()) => break path,
                Err(error) if error.is_existing() => count += 1,
                Err(error) => return Err(error.into()),
            }
        };
        self.root.set_mtime(&root, before.mtime)?;
        let directory = self.root.open_dir(&root)?;
        let own_name = path.file_name().unwrap_or_default();
        let found = directory.metadata(own_name)?.ok_or(SandboxError::RootGone)?;
        let resident = Resident::of(&directory, own_name, &found);
        let mut protected = self.protected.clone();
        protected.insert(found.inode());
        let mut covers = self.covers.clone();
        covers.push(path.clone());
        Ok(Self { protected, covers, aside: Some(Aside { path, resident }), ..self })
    }

    /// Makes a directory where a stage can be moved to, and returns where the machine has it; `None`
    /// where the work directory will do.
    ///
    /// # Errors
    /// When there is one of this number, or none can be made.
    pub fn create_aside(&self, number: usize) -> Result<Option<PathBuf>, SandboxError> {
        let Some(aside) = &self.aside else { return Ok(None) };
        let path = aside.path.join_name(number.to_string().as_bytes());
        self.root.create_dir(&path, 0o755)?;
        let below: PathBuf = [aside.path.as_bytes(), number.to_string().as_bytes()]
            .map(OsStr::from_bytes)
            .into_iter()
            .collect();
        Ok(Some(self.root.host_path().join(below)))
    }

    /// Removes the directory that [`InPlace::make_aside`] made, with all that is in it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_aside(&self) -> Result<(), SandboxError> {
        if let Some(Aside { path, resident }) = &self.aside
            && resident.is_inode_at(&self.root, path)?
        {
            let root = RootfsPath::root();
            let before = self.root.metadata(&root)?.ok_or(SandboxError::RootGone)?;
            self.root.remove_all(path)?;
            self.root.set_mtime(&root, before.mtime)?;
        }
        Ok(())
    }
}

/// Tells whether a name is one of those that builds give: `.zuwai-`, and words or numbers.
fn is_ours(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b".zuwai-") else { return false };
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    match rest.strip_prefix(b"self-test-") {
        Some(number) => is_number(number),
        None if rest == b"tracker-trial" => true,
        None => {
            let mut parts = rest.split(|&byte| byte == b'-');
            let both = [parts.next(), parts.next()];
            parts.next().is_none() && both.into_iter().all(|part| part.is_some_and(is_number))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_builds_give_are_ours() {
        for name in [".zuwai-12-0", ".zuwai-self-test-3", ".zuwai-tracker-trial"] {
            assert!(is_ours(name.as_bytes()), "{name}");
        }
        for name in
            ["zuwai-1-0", ".zuwai-1", ".zuwai-1-0-0", ".zuwai-a-0", ".zuwai-self-test-", ".zuwai"]
        {
            assert!(!is_ours(name.as_bytes()), "{name}");
        }
    }
}
