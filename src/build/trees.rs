//! Roots of stages over trees of the shared directory: the base image is there unpacked, and nothing
//! is pulled or unpacked again.
//!
//! A tree is made by the first build that needs the image's files, which goes on from it at once, and
//! is kept for others while layers are pushed. Before it is used again, everything in it is compared
//! with what was known then. The idea to hold in mind: it is a favour. Whatever is not as it should
//! be, the image is unpacked to a directory of the build's own, as without one.
//!
//! Where roots are directories and can be overlays. An overlay shows inode numbers, link counts and
//! hard links as they are in the tree only if what is written is on its file system too: in the work
//! directory, or in the shared one where that is on another.

use std::cell::{OnceCell, RefCell};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use snapshot::track::{OverlayError, OwnMounts, TreeOverlay};
use snapshot::{Digest, Index, PathSet, Rootfs, RootfsPath, SnapshotError, is_as_indexed};

use super::error::StepError;
use super::session::Session;
use super::timed;
use crate::image::Layer;
use crate::report::event::{Event, Phase};
use crate::report::fault::one_line;
use crate::store::{SharedScratch, SharedTree, TreeDraft};
use crate::unpack::Unpacked;

/// What is in a name beside the layers: whoever changes how layers are unpacked changes it, and what
/// was unpacked before is not used again.
const FORM: &str = "zuwai tree 1";

/// A root over a tree.
pub(super) struct TreeRoot {
    // Before what holds the tree.
    overlay: TreeOverlay,
    _scratch: Option<SharedScratch>,
    _held: Held,
}

/// What keeps a tree from being removed.
enum Held {
    Kept { _tree: SharedTree },
    Draft { _draft: TreeDraft },
}

/// What a build has for its roots over trees.
#[derive(Default)]
pub(super) struct Trees {
    /// Trees that it has made, until they are kept.
    drafts: RefCell<Vec<TreeDraft>>,
    /// Mounts of its own; `None` where it cannot have any.
    mounts: OnceCell<Option<OwnMounts>>,
}

impl Trees {
    /// Returns those that are to be kept.
    pub(super) fn drafts(&self) -> Vec<TreeDraft> {
        self.drafts.borrow().clone()
    }

    /// Makes roots over trees possible, if the kernel lets us.
    pub(super) fn prepare(&self) {
        self.mounts.get_or_init(|| {
            let entered = OwnMounts::enter();
            entered.inspect_err(|error| tracing::debug!(%error, "no mounts of our own")).ok()
        });
    }

    fn mounts(&self) -> Option<&OwnMounts> {
        self.mounts.get().and_then(Option::as_ref)
    }
}

/// A tree that is to be unpacked.
pub(super) struct NewTree {
    draft: TreeDraft,
    /// The directory to unpack to.
    pub(super) rootfs: Rootfs,
}

/// A tree that is as its index says.
pub(super) struct Filled {
    rootfs: Rootfs,
    index: Index,
    held: Held,
}

/// Where a stage's root over a tree is put together.
pub(super) struct Place<'a> {
    session: &'a Session<'a>,
    mounts: &'a OwnMounts,
    /// An empty directory on the file system of trees.
    folder: PathBuf,
    scratch: Option<SharedScratch>,
}

impl TreeRoot {
    /// Returns where the root is.
    pub(super) fn path(&self) -> &Path {
        self.overlay.point()
    }

    /// Returns where the root can differ from the tree.
    pub(super) fn written(&self, index: &Index) -> Result<PathSet, StepError> {
        Ok(self.overlay.written(index).map_err(SnapshotError::from)?)
    }
}

/// Returns the name of the tree of these layers.
pub(super) fn name_of(layers: &[Layer]) -> Digest {
    let diff_ids = layers.iter().map(|layer| layer.diff_id.to_string());
    let lines: Vec<String> = std::iter::once(FORM.to_owned()).chain(diff_ids).collect();
    Digest::of(lines.join("\n").as_bytes())
}

impl<'a> Place<'a> {
    /// Takes a place for a stage, which has the empty directory `folder` in the work directory;
    /// `None` where there are no roots over trees.
    pub(super) fn of(session: &'a Session<'a>, folder: PathBuf) -> Option<Self> {
        let mounts = session.kept.trees.mounts()?;
        let store = session.kept.store();
        let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
        if device(&folder) == device(store.folder()) {
            return Some(Self { session, mounts, folder, scratch: None });
        }
        let scratch = store.scratch()?;
        Some(Self { session, mounts, folder: scratch.path(), scratch: Some(scratch) })
    }

    /// Returns the tree of a name, if it is there, and is what it was.
    pub(super) fn find(&self, name: &Digest) -> Option<Filled> {
        let tree = self.session.kept.store().tree(name)?;
        let path = tree.root();
        match timed(self.session.events, Phase::Unpack, || self.read(&tree)) {
            Ok((rootfs, index)) => {
                self.session.events.send(Event::TreeUsed { path });
                Some(Filled { rootfs, index, held: Held::Kept { _tree: tree } })
            }
            Err(why) => {
                let text = format!(
                    "the unpacked image `{}` is not used, and removed: {why}",
                    path.parent().unwrap_or(&path).display()
                );
                self.session.events.send(Event::Warning { text });
                tree.remove();
                None
            }
        }
    }

    /// Begins a tree that the image is unpacked to, where it can be used then.
    pub(super) fn begin(&self, name: &Digest) -> Option<NewTree> {
        let draft = self.session.kept.store().begin_tree(name)?;
        let rootfs = Rootfs::open(&draft.root());
        let rootfs = rootfs.inspect_err(|error| tracing::debug!(%error, "no tree is made")).ok()?;
        // Whether it is of any use is better known before it is filled.
        let trial = self.folder.join("trial");
        let tried = TreeOverlay::mount(self.mounts, &rootfs, &mut Index::new(), &trial);
        tried.inspect_err(not_used).ok()?;
        Some(NewTree { draft, rootfs })
    }

    /// Takes a tree that was filled, and has it kept if it is whole.
    pub(super) fn complete(&self, new: NewTree, unpacked: Unpacked) -> Filled {
        let NewTree { draft, rootfs } = new;
        let is_whole = unpacked.is_whole();
        let index = unpacked.index;
        if is_whole {
            draft.complete(index.to_stored());
            self.session.kept.trees.drafts.borrow_mut().push(draft.clone());
        }
        Filled { rootfs, index, held: Held::Draft { _draft: draft } }
    }

    /// Returns a root over a tree, with its index; `None` where that cannot be had.
    pub(super) fn mount(self, tree: Filled) -> Option<(Rootfs, Index, TreeRoot)> {
        let Filled { rootfs: tree, mut index, held } = tree;
        let scratch = self.folder.join("tree");
        let mounted = TreeOverlay::mount(self.mounts, &tree, &mut index, &scratch);
        let overlay = mounted.inspect_err(not_used).ok()?;
        let rootfs = overlay.rootfs().clone();
        Some((rootfs, index, TreeRoot { overlay, _scratch: self.scratch, _held: held }))
    }

    /// Reads what is known of a tree, and looks whether it still is so.
    fn read(&self, tree: &SharedTree) -> Result<(Rootfs, Index), String> {
        let rootfs = Rootfs::open(&tree.root()).map_err(|error| error.to_string())?;
        let top = rootfs.metadata(&RootfsPath::root()).map_err(|error| error.to_string())?;
        let about = tree.about().map_err(|error| error.to_string())?;
        let index = top.and_then(|top| Index::from_stored(&about, top.dev));
        let index = index.ok_or("what is known of it cannot be read")?;
        match is_as_indexed(&rootfs, &index, Some(self.session.threads())) {
            Ok(true) => Ok((rootfs, index)),
            Ok(false) => Err("somebody has changed its files".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn not_used(error: &OverlayError) {
    tracing::debug!(error = %one_line(error), "no tree of the shared directory is used");
}
