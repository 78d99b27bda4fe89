//! What earlier builds and warmers have left in the shared directory, for one build.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use jiff::Timestamp;
use snapshot::Digest;

use super::error::BuildError;
use super::options::{NewContent, SharedOptions, TagLookup};
use super::trees::Trees;
use crate::cache::{BaseImages, KanikoDirectory, KanikoTarball, KeptImage, Sought};
use crate::image::{Image, ImageConfig, ImageFormat, Manifest, Platform, Reference};
use crate::interrupt::Interrupt;
use crate::registry::ResolvedImage;
use crate::report::event::{Event, EventSink};
use crate::sandbox::Form;
use crate::store::{Access, Blob, Documents, SharedStore, Store};

/// The shared directory of one build.
pub(super) struct Kept {
    images: BaseImages,
    kaniko: KanikoDirectory,
    options: SharedOptions,
    /// Blobs that were handed out from there.
    used: RefCell<BTreeSet<Digest>>,
    /// Blobs that were not what they are named by.
    damaged: RefCell<BTreeSet<Digest>>,
    /// Base images that are, or get, unpacked there.
    pub(super) trees: Trees,
    /// kaniko's tarballs of images that are used; `None` where one cannot be read.
    tarballs: RefCell<BTreeMap<Digest, Option<KanikoTarball>>>,
}

impl Kept {
    pub(super) fn open(options: &SharedOptions) -> Self {
        let directory = options.directory.as_path();
        let access = match options.new_content {
            NewContent::Kept => Access::Write,
            NewContent::KeptWhereItIs if directory.is_dir() => Access::Write,
            NewContent::KeptWhereItIs | NewContent::NotKept => Access::Read,
        };
        let store = SharedStore::open(directory, access);
        Self {
            images: BaseImages::new(store, options.time_to_live),
            kaniko: KanikoDirectory::new(directory),
            options: options.clone(),
            used: RefCell::default(),
            damaged: RefCell::default(),
            trees: Trees::default(),
            tarballs: RefCell::default(),
        }
    }

    pub(super) fn store(&self) -> &SharedStore {
        self.images.store()
    }

    /// Returns what layers say in their headers.
    pub(super) fn headers(&self) -> Documents {
        self.store().headers()
    }

    /// Returns the image that a reference named when a warmer asked for it, so that no registry has
    /// to be.
    pub(super) fn find(
        &self,
        events: &dyn EventSink,
        reference: &Reference,
        platform: &Platform,
    ) -> Option<KeptImage> {
        let is_pinned = reference.digest().is_some();
        if self.options.tags == TagLookup::Registry && !is_pinned {
            return None;
        }
        match self.images.find(reference, platform, Timestamp::now()) {
            Sought::Found(image) => {
                let place = self.store().folder().display().to_string();
                let reference = reference.whole();
                let digest = image.digest.to_string();
                events.send(Event::ImageRemembered { reference, digest, place });
                self.use_tarball(&image.digest);
                return Some(*image);
            }
            Sought::Absent => {}
            Sought::Expired { checked } => {
                tracing::debug!(%reference, %checked, "what it named then is too long ago");
            }
        }
        let digest = reference.digest()?.parse().ok()?;
        let image = self.kaniko.image(&digest)?;
        let place = self.options.directory.display().to_string();
        let (reference, digest) = (reference.whole(), image.digest.to_string());
        events.send(Event::ImageRemembered { reference, digest, place });
        self.use_tarball(&image.digest);
        Some(image)
    }

    /// Notes what a registry has said that a reference names.
    pub(super) fn resolved(&self, image: &ResolvedImage, platform: &Platform) {
        self.use_tarball(&image.digest);
        // What a tag named is for warmers to say: who runs them wants it to be remembered.
        if image.reference.digest().is_some() {
            self.images.keep(image, platform, Timestamp::now());
        }
    }

    fn use_tarball(&self, digest: &Digest) {
        if self.kaniko.contains(digest) {
            self.tarballs
                .borrow_mut()
                .entry(*digest)
                .or_insert_with(|| self.kaniko.tarball(digest));
        }
    }

    /// Returns a layer that is there; `None`: it has to come from elsewhere. kaniko's are copied to
    /// `store`, and checked on the way.
    pub(super) fn blob(&self, store: &Store, digest: &Digest, size_bytes: u64) -> Option<Blob> {
        if self.damaged.borrow().contains(digest) {
            return None;
        }
        if let Some(blob) = self.store().blob(digest, size_bytes) {
            self.used.borrow_mut().insert(*digest);
            return Some(blob);
        }
        let tarballs = self.tarballs.borrow();
        let mut layers = tarballs.values().flatten().filter_map(|tarball| tarball.layer(digest));
        let mut layer = layers.next()?;
        let copied = store.spool().and_then(|mut writer| {
            // What cannot be read is not what was promised either.
            let read = io::copy(&mut layer, &mut writer);
            if let Err(error) = read {
                tracing::debug!(%digest, %error, "a layer of kaniko's tarball cannot be read");
            }
            writer.commit(Some((digest, size_bytes)))
        });
        match copied {
            Ok(blob) => Some(blob),
            Err(error) => {
                tracing::debug!(%digest, %error, "a layer of kaniko's tarball is not used");
                self.damaged.borrow_mut().insert(*digest);
                None
            }
        }
    }

    /// Tells whether a layer could be had from there, without reading it.
    pub(super) fn has(&self, digest: &Digest, size_bytes: u64) -> bool {
        !self.damaged.borrow().contains(digest) && self.store().has_blob(digest, size_bytes)
    }

    /// Tells whether a layer was handed out from there, and is trusted still.
    pub(super) fn is_used(&self, digest: &Digest) -> bool {
        self.used.borrow().contains(digest)
    }

    /// Notes that a layer is not what it is named by; tells whether it came from there.
    pub(super) fn distrust(&self, digest: &Digest) -> bool {
        let was_used = self.used.borrow_mut().remove(digest);
        if was_used {
            self.store().distrust(digest);
        }
        was_used
    }

    /// Gets ready for roots over trees, where commands run in `form`: before any root is opened, for
    /// what is opened earlier is on mounts that are not the build's own.
    pub(super) fn prepare_trees(&self, form: Form) {
        if form == Form::Namespaces && (self.store().is_writable() || self.store().has_trees()) {
            self.trees.prepare();
        }
    }

    /// Returns what keeps blobs and trees of the build for others; may run in a thread of its own.
    pub(super) fn keeper(&self, blobs: Vec<Blob>, interrupt: &Interrupt) -> impl FnOnce() + Send {
        let (store, interrupt) = (self.store().clone(), interrupt.clone());
        let trees = self.trees.drafts();
        // A larger one would have everything else removed for it.
        let tree_limit_bytes = self.options.limit_bytes.map(|limit| limit / 2);
        move || {
            blobs.iter().for_each(|blob| store.put_blob(blob, &interrupt));
            for tree in trees {
                if interrupt.check().is_ok() {
                    tree.keep(tree_limit_bytes);
                }
            }
        }
    }

    /// Makes room for what was kept, if need be.
    pub(super) fn keep_within_limit(&self) {
        self.store().keep_within(self.options.limit_bytes);
    }

    /// Tells, once, what was wrong with the directory.
    pub(super) fn tell(&self, events: &dyn EventSink) {
        for trouble in self.store().take_troubles() {
            events.send(Event::Warning { text: trouble.to_string() });
        }
        let mut damaged = std::mem::take(&mut *self.damaged.borrow_mut());
        damaged.extend(self.store().take_distrusted());
        if let Some(first) = damaged.first() {
            let place = self.options.directory.display();
            let count = damaged.len();
            let text = match count {
                1 => format!("the blob `{first}` in `{place}` is damaged and was not used"),
                count => format!(
                    "{count} blobs in `{place}`, the first `{first}`, are damaged and were not used"
                ),
            };
            events.send(Event::Warning { text });
        }
    }
}

/// Returns the image that a manifest and its config describe.
pub(super) fn image_of(
    name: &str,
    manifest: &Manifest,
    config: ImageConfig,
    media_type: &str,
) -> Result<Image, BuildError> {
    let format = ImageFormat::of_manifest(media_type)
        .map_err(|source| BuildError::BaseType { image: name.to_owned(), source })?;
    Image::from_parts(manifest, config, format)
        .map_err(|source| BuildError::BaseImage { image: name.to_owned(), source })
}
