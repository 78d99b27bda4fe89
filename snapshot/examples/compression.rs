//! What each compression level gives and costs: the layer of a directory's files, written to nowhere.
//!
//! `compression DIRECTORY [gzip LEVEL…] [zstd LEVEL…]`
//!
//! Prints a line for each level: name, level, bytes of the layer, and seconds of processor time, all
//! threads together. First comes the tar as it is (`none 0`): what reading and the digests cost.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for its printed figures")]

use std::error::Error;
use std::io;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use snapshot::layer::{
    Compression, Contents, GzipLevel, LayerOptions, MtimeRule, ZstdLevel, write_layer,
};
use snapshot::{Changeset, Index, Reason, Rootfs, Scope, SnapshotOptions, Snapshotter};

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut words: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let rootfs = Rootfs::open(words.next().ok_or("which directory?")?.as_ref())?;
    let mut snapshotter =
        Snapshotter::new(rootfs.clone(), Index::new(), SnapshotOptions::default());
    let changes = snapshotter.take(Scope::Everything(Reason::NoTracker))?.changeset;
    let contents = Contents::in_rootfs(rootfs);
    // The first reading may wait for a disk.
    measure(&contents, &changes, Compression::None)?;
    let (bytes, elapsed) = measure(&contents, &changes, Compression::None)?;
    println!("none 0 {bytes} {:.2}", elapsed.as_secs_f64());
    let mut format = String::new();
    for word in words {
        let Ok(level) = word.parse() else {
            format = word;
            continue;
        };
        let compression = match format.as_str() {
            "gzip" => Compression::Gzip { level: GzipLevel::new(level)? },
            "zstd" => Compression::Zstd { level: ZstdLevel::new(level)? },
            _ => return Err(format!("`{format}` is neither gzip nor zstd").into()),
        };
        let (bytes, elapsed) = measure(&contents, &changes, compression)?;
        println!("{format} {level} {bytes} {:.2}", elapsed.as_secs_f64());
    }
    Ok(())
}

/// Writes the layer and returns its size and what it took.
fn measure(
    contents: &Contents,
    changes: &Changeset,
    compression: Compression,
) -> Result<(u64, Duration), Box<dyn Error>> {
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let options = LayerOptions { compression, threads, mtime: MtimeRule::Keep };
    let start = processor_time();
    let (layer, _) = write_layer(contents, changes, &options, io::sink(), &mut |_: &_, _: &_| {})?;
    Ok((layer.size_bytes, processor_time().saturating_sub(start)))
}

/// Returns the time that all threads of this process have run.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
