//! What earlier builds have found in the files of this one's contexts.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use snapshot::Digest;

use super::options::ContextSource;
use super::session::Session;
use crate::context::{BuildContext, KnownFiles};
use crate::store::Documents;

/// What is known of the files of contexts that are directories, by their paths. Those that were
/// unpacked from archives are new each time.
pub(super) struct KnownContexts<'a> {
    documents: Documents,
    contexts: BTreeMap<&'a Path, KnownFiles>,
    nothing: KnownFiles,
    /// Whether any of it is of files as they are.
    is_of_use: bool,
}

impl<'a> KnownContexts<'a> {
    pub(super) fn open(session: &'a Session<'a>) -> Self {
        let documents = session.kept.store().contexts();
        let is_directory = matches!(session.options.context.source, ContextSource::Directory(_));
        let main = is_directory.then_some(&session.context);
        let (mut contexts, mut is_of_use) = (BTreeMap::new(), false);
        for context in main.into_iter().chain(session.directories.values()) {
            let root = context.root();
            let stored = documents.get(&name_of(root.host_path()));
            if stored.is_some() || session.kept.store().is_writable() {
                let known = KnownFiles::new(root, stored.as_deref());
                is_of_use |= known.is_of_use(root);
                contexts.insert(root.host_path(), known);
            }
        }
        Self { documents, contexts, nothing: KnownFiles::nothing(), is_of_use }
    }

    /// Returns what is known of a context's files.
    pub(super) fn of(&self, context: &BuildContext) -> &KnownFiles {
        self.contexts.get(context.root().host_path()).unwrap_or(&self.nothing)
    }

    /// Tells whether anything is known of a context as it is.
    pub(super) fn is_of_use(&self) -> bool {
        self.is_of_use
    }

    /// Tells whether nothing can be kept.
    pub(super) fn is_empty(&self) -> bool {
        self.contexts.is_empty()
    }

    /// Keeps what was found out.
    pub(super) fn keep(&self) {
        for (path, known) in &self.contexts {
            if let Some(stored) = known.to_stored() {
                self.documents.put(&name_of(path), &stored);
            }
        }
    }
}

fn name_of(path: &Path) -> Digest {
    Digest::of([b"context\n", path.as_os_str().as_bytes()].concat().as_slice())
}
