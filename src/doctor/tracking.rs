//! How changes can be found.

use snapshot::Blindness;
use snapshot::track::{Allowance, TrackerKind};

use super::facts::{Facts, Inotify};
use super::finding::Finding;
use crate::build::{Outlook, TrackerTrial};

pub(super) fn findings(facts: &Facts, outlook: &Outlook) -> Vec<Finding> {
    let refusal = |kind| {
        let trial = outlook.trackers.iter().find(|trial| trial.kind == kind);
        trial.map(|TrackerTrial { refusal, .. }| refusal.as_deref())
    };
    let tracker = |kind, about, found, cost, setting| match refusal(kind) {
        None => Finding::not_tried(about, "not reached"),
        Some(None) => Finding::yes(about, found),
        Some(Some(reason)) => Finding::no(about, reason).costs(cost).given_by(setting),
    };
    vec![
        tracker(
            TrackerKind::Overlay,
            "tracker overlay",
            "each command can run on an overlay in the work directory",
            "changes are not read off an overlay's upper directory; the next best way is taken",
            "`privileged: true`, and a work directory that is no overlay itself: `--kaniko-dir` on \
             an `emptyDir`",
        ),
        tracker(
            TrackerKind::Fanotify,
            "tracker fanotify",
            "one mark on the file system reports every change",
            "changes are not reported for a whole file system; the next best way is taken",
            "`privileged: true`, and a file system that knows its files by handles",
        ),
        tracker(
            TrackerKind::Inotify,
            "tracker inotify",
            "a watch on each inode reports every change",
            "after each RUN everything is looked at",
            "a seccomp profile that allows `inotify_init1`, and free watches on the node",
        ),
        watches(&facts.inotify, outlook.watches),
        timestamps(outlook),
    ]
}

fn watches(inotify: &Inotify, allowance: Option<Allowance>) -> Finding {
    const ABOUT: &str = "inotify watches";
    let Some(max) = inotify.max_user_watches else {
        return Finding::no(ABOUT, "the node's limit cannot be read")
            .costs("no watch is taken: after each RUN everything is looked at");
    };
    let number = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
    let mut found = format!(
        "max_user_watches {max}, max_user_instances {}, max_queued_events {}; in use, as far as is \
         seen from here: {} watches of {} instances",
        number(inotify.max_user_instances),
        number(inotify.max_queued_events),
        inotify.watches_seen,
        inotify.instances_seen,
    );
    if let Some(Allowance { watch_count, bound }) = allowance {
        found.push_str(&format!("; up to {watch_count} inodes of a stage are watched ({bound})"));
    }
    Finding::fact(ABOUT, found)
        .costs("in a larger stage everything is looked at after each RUN")
        .given_by(
            "a higher `fs.inotify.max_user_watches` of the node, a higher memory limit, or \
             `--watch-limit`",
        )
}

fn timestamps(outlook: &Outlook) -> Finding {
    const ABOUT: &str = "timestamps";
    match (&outlook.home, outlook.blind_to.as_slice()) {
        (None, _) => Finding::not_tried(ABOUT, "not reached"),
        (Some(home), []) => Finding::yes(
            ABOUT,
            format!("the file system of `{}` tells of every change", home.display()),
        ),
        (Some(home), blind_to) => {
            let reasons: Vec<String> = blind_to.iter().map(Blindness::to_string).collect();
            let found =
                format!("on the file system of `{}`, {}", home.display(), reasons.join("; "));
            Finding::no(ABOUT, found)
                .costs("what no tracker vouches for is read, and not only looked at")
                .given_by(
                    "a work directory on ext4 or xfs, such as an `emptyDir` on the node's disk",
                )
        }
    }
}
