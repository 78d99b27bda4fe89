//! What the steps of one stage are given of the others.

use std::path::PathBuf;

use snapshot::Rootfs;

use super::Stages;
use crate::build::bases::name_of;
use crate::build::error::BuildError;
use crate::build::roots::Root;
use crate::build::steps::Supply;
use crate::image::Image;
use crate::plan::CopySource;
use crate::report::event::Event;

impl Supply for Stages<'_> {
    fn copy_root(&mut self, source: &CopySource) -> Result<Rootfs, BuildError> {
        match source {
            CopySource::Stage(position) => {
                let root = self.stage(*position).root.as_ref();
                let root = root.expect("`uses` keeps the root of a stage that is copied from");
                Ok(root.rootfs.clone())
            }
            CopySource::Image(request) => {
                if let Some(root) = self.copied_images.get(request) {
                    return Ok(root.rootfs.clone());
                }
                let image = self.bases.image(request);
                let root =
                    Stages::unpack(self, &image, format!("COPY --from={}", name_of(request)))?;
                let rootfs = root.rootfs.clone();
                self.copied_images.insert(request.clone(), root);
                Ok(rootfs)
            }
            CopySource::Context | CopySource::NamedContext(_) => {
                unreachable!("contexts are no root file systems")
            }
        }
    }

    fn make_aside(&mut self) -> Result<PathBuf, BuildError> {
        self.roots.make_aside()
    }

    fn unpack(&mut self, image: &Image, because_of: String) -> Result<Root, BuildError> {
        let root = Stages::unpack(self, image, because_of)?;
        self.session.events.send(Event::RootReady { path: root.home.path().to_owned() });
        Ok(root)
    }
}
