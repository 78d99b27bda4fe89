//! Containers whose disk is too small, or has too few inodes: an error that says so, nothing half
//! done, and the next build in the same container is right.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Pod;
use crate::witness::harness::{bases, run};

/// A file system of its own for a container, in a file.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// Makes one with room for the container's image and `spare_bytes`, and with `inode_count`
    /// inodes.
    fn make(spare_bytes: u64, inode_count: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = super::program().unwrap();
        let size = fs::metadata(program).unwrap().len() + spare_bytes;
        let disk = Self { folder };
        run(Command::new("truncate").arg(format!("--size={size}")).arg(disk.image()));
        run(Command::new("mkfs.ext4")
            .args(["-q", "-m", "0", "-O", "^has_journal,^resize_inode", "-N"])
            .arg(inode_count.to_string())
            .arg(disk.image()));
        fs::create_dir(disk.place()).unwrap();
        run(Command::new("mount").args(["-o", "loop"]).arg(disk.image()).arg(disk.place()));
        disk
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("place")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that failed has said more.
        let _ = Command::new("umount").arg("--lazy").arg(self.place()).status();
    }
}

/// What the kernel says, and what there is to do.
const FULL: [&str; 2] = [
    "No space left on device",
    "hint: the file system has no space or no inodes left (`df`, `df -i`): give the container more \
     ephemeral storage",
];

/// Builds `what`, which does not fit, and then something small; both in one container.
fn check(test: &str, disk: &Disk, mut pod: Pod, what: &str, error: &str) {
    let base = "--build-context=base=oci-layout:///bases/busybox";
    pod.write("small/Dockerfile", "FROM base\nRUN echo small > /small && ! test -e /filled\n");
    let said = pod.script(&format!(
        "list > /shared/before\n\
         (build {what} {base} --build-context=build=oci-layout:///bases/build \
            --digest-file=/shared/out/never 2>&1) && exit 1\n\
         echo now something small\n\
         (build small {base} --cleanup 2>&1)\n\
         list > /shared/after\n"
    ));
    let (failed, _) = said.split_once("now something small\n").unwrap();
    for error in [error].into_iter().chain(FULL) {
        assert!(failed.contains(error), "{test}: no {error}\n{failed}");
    }
    assert!(!pod.path("out/never").exists(), "{test}");
    assert!(!pod.path("out").join(what).exists(), "{test}");
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"), "{test}");
    let layout = bases().join("busybox");
    let expected = pod.digest_in_namespaces(pod.build("small"), &[("base", &layout)]);
    assert_eq!(pod.digest("small"), expected, "{test}");
    drop(pod);
    assert!(Path::new(&disk.place()).exists());
}

/// Returns a pod on a disk; `None` where none can be made.
fn pod_on(test: &str, spare_bytes: u64, inode_count: u64) -> Option<(Disk, Pod)> {
    let pod = Pod::new(test)?;
    let disk = Disk::make(spare_bytes, inode_count);
    let directory = disk.place().join("pod").display().to_string();
    Some((disk, pod.option("--directory", &directory)))
}

#[test]
fn a_base_that_does_not_fit_ends_with_what_is_full() {
    let test = "a_base_that_does_not_fit_ends_with_what_is_full";
    let Some((disk, pod)) = pod_on(test, 24 << 20, 4096) else { return };
    pod.write("large/Dockerfile", "FROM build\nRUN true\n");
    check(test, &disk, pod, "large", "cause: cannot write `/usr/");
}

#[test]
fn a_command_that_fills_the_disk_fails_and_leaves_room() {
    let test = "a_command_that_fills_the_disk_fails_and_leaves_room";
    let Some((disk, pod)) = pod_on(test, 24 << 20, 4096) else { return };
    pod.write(
        "large/Dockerfile",
        "FROM base\n\
         RUN dd if=/dev/urandom of=/filled bs=1M count=14\n\
         RUN true\n",
    );
    check(test, &disk, pod, "large", "cause: cannot write `/kaniko/");
}

#[test]
fn a_base_with_more_files_than_there_are_inodes_says_so() {
    let test = "a_base_with_more_files_than_there_are_inodes_says_so";
    let Some((disk, pod)) = pod_on(test, 600 << 20, 1500) else { return };
    pod.write("large/Dockerfile", "FROM build\nRUN true\n");
    check(test, &disk, pod, "large", "cause: cannot create `/usr/");
}
