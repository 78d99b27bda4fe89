//! Where the files that a stage starts with come from: the stage before it, a tree that builds share,
//! or its base's layers.

use snapshot::Index;

use super::{Part, Stages};
use crate::build::error::BuildError;
use crate::build::needs::{changes_files, copied_stages, runs};
use crate::build::roots::{Home, Root};
use crate::build::tracking::Tracking;
use crate::build::trees;
use crate::build::unpacking::Unpacking;
use crate::image::{Image, Layer};
use crate::plan::Base;

impl Stages<'_> {
    /// Makes the root file system that a stage starts with.
    pub(super) fn base_root(
        &mut self,
        part: Part<'_>,
        image: &Image,
        tracking: &Tracking,
    ) -> Result<Root, BuildError> {
        let Part { position, stage, .. } = part;
        let has_commands = stage.steps.iter().any(runs);
        let needs_place = self.roots.are_in_place() && has_commands;
        if let Some(root) = self.inherit(part, needs_place) {
            return Ok(root);
        }
        let first = stage.steps.iter().find(|step| changes_files(step));
        let because_of = first.map_or_else(|| stage.text.clone(), |step| step.text.clone());
        if needs_place {
            self.make_room();
            let (rootfs, beneath) = self.roots.occupy(position)?;
            let index = self.unpacking(image.layers(), because_of).run(&rootfs, Some(&beneath))?;
            self.roots.settle(index, beneath)
        } else if has_commands
            && tracking.allows_trees()
            && let Some(root) = self.root_over_tree(part, image, &because_of)?
        {
            Ok(root)
        } else {
            self.unpack(image, because_of)
        }
    }

    /// Takes over the files of a stage's base where nobody else will look at them.
    pub(super) fn inherit(&mut self, part: Part<'_>, needs_place: bool) -> Option<Root> {
        let Part { position, stage, uses, .. } = part;
        let Base::Stage(base) = stage.base else { return None };
        if !part.on_base {
            return None;
        }
        let is_last = uses.get(base).is_some_and(|uses| uses.last_reader == Some(position));
        let copies_too = copied_stages(stage).any(|source| source == base);
        if is_last && !copies_too { self.take_over(base, position, needs_place) } else { None }
    }

    /// Takes the files of the stage `base` for the one at `position`, if they are where that needs
    /// them.
    fn take_over(&mut self, base: usize, position: usize, needs_place: bool) -> Option<Root> {
        let root = self.finished.get_mut(base)?.root.take()?;
        match root.home {
            Home::Place(_) => {
                self.roots.pass_on(position);
                Some(root)
            }
            Home::Folder(_) | Home::Tree(_) if !needs_place => Some(root),
            Home::Folder(_) | Home::Tree(_) | Home::Moved(_) => {
                // Its layers are unpacked again; the folder goes when the stage is done.
                self.finished.get_mut(base)?.root = Some(root);
                None
            }
        }
    }

    /// Gives up the files of the stage that is in `/`: nobody copies from them, and a stage that
    /// starts from it can have them from its layers.
    fn make_room(&mut self) {
        let occupant = self.roots.occupant();
        if let Some(finished) = occupant.and_then(|occupant| self.finished.get_mut(occupant)) {
            finished.root = None;
        }
    }

    fn unpacking<'s>(&'s self, layers: &'s [Layer], because_of: String) -> Unpacking<'s> {
        Unpacking { session: self.session, bases: self.bases, layers, because_of }
    }

    /// Returns a root over the tree of what a stage's base begins with, and makes that if it has to;
    /// `None` where there can be none.
    fn root_over_tree(
        &mut self,
        part: Part<'_>,
        image: &Image,
        because_of: &str,
    ) -> Result<Option<Root>, BuildError> {
        let layers = image.layers();
        let base_count = self.foreign_layer_count(part, image);
        // What is the same in the next build: layers that are made anew are not.
        let lasting_count = part.lasting_layer_count.clamp(base_count, layers.len());
        let (lasting, _) = layers.split_at(lasting_count);
        let (base, _) = layers.split_at(base_count);
        if base.is_empty() {
            return Ok(None);
        }
        let folder = self.roots.create_folder()?;
        let Some(place) = trees::Place::of(self.session, folder) else { return Ok(None) };
        let mut tree = match place.find(lasting, base_count) {
            Some(tree) => tree,
            None => {
                let Some(new) = place.begin(base) else { return Ok(None) };
                let unpacking = self.unpacking(base, because_of.to_owned());
                let unpacked = unpacking.run_onto(new.rootfs(), Index::new(), None)?;
                let Some(tree) = place.complete(new, base, unpacked) else { return Ok(None) };
                tree
            }
        };
        let (_, missing) = lasting.split_at(tree.layer_count.min(lasting.len()));
        if !missing.is_empty()
            && let Some((new, index)) = place.begin_upon(&tree, lasting)
        {
            let unpacking = self.unpacking(missing, because_of.to_owned());
            let unpacked = unpacking.run_onto(new.rootfs(), index, None)?;
            let Some(above) = place.complete(new, lasting, unpacked) else { return Ok(None) };
            tree = above;
        }
        let (_, left) = layers.split_at(tree.layer_count.min(layers.len()));
        let Some((rootfs, index, root)) = place.mount(tree) else { return Ok(None) };
        let unpacking = self.unpacking(left, because_of.to_owned());
        let index = unpacking.run_onto(&rootfs, index, None)?.index;
        Ok(Some(Root { rootfs, index, home: Home::Tree(root) }))
    }

    /// Returns how many layers at the bottom of an image are those of the base image of all.
    fn foreign_layer_count(&self, part: Part<'_>, image: &Image) -> usize {
        let mut stage = Some(part.stage);
        while let Some(found) = stage {
            match &found.base {
                Base::Scratch => return 0,
                Base::Image(request) => {
                    return self.bases.image(request).layers().len().min(image.layers().len());
                }
                Base::Stage(below) => stage = part.plan.stages.get(*below),
            }
        }
        0
    }

    pub(super) fn unpack(&mut self, image: &Image, because_of: String) -> Result<Root, BuildError> {
        let (rootfs, folder) = self.roots.create()?;
        let index = self.unpacking(image.layers(), because_of).run(&rootfs, None)?;
        Ok(Root { rootfs, index, home: Home::Folder(folder) })
    }
}
