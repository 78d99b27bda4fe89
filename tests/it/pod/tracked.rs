//! How changes are found in an ordinary Pod: by watches on every inode, of a large base too.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};
use snapshot::Digest;

use super::Pod;
use crate::skip::{Reason, skip};
use crate::witness::harness::bases;

/// Files that the large base has beside busybox, in directories of twenty.
const FILE_COUNT: u64 = 62_000;

/// What a step of the tests below may look at: it names some ten paths, and on an overlay, as a
/// container's root is one, files with several names are always looked at, which busybox's 270 are.
const MOST_EXAMINED: u64 = 400;

/// Some of each kind of change, a write through a hard link and a moved directory among them.
const DOCKERFILE: &str = "FROM base\n\
    RUN echo one > /srv/tree/0/00/1 && rm /srv/tree/0/00/2 && ln /srv/tree/1/20/407 /srv/other\n\
    RUN echo two >> /srv/other && mv /srv/tree/1/21 /srv/moved && echo in > /srv/moved/new\n\
    RUN true\n\
    RUN echo three > /srv/moved/new && chmod 600 /srv/tree/0/00/3 && mkdir -p /new/dir\n";

/// Writes a layout with busybox's layer and one of many small files.
fn write_large_base(layout: &Path) {
    let busybox = bases().join("busybox");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        digest.to_string()
    };
    let read = |digest: &Value| -> Value {
        let name = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        serde_json::from_slice(&fs::read(busybox.join("blobs/sha256").join(name)).unwrap()).unwrap()
    };
    let index = fs::read(busybox.join("index.json")).unwrap();
    let mut index: Value = serde_json::from_slice(&index).unwrap();
    let mut manifest = read(&index["manifests"][0]["digest"]);
    let mut config = read(&manifest["config"]["digest"]);

    let layer = tar_of_many_files();
    let digest = put(&layer);
    config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(json!(digest));
    let config = config.to_string();
    manifest["config"]["digest"] = json!(put(config.as_bytes()));
    manifest["config"]["size"] = json!(config.len());
    let below = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let below = below.strip_prefix("sha256:").unwrap();
    fs::copy(busybox.join("blobs/sha256").join(below), blobs.join(below)).unwrap();
    manifest["layers"].as_array_mut().unwrap().push(json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": digest,
        "size": layer.len(),
    }));
    let manifest = manifest.to_string();
    index["manifests"][0]["digest"] = json!(put(manifest.as_bytes()));
    index["manifests"][0]["size"] = json!(manifest.len());
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

fn tar_of_many_files() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |kind, path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
        header.set_size(content.len() as u64);
        header.set_mtime(1_600_000_000);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, content).unwrap();
    };
    let directory = tar::EntryType::Directory;
    add(directory, "srv/", b"");
    add(directory, "srv/tree/", b"");
    for number in 0..FILE_COUNT {
        let (top, folder) = (number / 400, number / 20);
        if number % 400 == 0 {
            add(directory, &format!("srv/tree/{top}/"), b"");
        }
        if number % 20 == 0 {
            add(directory, &format!("srv/tree/{top}/{folder:02}/"), b"");
        }
        // Most are empty, as what they hold is not what this is about.
        let content = if number % 20 == 7 { number.to_string() } else { String::new() };
        let path = format!("srv/tree/{top}/{folder:02}/{number}");
        add(tar::EntryType::Regular, &path, content.as_bytes());
    }
    tar.into_inner().unwrap()
}

/// Returns what a build wrote about its trackers, and about its snapshots after commands.
fn record(pod: &Pod, name: &str) -> (Value, Vec<Value>) {
    let record: Value = serde_json::from_slice(&fs::read(pod.path(name)).unwrap()).unwrap();
    (record["trackers"].clone(), record["snapshots"].as_array().unwrap().clone())
}

fn max_user_watches() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches")?;
    text.trim().parse().map_err(io::Error::other)
}

#[test]
fn every_inode_of_a_large_base_is_watched_without_privilege() {
    let test = "every_inode_of_a_large_base_is_watched_without_privilege";
    let Some(mut pod) = Pod::new(test) else { return };
    // As many again have to be free, and other tests take some.
    if max_user_watches().unwrap() < 3 * FILE_COUNT {
        let reason = "the kernel's fs.inotify.max_user_watches is too small for the tree twice";
        return skip(test, Reason::OtherKind(reason));
    }
    pod.write("context/Dockerfile", DOCKERFILE);
    let layout = pod.path("base");
    write_large_base(&layout);
    pod.script(
        "(build context --build-context=base=oci-layout:///shared/base --tracker=inotify \
         --watch-limit=80000 --benchmark-file=/shared/record.json --cleanup > /dev/null)\n",
    );
    let (trackers, snapshots) = record(&pod, "record.json");
    assert_eq!(trackers, json!([{"tracker": "inotify", "reason": "asked for"}]));
    let mut changed = Vec::new();
    for snapshot in &snapshots {
        assert_eq!(snapshot["tracker"], "inotify", "{snapshot}");
        assert_eq!(snapshot["tracked"], true, "{snapshot}");
        assert_eq!(snapshot["fallback"], Value::Null, "{snapshot}");
        let count = |name: &str| snapshot[name].as_u64().unwrap();
        assert!(count("known") > FILE_COUNT, "{snapshot}");
        assert!(count("examined") < MOST_EXAMINED, "{snapshot}");
        changed.push(count("changed"));
    }
    assert_eq!(changed.len(), 4, "{snapshots:?}");
    assert_eq!(changed[2], 0, "{snapshots:?}");
    // What was looked at was enough.
    let build = pod.build("context").arg("--tracker=walk");
    let expected = pod.digest_in_namespaces(build, &[("base", &layout)]);
    assert_eq!(pod.digest("context"), expected);
}

#[test]
fn the_choice_is_told_with_its_reasons() {
    let Some(mut pod) = Pod::new("the_choice_is_told_with_its_reasons") else { return };
    pod.write("context/Dockerfile", "FROM base\nRUN echo x > /x\nRUN rm /x\n");
    let base = "--build-context=base=oci-layout:///bases/busybox --tracker=auto --cleanup";
    pod.script(&format!(
        "(build context {base} --benchmark-file=/shared/free.json > /dev/null)\n\
         (build context {base} --watch-limit=100 --benchmark-file=/shared/few.json > /dev/null)\n"
    ));
    let why = "overlay: commands run in the root of the container itself; fanotify: cannot make an \
               event queue: Operation not permitted (os error 1)";
    let (trackers, snapshots) = record(&pod, "free.json");
    assert_eq!(trackers, json!([{"tracker": "inotify", "reason": why}]));
    assert_eq!(snapshots.len(), 2);
    assert!(snapshots.iter().all(|snapshot| snapshot["tracker"] == "inotify"), "{snapshots:?}");

    let (trackers, snapshots) = record(&pod, "few.json");
    assert_eq!(trackers[0], json!({"tracker": "inotify", "reason": why}));
    assert_eq!(trackers[1]["tracker"], "walk");
    let reason = trackers[1]["reason"].as_str().unwrap();
    assert!(reason.starts_with("inotify: "), "{reason}");
    let limit = " inodes would have to be watched and 100 may be (the limit given)";
    assert!(reason.ends_with(limit), "{reason}");
    // Where timestamps do not tell, it is the content that does.
    assert!(snapshots.iter().all(|snapshot| snapshot["tracked"] == false), "{snapshots:?}");
}
