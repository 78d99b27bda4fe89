//! What cannot be where it belongs, because something is mounted there or protected.

use std::io::BufRead;

use rustix::io::Errno;
use snapshot::RootfsError;

use super::super::beneath::Beneath;
use super::super::tar::{Entry, EntryKind, Reader};
use super::{NotOnDisk, PlaceError, Placed, Placer, content};

impl Placer {
    /// Places what is covered by a mount, or protected, in `beneath` as well, where it can be had.
    pub fn keeping_covered(self, beneath: &Beneath) -> Self {
        let placer = Self::new(beneath.files(), self.options);
        Self { beneath: Some((beneath.clone(), Box::new(placer))), ..self }
    }

    /// Puts what cannot be where it belongs beneath, if there is such a tree.
    pub(super) fn keep<R: BufRead>(
        &mut self,
        reason: NotOnDisk,
        entry: &Entry,
        reader: &mut Reader<R>,
        placed: &mut Placed,
    ) -> Result<(), PlaceError> {
        let is_covered = matches!(reason, NotOnDisk::OnMount | NotOnDisk::Protected);
        match self.beneath.as_mut().filter(|_| is_covered) {
            Some((tree, beneath)) => {
                if let EntryKind::HardLink(target) = &entry.kind
                    && tree.cover(target).is_none()
                {
                    return Ok(());
                }
                let entry = Entry { path: placed.path.clone(), ..entry.clone() };
                let kept = beneath.place(&entry, reader)?;
                (placed.content, placed.xattrs) = (kept.content, kept.xattrs);
            }
            None if entry.kind == EntryKind::Regular => {
                placed.content = content::copy(reader, None, self.options.contents, &placed.path)?;
            }
            None => {}
        }
        Ok(())
    }
}

/// Says why an entry cannot be on disk; `None` when the error is one that ends it all.
pub(super) fn not_on_disk(error: &RootfsError, kind: &EntryKind) -> Option<NotOnDisk> {
    match error {
        RootfsError::OnMount { .. } => Some(NotOnDisk::OnMount),
        RootfsError::Protected { .. } => Some(NotOnDisk::Protected),
        RootfsError::Io { operation: snapshot::Operation::CreateNode, .. }
            if matches!(kind, EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. })
                && error.raw_os_error() == Some(Errno::PERM.raw_os_error()) =>
        {
            Some(NotOnDisk::DeviceNotPermitted)
        }
        _ => None,
    }
}
