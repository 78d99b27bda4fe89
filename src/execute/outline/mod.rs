//! A stage's files where none is on disk: what the base's headers say, and what steps added.
//!
//! Owns the outline and what changed in it; a layer is made from the places where the added files
//! are anyway. Must not know where the headers come from. The idea to hold in mind: the layer has
//! the bytes that files on disk would give it. What only files on disk can tell is said so
//! ([`ExecuteError::NeedsFiles`]), and then the stage is unpacked after all.

mod ground;
mod node;

use std::collections::BTreeMap;
use std::sync::Arc;

use snapshot::layer::{Contents, MtimeRule};
use snapshot::{
    Change, ChangeKind, Changeset, Digest, FileKind, IgnoreList, NewDirectory, RootfsPath, Row,
};

use super::ExecuteError;
use super::copy::{self, Copied, Ground as _, Source};
use super::identity::{owner_in_numbers, working_dir_ownership};
use crate::plan::{CopyStep, WorkdirStep};
use crate::unpack::{HeaderEntry, HeaderKind, ImageHeaders, follow_links};
use node::{Bytes, Node};

/// The files of a stage that is not on disk.
#[derive(Clone, Debug)]
pub struct Outline {
    base: Arc<ImageHeaders>,
    /// What steps have put over the base. Nothing is ever taken away.
    own: BTreeMap<RootfsPath, Node>,
    /// What was at each path that changed since the last layer.
    before: BTreeMap<RootfsPath, Option<Node>>,
    /// Numbers of inodes that were given out, from 1.
    inode_count: u64,
    /// Whether the root was in an image or looked at for a layer: until then it cannot differ.
    is_root_known: bool,
    /// What the layers say of times.
    mtime: MtimeRule,
}

impl Outline {
    /// Starts with nothing.
    pub fn of_scratch() -> Self {
        Self::new(Arc::default(), false)
    }

    /// Starts with what the layers of an image say, of which there is at least one.
    pub fn of_image(headers: Arc<ImageHeaders>) -> Self {
        Self::new(headers, true)
    }

    fn new(base: Arc<ImageHeaders>, is_root_known: bool) -> Self {
        let root = RootfsPath::root();
        let mut own = BTreeMap::new();
        if base.get(&root).is_none() {
            own.insert(root, Node::directory(0o755, 0, 0));
        }
        let (before, mtime) = (BTreeMap::new(), MtimeRule::Keep);
        Self { base, own, before, inode_count: 0, is_root_known, mtime }
    }

    /// Says what layers say of times: what differs in nothing else is the same where they do not
    /// tell them apart.
    pub fn with_mtimes(self, mtime: MtimeRule) -> Self {
        Self { mtime, ..self }
    }

    /// Carries out a COPY or ADD step.
    ///
    /// # Errors
    /// As [`super::copy()`], and [`ExecuteError::NeedsFiles`]; the outline is of no use after that.
    pub fn copy(&mut self, step: &CopyStep, source: &Source<'_>) -> Result<Copied, ExecuteError> {
        copy::copy_onto(step, source, self)
    }

    /// Makes what is missing of a working directory, as [`super::make_working_dir`].
    ///
    /// # Errors
    /// As [`Outline::copy`].
    pub fn make_working_dir(&mut self, step: &WorkdirStep) -> Result<(), ExecuteError> {
        let owner = match owner_in_numbers(&step.user) {
            Some(owner) => owner,
            None => working_dir_ownership(&step.user, &self.database()?),
        };
        let new = NewDirectory { mode: 0o755, uid: owner.uid, gid: owner.gid };
        self.make_directories(&step.path, &new)?;
        Ok(())
    }

    /// Returns what a layer has to hold of what was done since the last one, but for what is
    /// ignored, and where its content is.
    ///
    /// # Errors
    /// When a file that may be the same as before cannot be read.
    pub fn take_changes(
        &mut self,
        ignore: &IgnoreList,
    ) -> Result<(Changeset, Contents), ExecuteError> {
        let mut changes = BTreeMap::new();
        for (path, old) in std::mem::take(&mut self.before) {
            let is_unknown_root = path.is_root() && !self.is_root_known;
            if is_unknown_root || ignore.contains(&path) {
                continue;
            }
            let Some(mut node) = self.node(&path) else { continue };
            let kind = match &old {
                None => Some(ChangeKind::Added),
                Some(old) => node.is_other_than(old, self.mtime)?.then_some(ChangeKind::Modified),
            };
            let Some(kind) = kind else {
                // What was read to find out is worth keeping.
                self.own.insert(path, node);
                continue;
            };
            for above in path.ancestors() {
                changes.entry(above).or_insert(ChangeKind::Ancestor);
            }
            changes.insert(path, kind);
        }
        self.is_root_known = true;
        let mut contents = Contents::none();
        let mut changeset = Vec::with_capacity(changes.len());
        for (path, kind) in changes {
            let Some(node) = self.node(&path) else { continue };
            changeset.push(Change { path: path.clone(), kind, metadata: Some(node.metadata) });
            if let Some(content) = node.content() {
                contents.insert(path, content);
            }
        }
        Ok((Changeset::new(changeset), contents))
    }

    /// Notes the digest of a file's content or a link's target, which whoever wrote the layer has
    /// seen.
    pub fn record_content(&mut self, path: &RootfsPath, digest: &Digest) {
        if let Some(node) = self.own.get_mut(path) {
            node.digest = Some(*digest);
        }
    }

    /// Returns what was noted of the contents of files that were put before the last layer was
    /// made, whatever came of them since.
    pub fn contents(&self) -> impl Iterator<Item = (&RootfsPath, &Digest)> {
        self.own.iter().filter_map(|(path, node)| {
            let node = match self.before.get(path) {
                Some(before) => before.as_ref()?,
                None => node,
            };
            Some((path, node.digest.as_ref()?))
        })
    }

    /// Returns what is at a path, as an index of files on disk would say it.
    pub fn row(&self, path: &RootfsPath) -> Option<Row> {
        Some(self.node(path)?.row())
    }

    /// Returns the digest of a regular file's content, which is read where nobody has; `None` where
    /// only layers have it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_digest(&self, path: &RootfsPath) -> Result<Option<Digest>, ExecuteError> {
        self.node(path).map_or(Ok(None), |node| node.read_digest())
    }

    fn node(&self, path: &RootfsPath) -> Option<Node> {
        let in_base = || self.base.get(path).map(Node::of_header);
        self.own.get(path).cloned().or_else(in_base)
    }

    fn kind_at(&self, path: &RootfsPath) -> Option<FileKind> {
        let in_base = || self.base.get(path).map(node::kind_of_header);
        self.own.get(path).map(|node| node.metadata.kind).or_else(in_base)
    }

    /// Returns the target of the link at `path`.
    fn target(&self, path: &RootfsPath) -> Option<&[u8]> {
        match self.own.get(path) {
            Some(Node { metadata, bytes: Bytes::Held(target), .. })
                if metadata.kind == FileKind::Symlink =>
            {
                Some(target)
            }
            Some(_) => None,
            None => match self.base.get(path) {
                Some(HeaderEntry { kind: HeaderKind::Symlink(target), .. }) => Some(target),
                _ => None,
            },
        }
    }

    fn follow(&self, path: &RootfsPath) -> Result<RootfsPath, ExecuteError> {
        follow_links(path, |at| self.target(at))
            .ok_or_else(|| needs_files(path, "a circle of links"))
    }

    /// Reads a file of users or groups; what is missing is empty.
    fn read(&self, path: &str) -> Result<Vec<u8>, ExecuteError> {
        let path = self.follow(&RootfsPath::new(path)?)?;
        let is_unknown = || needs_files(&path, "its content is not kept");
        match self.node(&path) {
            None => Ok(Vec::new()),
            Some(Node { metadata, .. }) if metadata.kind != FileKind::Regular => Err(is_unknown()),
            Some(Node { bytes: Bytes::Held(bytes), .. }) => Ok(bytes.to_vec()),
            Some(Node { bytes: Bytes::Elsewhere { root, path: at, expected }, .. }) => {
                let read = root.read_file(&at, super::identity::LIMIT_BYTES);
                if let Some(expected) = expected {
                    expected.check(&at, root.metadata(&at).ok().flatten().as_ref());
                }
                match read {
                    // It was another stage's, and that is gone; the layer has it.
                    Err(error) if error.is_missing() => Err(needs_files(&path, "it is in a layer")),
                    read => Ok(read?),
                }
            }
            Some(Node { bytes: Bytes::None, .. }) => Err(is_unknown()),
        }
    }

    /// Puts a node to a path.
    fn set(&mut self, path: RootfsPath, node: Node) {
        if !self.before.contains_key(&path) {
            let old = self.node(&path);
            self.before.insert(path.clone(), old);
        }
        self.own.insert(path, node);
    }

    /// Checks that an entry can come to `path`, and moves the time of the directory it comes to.
    fn open_for(&mut self, path: &RootfsPath) -> Result<(), ExecuteError> {
        /// The most bytes of a name on Linux.
        const NAME_BYTES: usize = 255;
        let Some((parent, name)) = path.parent().zip(path.file_name()) else { return Ok(()) };
        if name.len() > NAME_BYTES {
            return Err(needs_files(path, "its name is too long"));
        }
        let is_first = !self.before.contains_key(&parent);
        if !is_first && let Some(node) = self.own.get_mut(&parent) {
            node.metadata.mtime = node::now();
            return Ok(());
        }
        let mut node = self.node(&parent).ok_or_else(|| needs_files(&parent, "it is missing"))?;
        let passes_on = |above: RootfsPath| self.node(&above).is_some_and(|node| node.has_acl());
        if node.has_acl() || parent.ancestors().any(passes_on) {
            return Err(needs_files(&parent, "an access control list passes on"));
        }
        node.metadata.mtime = node::now();
        self.set(parent, node);
        Ok(())
    }

    /// Checks that what comes to `path` can be compared with what is, and was, there.
    fn check_replaced(&self, path: &RootfsPath, new: &Node) -> Result<(), ExecuteError> {
        let now = self.node(path);
        let was = self.before.get(path).cloned().flatten();
        for old in [&now, &was].into_iter().flatten() {
            if old.metadata.nlink > 1 {
                return Err(needs_files(path, "it has other names"));
            }
            if old.has_acl() {
                return Err(needs_files(path, "it has an access control list"));
            }
            let is_same = node::is_same_in_image(&old.metadata, &new.metadata, self.mtime);
            if old.is_unread() && is_same {
                return Err(needs_files(path, "it may be the same as before"));
            }
        }
        Ok(())
    }

    fn next_inode(&mut self) -> u64 {
        self.inode_count += 1;
        self.inode_count
    }
}

fn needs_files(path: &RootfsPath, reason: &'static str) -> ExecuteError {
    ExecuteError::NeedsFiles { path: path.clone(), reason }
}
