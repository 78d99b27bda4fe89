//! Unpacks a whole archive into a directory: contexts, and what `ADD` finds to be one.

use std::io::{self, BufReader, Read};

use snapshot::{Digest, Rootfs, RootfsError, RootfsPath};
use thiserror::Error;

use super::beneath::Beneath;
use super::decompress::{Format, decompress};
use super::limits::Limits;
use super::place::{
    Contents, DroppedXattrs, NotOnDisk, Ownership, PlaceError, PlaceOptions, Placer, State,
    make_implied,
};
use super::tar::{Reader, TarError};

/// Reads of the decompressed stream; larger files pass in pieces of this size.
const BUFFER_BYTES: usize = 128 << 10;

/// How an archive is extracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtractOptions {
    /// What the archive may cost.
    pub limits: Limits,
    /// Who owns what is extracted.
    pub ownership: Ownership,
    /// Whether contents are hashed on the way.
    pub contents: Contents,
}

/// What an extraction did.
#[derive(Debug, Default)]
pub struct Extracted {
    /// How the archive was compressed.
    pub format: Option<Format>,
    /// Entries in the archive, its root and repetitions included.
    pub entry_count: u64,
    /// Size of the archive, decompressed.
    pub tar_bytes: u64,
    /// Every path that was made or changed, and what was replaced, in the order it happened;
    /// a path may occur more than once. Paths are those of the root file system, free of links.
    pub touched: Vec<Touched>,
    /// What could not be made.
    pub not_on_disk: Vec<(RootfsPath, NotOnDisk)>,
    /// Extended attributes that could not be set, by name (users' own as one).
    pub dropped_xattrs: Vec<(&'static str, DroppedXattrs)>,
}

/// A path that an extraction touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The path, free of links in its parents.
    pub path: RootfsPath,
    /// Digest of the content or link target, where asked for and where there is one.
    pub content: Option<Digest>,
}

/// An archive that could not be extracted. Half of it may be there.
#[derive(Debug, Error)]
pub enum ExtractError {
    /// The archive could not be opened at all.
    #[error("cannot read the archive")]
    Open(#[source] io::Error),
    /// An entry could not be read or placed.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

impl From<TarError> for ExtractError {
    fn from(error: TarError) -> Self {
        Self::Place(error.into())
    }
}

impl From<RootfsError> for ExtractError {
    fn from(error: RootfsError) -> Self {
        Self::Place(error.into())
    }
}

/// Extracts the archive `source`, compressed or not, into the directory `destination`, which is
/// made when it is missing (mode 0755, root's).
///
/// Links in `destination` are followed, its last component's too. For the archive, `destination`
/// is the root: no link in it leads out, whatever it says. What is in an entry's way is removed,
/// but a directory stays where a directory comes. The archive's own root (`./`) changes nothing.
///
/// # Errors
/// See [`ExtractError`].
pub fn extract(
    source: impl Read + Send,
    rootfs: &Rootfs,
    destination: &RootfsPath,
    options: &ExtractOptions,
) -> Result<Extracted, ExtractError> {
    extract_to(source, &ExtractTo { rootfs, destination, beneath: None }, options)
}

/// Where an archive goes.
#[derive(Debug, Clone, Copy)]
pub struct ExtractTo<'a> {
    /// The root file system.
    pub rootfs: &'a Rootfs,
    /// The directory in it.
    pub destination: &'a RootfsPath,
    /// A tree with the same paths that gets what is covered by a mount, or protected.
    pub beneath: Option<&'a Rootfs>,
}

/// Extracts as [`extract`] does, and keeps what cannot be where it belongs.
///
/// # Errors
/// See [`ExtractError`].
pub fn extract_to(
    source: impl Read + Send,
    to: &ExtractTo<'_>,
    options: &ExtractOptions,
) -> Result<Extracted, ExtractError> {
    let ExtractTo { rootfs, destination, beneath } = *to;
    let (format, stream) = decompress(source, &options.limits).map_err(ExtractError::Open)?;
    let mut reader = Reader::new(BufReader::with_capacity(BUFFER_BYTES, stream), options.limits);
    let mut extracted = Extracted { format: Some(format), ..Extracted::default() };

    let base = rootfs.resolve(destination)?;
    extracted.touch(&RootfsPath::root(), make_implied(rootfs, &base, options.ownership)?);
    let root = rootfs.subtree(&base)?;
    let place_options = PlaceOptions {
        ownership: options.ownership,
        contents: options.contents,
        implied_mtime: None,
    };
    let mut placer = Placer::new(&root, place_options);
    if let Some(beneath) = beneath {
        beneath.create_dir_all(&base, &Beneath::WAY)?;
        placer = placer.keeping_covered(&Beneath::new(beneath.subtree(&base)?, Vec::new()));
    }
    while let Some(entry) = reader.next_entry()? {
        if entry.path.is_root() {
            continue;
        }
        let placed = placer.place(&entry, &mut reader)?;
        extracted.touch(&base, placed.made);
        let path = below(&base, &placed.path);
        if let State::NotOnDisk(reason) = placed.state {
            extracted.not_on_disk.push((path.clone(), reason));
        }
        extracted.touched.push(Touched { path, content: placed.content });
    }
    extracted.entry_count = reader.entry_count();
    extracted.tar_bytes = reader.offset();
    let dropped = placer.finish(&mut |_, _, _| {})?;
    extracted.dropped_xattrs = dropped.into_iter().collect();
    Ok(extracted)
}

impl Extracted {
    fn touch(&mut self, base: &RootfsPath, paths: Vec<RootfsPath>) {
        let touched = paths.iter().map(|path| Touched { path: below(base, path), content: None });
        self.touched.extend(touched);
    }
}

fn below(base: &RootfsPath, path: &RootfsPath) -> RootfsPath {
    path.components().fold(base.clone(), |path, component| path.join_name(component))
}

/// Returns the limits for what is unpacked into `rootfs`: those that its free space sets.
///
/// # Errors
/// When the kernel does not say how much is free.
pub fn limits_for(rootfs: &Rootfs) -> io::Result<Limits> {
    let statistics = rustix::fs::fstatvfs(rootfs.as_fd())?;
    Ok(Limits::for_free_space(statistics.f_bavail.saturating_mul(statistics.f_frsize)))
}
