//! The witnesses of builds in namespaces, built in place: the same images.

use std::fs;
use std::path::{Path, PathBuf};

use super::Pod;
use crate::skip::{Reason, skip};
use crate::witness::harness::{Tree, bases, has_package_mirror, unpack_layout, write_many_files};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Copies files, or all files of a directory, into a context of the pod.
fn give(pod: &Pod, context: &str, from: &[PathBuf]) {
    let folder = pod.path(context);
    fs::create_dir_all(&folder).unwrap();
    for path in from {
        let files: Vec<PathBuf> = match path.is_dir() {
            true => fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect(),
            false => vec![path.clone()],
        };
        for file in files {
            fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
        }
    }
}

/// A context of the pod, in words, and what of its image no two builds have alike.
struct Witness {
    context: &'static str,
    what: &'static str,
    /// None: the images have one digest. Else their trees are equal but for these.
    passing: Option<&'static [&'static str]>,
}

/// Builds contexts after another in one container, and each in namespaces: the same images, and in
/// the end the container is as it was.
fn compare(pod: &mut Pod, witnesses: &[Witness], layouts: &[(&str, &str)]) {
    let layouts: Vec<(&str, PathBuf)> =
        layouts.iter().map(|(name, base)| (*name, bases().join(base))).collect();
    let arguments: String = layouts
        .iter()
        .map(|(name, layout)| {
            let base = layout.file_name().unwrap().to_str().unwrap();
            format!(" --build-context={name}=oci-layout:///bases/{base}")
        })
        .collect();
    let builds: Vec<String> =
        witnesses.iter().map(|witness| format!("build {}{arguments}", witness.context)).collect();
    // The builds before the last leave their files to the next one.
    let builds = builds.join(" > /dev/null)\n(");
    pod.script(&format!(
        "list > /shared/before\n({builds} --cleanup > /dev/null)\nlist > /shared/after\n"
    ));
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));
    let layouts: Vec<(&str, &Path)> =
        layouts.iter().map(|(name, layout)| (*name, layout.as_path())).collect();
    for Witness { context, what, passing } in witnesses {
        let (ours, theirs) = (pod.path("out").join(context), pod.path("out").join("in-namespaces"));
        let expected = pod.build_in_namespaces(pod.build(context), &layouts, &theirs);
        match passing {
            None => assert_eq!(pod.digest(context), expected, "{what}: another image"),
            Some(passing) => tree(&theirs, passing).assert_equals(&tree(&ours, passing), what),
        }
        fs::remove_dir_all(theirs).unwrap();
    }
}

/// Describes the tree of a layout's image, but for some paths and what is below them.
pub(super) fn tree(layout: &Path, but: &[&str]) -> Tree {
    let folder = tempfile::tempdir().unwrap();
    let rootfs = folder.path().join("rootfs");
    unpack_layout(&format!("{}:latest", layout.display()), &rootfs);
    Tree::of(&rootfs, &[]).without(|path, _| but.iter().any(|but| Path::new(path).starts_with(but)))
}

#[test]
fn programs_and_every_kind_of_change_give_the_images_of_namespaces() {
    let test = "programs_and_every_kind_of_change_give_the_images_of_namespaces";
    let Some(mut pod) = Pod::new(test) else { return };
    give(&pod, "hello", &[repository("examples/hello")]);
    let witness = repository("tests/witness");
    give(&pod, "changes", &[witness.join("changes"), witness.join("tree.py")]);
    compare(
        &mut pod,
        &[
            Witness { context: "changes", what: "every kind of change", passing: None },
            Witness { context: "hello", what: "the hello example", passing: None },
        ],
        &[("base", "build"), ("base-build", "build"), ("base-small", "busybox")],
    );
}

#[test]
fn packages_and_many_files_give_the_images_of_namespaces() {
    let test = "packages_and_many_files_give_the_images_of_namespaces";
    let Some(mut pod) = Pod::new(test) else { return };
    let witness = repository("tests/witness");
    give(&pod, "dpkg", &[bases().join("packages"), witness.join("tree.py")]);
    give(&pod, "copy", &[witness.join("tree.py")]);
    for name in ["dpkg", "copy"] {
        let file = witness.join(format!("packages/Dockerfile.{name}"));
        fs::copy(file, pod.path(name).join("Dockerfile")).unwrap();
    }
    write_many_files(&pod.path("copy"));
    let witnesses = [
        Witness { context: "copy", what: "20,000 copied files", passing: None },
        // Packages write down when they were installed.
        Witness { context: "dpkg", what: "packages with scripts", passing: Some(&["var/log"]) },
    ];
    compare(&mut pod, &witnesses, &[("base", "build")]);
}

#[test]
fn servers_and_daemons_give_the_images_of_namespaces() {
    let test = "servers_and_daemons_give_the_images_of_namespaces";
    let Some(mut pod) = Pod::new(test) else { return };
    let witness = repository("tests/witness");
    give(&pod, "daemon", &[witness.join("daemon"), witness.join("tree.py")]);
    let mut witnesses = vec![Witness {
        context: "daemon",
        what: "a daemon",
        // How often it wrote before it was killed, and the process that it was.
        passing: Some(&["var/log/daemon", "run/daemon.pid"]),
    }];
    if has_package_mirror() {
        give(&pod, "apt", &[witness.join("tree.py")]);
        fs::copy(witness.join("packages/Dockerfile.apt"), pod.path("apt").join("Dockerfile"))
            .unwrap();
        witnesses.push(Witness {
            context: "apt",
            what: "a server from a mirror",
            // A cluster has an identity of its own, a key is drawn, and logs and caches tell times.
            passing: Some(&["var/lib/postgresql", "etc/ssl", "var/log", "var/cache", "run"]),
        });
    } else {
        skip(test, Reason::NoNetwork("a server: no Debian mirror can be reached from here"));
    }
    compare(&mut pod, &witnesses, &[("base", "build")]);
}
