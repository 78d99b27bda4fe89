//! How changes are found: three flags that say one thing.

use snapshot::track::TrackerKind;

use crate::build::options::SnapshotMode;
use crate::cli::args::SnapshotArgs;
use crate::cli::error::Error;

/// Lowers `--snapshot-mode`, `--use-new-run` and `--tracker`.
///
/// # Errors
/// A value that is none, or two that contradict each other.
pub fn mode(args: &SnapshotArgs) -> Result<SnapshotMode, Error> {
    let mode = args.snapshot_mode.as_deref().filter(|text| !text.is_empty());
    let mode = mode.map(snapshot_mode).transpose()?;
    let tracker = args.tracker.as_deref().filter(|text| !text.is_empty());
    let Some(name) = tracker else {
        return Ok(match mode {
            // Pipelines give both, and kaniko takes the second.
            Some(_) if args.use_new_run => SnapshotMode::Auto,
            Some(mode) => mode,
            None => SnapshotMode::Auto,
        });
    };
    let tracker = tracker_mode(name)?;
    let contradicts = |flag: String| {
        Err(Error::WrongValue {
            flag: "--tracker",
            value: name.to_owned(),
            reason: format!("`{flag}` asks for another way to find changes; give one of them"),
        })
    };
    let records = match tracker {
        SnapshotMode::Auto => true,
        SnapshotMode::Tracker(kind) => !matches!(kind, TrackerKind::Walk | TrackerKind::Content),
        SnapshotMode::Time => false,
    };
    if args.use_new_run && !records {
        return contradicts("--use-new-run".to_owned());
    }
    match mode {
        None => Ok(tracker),
        Some(mode) if mode == tracker => Ok(tracker),
        // Time is a walk.
        Some(SnapshotMode::Time) if tracker == SnapshotMode::Tracker(TrackerKind::Walk) => {
            Ok(SnapshotMode::Time)
        }
        // What `--use-new-run` stands over says nothing.
        Some(_) if args.use_new_run => Ok(tracker),
        Some(_) => {
            let typed = args.snapshot_mode.as_deref().unwrap_or_default();
            contradicts(format!("--snapshot-mode={typed}"))
        }
    }
}

/// Lowers `--watch-limit`.
///
/// # Errors
/// A number below 0.
pub fn watch_limit(args: &SnapshotArgs) -> Result<Option<u64>, Error> {
    let to_count = |number: i64| {
        u64::try_from(number).map_err(|_| Error::WrongValue {
            flag: "--watch-limit",
            value: number.to_string(),
            reason: "expected a count of 0 or more".to_owned(),
        })
    };
    args.watch_limit.map(to_count).transpose()
}

fn snapshot_mode(text: &str) -> Result<SnapshotMode, Error> {
    match text {
        "full" => Ok(SnapshotMode::Tracker(TrackerKind::Content)),
        "redo" => Ok(SnapshotMode::Tracker(TrackerKind::Walk)),
        "time" => Ok(SnapshotMode::Time),
        other => Err(Error::WrongValue {
            flag: "--snapshot-mode",
            value: other.to_owned(),
            reason: "expected full, redo or time".to_owned(),
        }),
    }
}

fn tracker_mode(text: &str) -> Result<SnapshotMode, Error> {
    match text {
        "auto" => Ok(SnapshotMode::Auto),
        other => other.parse().map(SnapshotMode::Tracker).map_err(|_| Error::WrongValue {
            flag: "--tracker",
            value: other.to_owned(),
            reason: "expected auto, overlay, fanotify, inotify, walk or content".to_owned(),
        }),
    }
}
