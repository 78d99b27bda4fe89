//! What happens during a build, as values: the one channel from the phases to the reader.
//!
//! Lives low so that every phase can send; must not know how an event is shown.

mod gauge;
mod step;
mod totals;

use std::time::{Duration, Instant};

pub use gauge::{Counting, Gauge, GaugeView, LongWork, Reading};
pub use step::Step;
pub use totals::SnapshotTotals;

/// Something a reader of the build's log should learn.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The manifest of a base image is asked for.
    ResolvingImage {
        /// The image as the Dockerfile names it.
        reference: String,
    },
    /// What a base image is was remembered, so that no registry is asked.
    ImageRemembered {
        /// The image with its registry and tag or digest.
        reference: String,
        /// The digest of its manifest.
        digest: String,
        /// The directory that remembers it.
        place: String,
    },
    /// A base image is whole in the directory that builds share.
    ImageKept {
        /// The image as typed.
        reference: String,
        /// The digest of its manifest.
        digest: String,
        /// Layers that had to be downloaded.
        downloaded_count: u64,
    },
    /// A stage begins.
    StageStarted {
        /// Index of the stage in the Dockerfile, from 0.
        index: usize,
        /// Its base as the Dockerfile names it.
        base: String,
        /// The stage that is its base, if one is.
        base_index: Option<usize>,
    },
    /// A stage has a root file system, which its steps change from now on.
    RootReady {
        /// Where it is on this machine.
        path: std::path::PathBuf,
    },
    /// A stage needs no files on disk.
    UnpackSkipped,
    /// The headers of a base image's layers were read in place of unpacking it.
    HeadersRead {
        /// Layers that were read.
        layer_count: u64,
        /// Layers of which it was known what they say.
        known_count: u64,
        /// Files, directories, links and so on in the image.
        entry_count: u64,
        /// How long it took.
        elapsed: Duration,
    },
    /// A base image is unpacked in the directory that builds share.
    TreeUsed {
        /// Where.
        path: std::path::PathBuf,
    },
    /// A base image is written to disk.
    UnpackStarted {
        /// The step that needs files, as text.
        because_of: String,
    },
    /// A base image is on disk.
    UnpackFinished {
        /// Files, directories, links and so on.
        entry_count: u64,
        /// Bytes of regular files.
        bytes: u64,
        /// How long it took.
        elapsed: Duration,
    },
    /// A step begins.
    StepStarted(Step),
    /// A step has ended without error.
    StepFinished {
        /// Which one.
        step: Step,
        /// How long it took, its snapshot included.
        elapsed: Duration,
    },
    /// One line written by a command of a RUN, its newline included where there was one.
    RunOutput {
        /// The bytes, unchanged.
        bytes: Vec<u8>,
    },
    /// It is settled how changes are found, for a build, or for a stage otherwise than for the rest
    /// of it.
    TrackerChosen {
        /// The tracker's name.
        tracker: String,
        /// Why this one, and why not a better one.
        reason: String,
    },
    /// Changes are looked for.
    SnapshotStarted {
        /// How far.
        reach: SnapshotReach,
    },
    /// Changes were found and counted.
    SnapshotTaken(SnapshotWork),
    /// A step changed no file, so it made no layer.
    NothingChanged,
    /// A step's layers are those of an earlier build, and one of what has changed since.
    LayerGoesOn {
        /// Layers of the earlier build.
        layer_count: u64,
    },
    /// A layer is finished.
    LayerWritten {
        /// Digest of the compressed bytes.
        digest: String,
        /// Compressed size.
        size_bytes: u64,
        /// Size before compression.
        tar_bytes: u64,
        /// How long it took.
        elapsed: Duration,
    },
    /// What writing a layer took; follows [`Event::LayerWritten`].
    LayerCounted(LayerCounts),
    /// A base's blob was downloaded.
    BlobPulled {
        /// Digest of the blob.
        digest: String,
        /// What it took.
        transfer: Transfer,
        /// When; it may have been read and unpacked meanwhile.
        background: Background,
    },
    /// A blob is in a repository.
    BlobPushed {
        /// `registry/repository`.
        repository: String,
        /// Digest of the blob.
        digest: String,
        /// How it came there.
        route: BlobRoute,
        /// When, if that was beside other work.
        background: Option<Background>,
    },
    /// A push begins.
    PushStarted {
        /// The destination as typed.
        destination: String,
    },
    /// A push has ended; true in the registry when this is sent.
    Pushed {
        /// `registry/repository@sha256:…`.
        reference: String,
    },
    /// Nothing is pushed because `--no-push` says so.
    PushSkipped,
    /// A file or directory for the user is written.
    OutputWritten {
        /// What it is, such as `docker tarball`.
        kind: &'static str,
        /// Where it is.
        path: String,
    },
    /// The image is complete.
    ImageBuilt {
        /// Digest of its manifest.
        digest: String,
    },
    /// The layer cache was asked for a step.
    CacheChecked {
        /// The entry: `registry/repository:key`, or a file.
        name: String,
    },
    /// The layer cache has what a step makes.
    CacheHit {
        /// The instruction.
        text: String,
        /// The step's key.
        key: String,
    },
    /// The layer cache does not have it.
    CacheMissed {
        /// The instruction.
        text: String,
        /// The step's key.
        key: String,
        /// What is different since the last build of the same, where that is known.
        because: Option<String>,
    },
    /// The layer cache has it, and it is too old.
    CacheExpired {
        /// The entry.
        name: String,
    },
    /// A layer goes into the layer cache, in the background.
    CachePushed {
        /// The entry.
        name: String,
    },
    /// Work begins that may take long; it has ended when nobody holds its gauge any more.
    WorkStarted(Gauge),
    /// Time spent in one phase; may come several times and in parallel.
    PhaseTimed {
        /// Which one.
        phase: Phase,
        /// How long.
        elapsed: Duration,
    },
    /// Something the user should act on; shown once however often it is sent.
    Warning {
        /// What is wrong, and how to fix or silence it.
        text: String,
    },
}

/// What a snapshot found, and what it took to find it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotWork {
    /// Paths that differ.
    pub changed_count: u64,
    /// The tracker that said where to look, or `walk` and `content`; `None` where the step itself
    /// has said it.
    pub tracker: Option<String>,
    /// Whether the tracker has narrowed the search down.
    pub is_tracked: bool,
    /// Why the tracker's record was not relied upon, if it was not.
    pub fallback: Option<String>,
    /// Why the content of candidates was read, whatever the kernel says of them; empty, where only
    /// that of some was.
    pub content_because: Vec<String>,
    /// Paths that could have changed; `None` when that was all.
    pub scope_count: Option<u64>,
    /// Paths that the root held before.
    pub known_count: u64,
    /// Entries that were looked at.
    pub examined_count: u64,
    /// Directories that were listed.
    pub listed_count: u64,
    /// Files that were opened to read them.
    pub opened_count: u64,
    /// Bytes read for hashing.
    pub hashed_bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Counts of one layer's work; each byte is in each of them once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerCounts {
    /// Digest of the compressed bytes.
    pub digest: String,
    /// Entries of the tar.
    pub entry_count: u64,
    /// Regular files that were opened.
    pub opened_count: u64,
    /// Bytes read from them.
    pub read_bytes: u64,
    /// Bytes of their content digested.
    pub hashed_bytes: u64,
    /// Bytes of tar that went into the compressor.
    pub compressed_bytes: u64,
    /// Compressed bytes written to disk.
    pub spooled_bytes: u64,
    /// Times the layer was begun again because a file changed under the reader.
    pub restart_count: u64,
}

/// What it took to get a blob's bytes across.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes that crossed the network, repeated ones included.
    pub bytes: u64,
    /// Requests that carried them.
    pub requests: u32,
    /// Requests that went on where an earlier one broke.
    pub resumed: u32,
}

/// How a blob came into a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobRoute {
    /// It was there.
    Existed,
    /// It was taken over from another repository.
    Mounted,
    /// Its bytes were sent.
    Uploaded(Transfer),
}

/// When something was done beside other work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Background {
    /// When it began.
    pub started: Instant,
    /// How long it took.
    pub elapsed: Duration,
}

/// How far a snapshot looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotReach {
    /// Anywhere.
    FullFilesystem,
    /// At paths that are known already.
    Files,
}

/// Parts of a build that the time table tells apart, in the table's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Getting the context.
    Context,
    /// Manifests and configs of base images.
    Resolve,
    /// Asking the layer cache, and waiting for what is still to be stored in it.
    Cache,
    /// Downloading base images, beside whoever reads them.
    Pull,
    /// Reading headers of base images that are not unpacked, and waiting for them.
    Headers,
    /// Writing base images to disk, and waiting for them.
    Unpack,
    /// COPY and ADD.
    Copy,
    /// Commands of RUN.
    Run,
    /// Looking for changes.
    Snapshot,
    /// Writing and compressing layers.
    Layer,
    /// Uploads beside everything else.
    Upload,
    /// Tarball, layout and digest files.
    Export,
    /// Uploads that the build waited for.
    Push,
    /// Removing what the build left on disk.
    Cleanup,
}

impl Phase {
    /// Returns whether it goes on beside other phases, so that its time is not the build's.
    pub fn is_background(self) -> bool {
        matches!(self, Self::Pull | Self::Upload)
    }

    /// Returns the name shown in the table and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Resolve => "resolve",
            Self::Cache => "cache",
            Self::Pull => "pull",
            Self::Headers => "headers",
            Self::Unpack => "unpack",
            Self::Copy => "copy",
            Self::Run => "run",
            Self::Snapshot => "snapshot",
            Self::Layer => "layer",
            Self::Upload => "upload",
            Self::Export => "export",
            Self::Push => "push",
            Self::Cleanup => "cleanup",
        }
    }
}

/// Takes events; shared by all threads of a build.
pub trait EventSink: Send + Sync {
    /// Takes one event; must not block for long.
    fn send(&self, event: Event);
}

/// Keeps events, for tests of what a build reports.
#[derive(Debug, Default)]
pub struct EventLog(std::sync::Mutex<Vec<Event>>);

impl EventLog {
    /// Returns what was sent so far, in order, and forgets it.
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl EventSink for EventLog {
    fn send(&self, event: Event) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event);
    }
}
