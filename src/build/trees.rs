//! Roots of stages over trees of the shared directory: the base image is there unpacked, and nothing
//! is pulled or unpacked again.
//!
//! A tree is made by the first build that needs the image's files, which goes on from it at once, and
//! is kept for others while layers are pushed. Before it is used again, everything in it is compared
//! with what was known then. The idea to hold in mind: it is a favour. Whatever is not as it should
//! be, the image is unpacked to a directory of the build's own, as without one.
//!
//! Where roots are directories and can be overlays. An overlay shows inode numbers, link counts and
//! hard links as they are in the tree only if what is written is on its file system too.

use std::cell::{OnceCell, RefCell};
use std::path::Path;

use snapshot::track::{OwnMounts, TreeOverlay};
use snapshot::{Digest, Index, PathSet, Rootfs, RootfsPath, SnapshotError, is_as_indexed};

use super::error::StepError;
use super::session::Session;
use super::timed;
use crate::image::Layer;
use crate::report::event::{Event, Phase};
use crate::store::{SharedStore, SharedTree, TreeDraft};

/// What is in a name beside the layers: whoever changes how layers are unpacked changes it, and what
/// was unpacked before is not used again.
const FORM: &str = "zuwai tree 1";

/// A root over a tree.
pub(super) struct TreeRoot {
    // Before what holds the tree.
    overlay: TreeOverlay,
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

/// Where a stage's root over a tree is put together.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) session: &'a Session<'a>,
    /// An empty directory of the stage.
    pub(super) folder: &'a Path,
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

impl Place<'_> {
    /// Returns a root over a tree that is there, and is what it was; else says why there is none.
    pub(super) fn find(self, name: &Digest) -> Option<(Rootfs, Index, TreeRoot)> {
        self.trees().mounts()?;
        let tree = self.store().tree(name)?;
        let root = tree.root();
        let found = timed(self.session.events, Phase::Unpack, || self.read(&tree));
        match found {
            Ok((rootfs, index)) => {
                let found = self.mount(&rootfs, index, Held::Kept { _tree: tree })?;
                self.session.events.send(Event::TreeUsed { path: root });
                Some(found)
            }
            Err(why) => {
                let text = format!(
                    "the unpacked image `{}` is not used, and removed: {why}",
                    root.parent().unwrap_or(&root).display()
                );
                self.session.events.send(Event::Warning { text });
                tree.remove();
                None
            }
        }
    }

    /// Begins a tree that the image is unpacked to, where it can be used then.
    pub(super) fn begin(self, name: &Digest) -> Option<NewTree> {
        let mounts = self.trees().mounts()?;
        let draft = self.store().begin_tree(name)?;
        let rootfs = Rootfs::open(&draft.root());
        let rootfs = rootfs.inspect_err(|error| tracing::debug!(%error, "no tree is made")).ok()?;
        // Whether it is of any use is better known before it is filled.
        let trial = self.folder.join("trial");
        match TreeOverlay::mount(mounts, &rootfs, &mut Index::new(), &trial) {
            Ok(_) => Some(NewTree { draft, rootfs }),
            Err(error) => {
                tracing::debug!(%error, "no tree of the shared directory is used");
                None
            }
        }
    }

    /// Returns a root over a tree that was filled, and has it kept if it is `whole`.
    pub(super) fn complete(
        self,
        new: NewTree,
        index: Index,
        whole: bool,
    ) -> Option<(Rootfs, Index, TreeRoot)> {
        let NewTree { draft, rootfs } = new;
        if whole {
            draft.complete(index.to_stored());
            self.trees().drafts.borrow_mut().push(draft.clone());
        }
        self.mount(&rootfs, index, Held::Draft { _draft: draft })
    }

    fn trees(&self) -> &Trees {
        &self.session.kept.trees
    }

    fn store(self) -> SharedStore {
        self.session.kept.store().clone()
    }

    /// Reads what is known of a tree, and looks whether it still is so.
    fn read(self, tree: &SharedTree) -> Result<(Rootfs, Index), String> {
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

    fn mount(
        self,
        tree: &Rootfs,
        mut index: Index,
        held: Held,
    ) -> Option<(Rootfs, Index, TreeRoot)> {
        let scratch = self.folder.join("tree");
        match TreeOverlay::mount(self.trees().mounts()?, tree, &mut index, &scratch) {
            Ok(overlay) => {
                let rootfs = overlay.rootfs().clone();
                Some((rootfs, index, TreeRoot { overlay, _held: held }))
            }
            Err(error) => {
                tracing::debug!(%error, "no tree of the shared directory is used");
                None
            }
        }
    }
}
