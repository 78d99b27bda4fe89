//! Roots of stages over trees of the shared directory: the base image is there unpacked, and so are the
//! layers that the layer cache has of the commands above it; nothing is pulled or unpacked again.
//!
//! A tree is made by the first build that needs the image's files, which goes on from it at once, and
//! is kept for others while layers are pushed. What cached layers change of the tree below them is a
//! tree of its own, which lies upon that one: all such layers that the build finds no tree of make one
//! together. One for each layer was rejected: an overlay looks a name up in each, and commands are
//! seldom cached one at a time. Before it is used again, everything in it is compared
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

use snapshot::track::{NewTree, OverlayError, OwnMounts, TreeOverlay, TreeStack};
use snapshot::{
    Digest, Index, Mode, PathSet, Reason, Rootfs, RootfsPath, Scope, SnapshotError,
    SnapshotOptions, Snapshotter, is_as_indexed,
};

use super::error::StepError;
use super::session::Session;
use super::timed;
use crate::image::Layer;
use crate::report::event::{Event, Phase};
use crate::report::fault::one_line;
use crate::store::{HeldTree, SharedScratch, SharedTree, TREE_DEPTH, TreeDraft};
use crate::unpack::Unpacked;

/// What is in a name beside the layers: whoever changes how layers are unpacked changes it, and what
/// was unpacked before is not used again.
const FORM: &str = "zuwai tree 1";

/// A root over a tree.
pub(super) struct TreeRoot {
    // Before what holds the tree.
    overlay: TreeOverlay,
    _scratch: Option<SharedScratch>,
    _held: HeldTree,
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
pub(super) struct Begun {
    draft: TreeDraft,
    files: Files,
}

/// Where the files of a tree go.
enum Files {
    /// To its directory.
    Plain(Rootfs),
    /// To an overlay over the tree that it lies upon.
    Upon(NewTree),
}

/// A tree, with all that it lies upon, that is as its index says.
pub(super) struct Filled {
    trees: TreeStack,
    index: Index,
    held: HeldTree,
    /// How many layers of the image are in it.
    pub(super) layer_count: usize,
    /// Others may lie upon it.
    is_whole: bool,
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
fn name_of(layers: &[Layer]) -> Digest {
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

    /// Returns the tree of most of `layers`, but no fewer than `base_count`, that is there and is what
    /// it was; upon one that lacks some of them, another can lie.
    pub(super) fn find(&self, layers: &[Layer], base_count: usize) -> Option<Filled> {
        (base_count..=layers.len()).rev().find_map(|count| {
            let tree = self.session.kept.store().tree(&name_of(layers.get(..count)?))?;
            let is_enough = count == layers.len() || tree.depth() < TREE_DEPTH;
            if is_enough { self.confirmed(tree, count) } else { None }
        })
    }

    fn confirmed(&self, tree: SharedTree, layer_count: usize) -> Option<Filled> {
        let path = tree.root();
        match timed(self.session.events, Phase::Unpack, || self.read(&tree)) {
            Ok((trees, index)) => {
                self.session.events.send(Event::TreeUsed { path });
                let held = HeldTree::Kept(tree);
                Some(Filled { trees, index, held, layer_count, is_whole: true })
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

    /// Begins a tree that `layers` are unpacked to, where it can be used then.
    pub(super) fn begin(&self, layers: &[Layer]) -> Option<Begun> {
        let draft = self.session.kept.store().begin_tree(&name_of(layers), None)?;
        let rootfs = Rootfs::open(&draft.root());
        let rootfs = rootfs.inspect_err(|error| tracing::debug!(%error, "no tree is made")).ok()?;
        // Whether it is of any use is better known before it is filled.
        let trial = self.folder.join("trial");
        let trees = TreeStack::single(rootfs.clone());
        let tried = TreeOverlay::mount(self.mounts, &trees, &mut Index::new(), &trial);
        tried.inspect_err(not_used).ok()?;
        Some(Begun { draft, files: Files::Plain(rootfs) })
    }

    /// Begins a tree that those of `layers` are unpacked to that are not in `below`, upon which it will
    /// lie; the index is of what is in it before. `None` where there can be none; `below` serves as
    /// before.
    pub(super) fn begin_upon(&self, below: &Filled, layers: &[Layer]) -> Option<(Begun, Index)> {
        if !below.is_whole || below.trees.depth() >= TREE_DEPTH {
            return None;
        }
        let store = self.session.kept.store();
        let draft = store.begin_tree(&name_of(layers), Some(below.held.clone()))?;
        let mut index = below.index.clone();
        let scratch = self.folder.join("new");
        let mounted = NewTree::mount(self.mounts, &below.trees, &mut index, &scratch);
        let new = mounted.inspect_err(not_used).ok()?;
        Some((Begun { draft, files: Files::Upon(new) }, index))
    }

    /// Takes a tree that `layers` were unpacked to, and has it kept if it is whole. `None`: it cannot be
    /// used, nor can what it lies upon.
    pub(super) fn complete(
        &self,
        begun: Begun,
        layers: &[Layer],
        unpacked: Unpacked,
    ) -> Option<Filled> {
        let Begun { draft, files } = begun;
        let is_whole = unpacked.is_whole();
        let mut index = unpacked.index;
        let (trees, about) = match files {
            Files::Plain(rootfs) => (TreeStack::single(rootfs), Some(index.to_stored())),
            Files::Upon(new) => {
                let finished = new.finish(self.mounts, &mut index, &draft.root());
                let trees = finished.inspect_err(not_used).ok()?;
                let own = self.index_of(&draft.root());
                let own = own.inspect_err(|error| tracing::debug!(%error, "no tree is kept"));
                (trees, own.ok().map(|own| joined(&own, &index)))
            }
        };
        if is_whole && let Some(about) = about {
            draft.complete(about);
            self.session.kept.trees.drafts.borrow_mut().push(draft.clone());
        }
        let (held, layer_count) = (HeldTree::Draft(draft), layers.len());
        Some(Filled { trees, index, held, layer_count, is_whole })
    }

    /// Returns a root over a tree, with its index; `None` where that cannot be had.
    pub(super) fn mount(self, tree: Filled) -> Option<(Rootfs, Index, TreeRoot)> {
        let Filled { trees, mut index, held, .. } = tree;
        let scratch = self.folder.join("tree");
        let mounted = TreeOverlay::mount(self.mounts, &trees, &mut index, &scratch);
        let overlay = mounted.inspect_err(not_used).ok()?;
        let rootfs = overlay.rootfs().clone();
        Some((rootfs, index, TreeRoot { overlay, _scratch: self.scratch, _held: held }))
    }

    /// Reads what is known of a tree, and looks whether it still is so.
    fn read(&self, tree: &SharedTree) -> Result<(TreeStack, Index), String> {
        let mut layers = Vec::new();
        for tree in std::iter::successors(Some(tree), |tree| tree.below()) {
            let rootfs = Rootfs::open(&tree.root()).map_err(|error| error.to_string())?;
            let about = tree.about().map_err(|error| error.to_string())?;
            let (own, _) = parts(&about, tree.below().is_some()).ok_or(UNREADABLE)?;
            let own = index_on(&rootfs, own)?;
            match is_as_indexed(&rootfs, &own, Some(self.session.threads())) {
                Ok(true) => layers.push(rootfs),
                Ok(false) => return Err("somebody has changed its files".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
            if layers.len() == 1 && tree.below().is_none() {
                let tree = layers.swap_remove(0);
                return Ok((TreeStack::single(tree), own));
            }
        }
        let trees = TreeStack::of(self.mounts, layers).map_err(|error| one_line(&error))?;
        let about = tree.about().map_err(|error| error.to_string())?;
        let (_, seen) = parts(&about, true).ok_or(UNREADABLE)?;
        let index = index_on(trees.view(), seen)?;
        Ok((trees, index))
    }

    /// Returns what is known of the files in a tree's directory alone: the marks of an upper directory
    /// are files there.
    fn index_of(&self, directory: &Path) -> Result<Index, SnapshotError> {
        let threads = Some(self.session.threads());
        let options = SnapshotOptions { mode: Mode::Redo, threads, ..SnapshotOptions::default() };
        let rootfs = Rootfs::open(directory)?;
        let mut snapshotter = Snapshotter::new(rootfs, Index::new(), options);
        snapshotter.take(Scope::Everything(Reason::Mode))?;
        Ok(snapshotter.into_index())
    }
}

/// Why what is known of a tree is of no use.
const UNREADABLE: &str = "what is known of it cannot be read";

/// Joins what is known of a tree's own files, and of what is seen of it upon others.
fn joined(own: &Index, seen: &Index) -> Vec<u8> {
    let own = own.to_stored();
    [&(own.len() as u64).to_le_bytes()[..], &own, &seen.to_stored()].concat()
}

/// Takes that apart; upon nothing, both are one.
fn parts(about: &[u8], is_upon: bool) -> Option<(&[u8], &[u8])> {
    if !is_upon {
        return Some((about, about));
    }
    let (length, rest) = about.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

fn index_on(rootfs: &Rootfs, stored: &[u8]) -> Result<Index, String> {
    let top = rootfs.metadata(&RootfsPath::root()).map_err(|error| error.to_string())?;
    let index = top.and_then(|top| Index::from_stored(stored, top.dev));
    index.ok_or_else(|| UNREADABLE.to_owned())
}

impl Begun {
    /// Returns the directory to unpack to.
    pub(super) fn rootfs(&self) -> &Rootfs {
        match &self.files {
            Files::Plain(rootfs) => rootfs,
            Files::Upon(new) => new.rootfs(),
        }
    }
}

/// Tries whether roots can lie over trees of `directory`; `work` is where stages write if that is on the
/// same file system. Says why not, if they cannot. Leaves nothing behind.
pub(super) fn try_out(directory: &Path, work: &Path) -> Option<String> {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let home = if device(directory) == device(work) { work } else { directory };
    let folder = home.join(format!(".zuwai-tree-trial-{}", std::process::id()));
    // A thread of its own: nobody else is to be on these mounts.
    let tried = std::thread::scope(|scope| scope.spawn(|| mount_in(&folder)).join());
    let refusal = tried.unwrap_or_else(|_| Err("it cannot be tried".to_owned())).err();
    if let Err(error) = fs::remove_dir_all(&folder) {
        tracing::debug!(path = %folder.display(), %error, "a trial's directory stays, or was none");
    }
    refusal
}

fn mount_in(folder: &Path) -> Result<(), String> {
    let text = |error: &(dyn std::error::Error + 'static)| one_line(error);
    let mounts = OwnMounts::enter().map_err(|error| text(&error))?;
    let tree = folder.join("tree");
    fs::create_dir_all(&tree).map_err(|error| {
        format!("`{}` cannot be written to: {error}", folder.parent().unwrap_or(folder).display())
    })?;
    let trees = TreeStack::single(Rootfs::open(&tree).map_err(|error| text(&error))?);
    let mounted = TreeOverlay::mount(&mounts, &trees, &mut Index::new(), &folder.join("scratch"));
    mounted.map(drop).map_err(|error| text(&error))
}

fn not_used(error: &OverlayError) {
    tracing::debug!(error = %one_line(error), "no tree of the shared directory is used");
}
