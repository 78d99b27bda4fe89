//! A layer's headers, noted while the layer is written, so that nobody has to read it again.
//!
//! What is noted is what [`super::read_headers`] would find: the very bytes of each header go
//! through the one parser that there is. The files' digests are noted with them.

use snapshot::layer::Listener;
use snapshot::{Digest, RootfsPath};

use super::{Header, HeaderEntry, HeaderIndex, HeaderKind, header, is_kept};
use crate::archive::{Entry, Limits, Reader, TarError};
use crate::unpack::error::LayerError;
use crate::unpack::whiteout::{Meaning, meaning};

/// Notes what the headers of a layer say.
#[derive(Debug)]
pub struct HeaderNotes {
    limits: Limits,
    headers: Vec<Header>,
    /// A file whose content is kept, and what came of that so far.
    kept: Option<(Entry, Vec<u8>)>,
    /// Whoever unpacks the layer refuses it.
    is_refused: bool,
}

impl HeaderNotes {
    /// Notes nothing yet; what goes beyond `limits` is no layer.
    pub fn new(limits: Limits) -> Self {
        Self { limits, headers: Vec::new(), kept: None, is_refused: false }
    }

    /// Returns what was noted of the layer that has become this; `None` where it is one that would
    /// be refused.
    pub fn finish(mut self, digest: Digest, diff_id: Digest) -> Option<HeaderIndex> {
        self.end_kept();
        let Self { headers, is_refused, .. } = self;
        (!is_refused).then_some(HeaderIndex { digest, diff_id, headers })
    }

    fn note(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        let Some(entry) = only_entry(bytes, self.limits)? else { return Ok(()) };
        if self.headers.len() as u64 >= self.limits.entry_count {
            return Err(TarError::EntryCount { limit: self.limits.entry_count }.into());
        }
        let meaning = meaning(&entry)
            .map_err(|source| LayerError::Whiteout { path: entry.path.clone(), source })?;
        self.headers.push(match meaning {
            Meaning::Hides(path) => Header::Hides(path),
            Meaning::Opaque(path) => Header::Opaque(path),
            Meaning::Entry if is_kept(&entry) => {
                self.kept = Some((entry, Vec::new()));
                self.take_kept();
                return Ok(());
            }
            Meaning::Entry => header(entry, None),
        });
        Ok(())
    }

    /// Notes a kept file when all of it is there.
    fn take_kept(&mut self) {
        let is_whole = |(entry, content): &mut (Entry, Vec<u8>)| content.len() as u64 == entry.size;
        if let Some((entry, content)) = self.kept.take_if(is_whole) {
            self.headers.push(header(entry, Some(content)));
        }
    }

    /// Leaves a kept file: one that did not come whole is no layer's.
    fn end_kept(&mut self) {
        self.is_refused |= self.kept.take().is_some();
    }
}

impl Listener for HeaderNotes {
    fn begin(&mut self) {
        *self = Self::new(self.limits);
    }

    fn header(&mut self, bytes: &[u8]) {
        self.end_kept();
        if self.is_refused {
            return;
        }
        if let Err(error) = self.note(bytes) {
            tracing::debug!(%error, "a layer's headers are not kept");
            *self = Self { is_refused: true, ..Self::new(self.limits) };
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Some((_, content)) = &mut self.kept {
            content.extend_from_slice(bytes);
            self.take_kept();
        }
    }

    fn content(&mut self, path: &RootfsPath, known: &Digest) {
        // A link's comes before its header, and is none of a file's own.
        if let Some(Header::Entry(last, HeaderEntry { kind, .. })) = self.headers.last_mut()
            && let HeaderKind::Regular { digest, .. } = kind
            && last == path
        {
            digest.get_or_insert(*known);
        }
    }
}

/// Reads the header of one entry.
fn only_entry(bytes: &[u8], limits: Limits) -> Result<Option<Entry>, TarError> {
    Reader::new(bytes, limits).next_entry()
}

#[cfg(test)]
#[path = "written_tests.rs"]
mod tests;
