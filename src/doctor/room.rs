//! The room that a build has: file systems, memory, processes, and what is mounted in its way.

use std::path::Path;

use super::facts::{Facts, WorkDirectory};
use super::finding::Finding;
use crate::build::{Outlook, TreesOutcome, TreesTrial};
use crate::sandbox::{GroupLimits, Mount};

pub(super) fn findings(facts: &Facts, outlook: &Outlook) -> Vec<Finding> {
    let mut findings = vec![
        root(facts.root()),
        work_directory(&facts.work, outlook),
        unpacked_images(outlook.trees.as_ref()),
    ];
    findings.extend(limits(&facts.limits));
    findings.extend(mounts(facts));
    findings
}

fn root(root: Option<&Mount>) -> Finding {
    const ABOUT: &str = "root file system";
    match root {
        None => Finding::not_tried(ABOUT, "the kernel does not say what it is"),
        Some(Mount { kind, is_read_only: false, .. }) => {
            Finding::yes(ABOUT, format!("{kind}, can be written to"))
        }
        Some(Mount { kind, .. }) => Finding::no(ABOUT, format!("{kind}, read-only"))
            .costs("without namespaces there is no place for a stage that runs commands")
            .given_by("`readOnlyRootFilesystem: false`"),
    }
}

fn work_directory(work: &WorkDirectory, outlook: &Outlook) -> Finding {
    const ABOUT: &str = "work directory";
    let path = work.path.display();
    let kind = work.file_system.as_deref().unwrap_or("unknown");
    let bytes = work.free_bytes.map_or("unknown".to_owned(), bytes);
    let inodes = work.free_inodes.map_or(String::new(), |count| format!(" and {count} inodes"));
    let found = format!("`{path}`, {kind}, {bytes}{inodes} free");
    match (&outlook.home, &outlook.sandbox) {
        (Some(_), _) => Finding::yes(ABOUT, found),
        (None, None) => Finding::not_tried(ABOUT, found),
        (None, Some(_)) => Finding::no(ABOUT, found)
            .costs("no build has a place for its files")
            .given_by("an `emptyDir` mounted somewhere, and `--kaniko-dir` naming it"),
    }
}

fn unpacked_images(trial: Option<&TreesTrial>) -> Finding {
    const ABOUT: &str = "unpacked images";
    let Some(TreesTrial { directory, outcome }) = trial else {
        return Finding::not_tried(ABOUT, "not reached");
    };
    let directory = directory.display();
    match outcome {
        TreesOutcome::Usable => Finding::yes(
            ABOUT,
            format!("bases and cached layers can stay unpacked in `{directory}` for later builds"),
        ),
        TreesOutcome::NoDirectory => {
            Finding::not_tried(ABOUT, format!("there is no `{directory}`: name a `--cache-dir`"))
        }
        TreesOutcome::Refused(reason) => Finding::no(ABOUT, reason.clone())
            .costs("each build unpacks its base, and the cached layers upon it")
            .given_by("`privileged: true`, and a `--cache-dir` on ext4, XFS or btrfs"),
    }
}

fn limits(limits: &GroupLimits) -> Vec<Finding> {
    let of = |limit: Option<String>, used: Option<String>| match (limit, used) {
        (Some(limit), Some(used)) => format!("{limit}, of which {used} are used"),
        (Some(limit), None) => limit,
        (None, Some(used)) => format!("no limit seen; {used} used"),
        (None, None) => "no limit seen".to_owned(),
    };
    let processors = limits.processors_milli.map_or("no limit seen".to_owned(), |milli| {
        format!("{}.{:03} processors", milli / 1000, milli % 1000)
    });
    vec![
        Finding::fact(
            "memory limit",
            of(limits.memory_bytes.map(bytes), limits.memory_used_bytes.map(bytes)),
        ),
        Finding::fact(
            "process limit",
            of(
                limits.processes.map(|count| count.to_string()),
                limits.processes_used.map(|count| count.to_string()),
            ),
        ),
        Finding::fact("CPU limit", processors),
    ]
}

/// Returns a size in words, rounded down.
fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = UNITS.iter().find(|(_, shift)| bytes >> shift > 0);
    match unit {
        Some((name, shift)) => {
            let tenths = (bytes >> (shift - 10)) % 1024 * 10 / 1024;
            format!("{}.{tenths} {name}", bytes >> shift)
        }
        None => format!("{bytes} bytes"),
    }
}

/// File systems that the kernel makes up, and that every container has.
const KERNEL: [&str; 11] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "mqueue",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "bpf",
];

/// What of the kernel's own is mounted where it makes up its own tree.
const KERNEL_TREES: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Names what a Pod has mounted into `/`, which an image cannot have there.
fn mounts(facts: &Facts) -> Vec<Finding> {
    let is_in = |mount: &Mount, tree: &str| mount.point.starts_with(tree);
    let of_pod = |mount: &&Mount| {
        mount.point != Path::new("/")
            && !KERNEL.contains(&mount.kind.as_str())
            && !KERNEL_TREES.iter().any(|tree| is_in(mount, tree))
    };
    let is_ours = |mount: &Mount| {
        let own = facts.kept.iter().chain([&facts.work.path]);
        own.into_iter().any(|own| mount.point.starts_with(own))
    };
    let describe = |mount: &Mount| {
        let access = if mount.is_read_only { "read-only" } else { "writable" };
        format!("`{}` ({}, {access})", mount.point.display(), mount.kind)
    };
    let (ours, others): (Vec<&Mount>, Vec<&Mount>) =
        facts.mounts.iter().filter(of_pod).partition(|mount| is_ours(mount));
    let text = |mounts: &[&Mount]| {
        let mounts: Vec<String> = mounts.iter().map(|mount| describe(mount)).collect();
        if mounts.is_empty() { "none".to_owned() } else { mounts.join(", ") }
    };
    let mut findings = vec![Finding::fact("mounts in `/`", text(&others))];
    if !ours.is_empty() {
        findings.push(Finding::fact("mounts of the build", text(&ours)));
    }
    let has_account = others
        .iter()
        .any(|mount| mount.point.ends_with("run/secrets/kubernetes.io/serviceaccount"));
    if has_account {
        findings.push(
            Finding::no("token kept out", "the service account's token is mounted")
                .costs("in `/` of the container a RUN can read it")
                .given_by("`automountServiceAccountToken: false`"),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_down() {
        for (size, expected) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1_048_575, "1023.9 KiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(bytes(size), expected);
        }
    }
}
