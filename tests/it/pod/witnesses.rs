//! The witnesses of builds in namespaces, built in place: the same images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Pod;
use crate::witness::harness::{Tree, bases, run};

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

/// Builds two contexts after another in one container, and each in namespaces: the same images, and
/// in the end the container is as it was.
fn compare(pod: &mut Pod, contexts: [(&str, &str); 2], layouts: &[(&str, &str)]) {
    let layouts: Vec<(&str, PathBuf)> =
        layouts.iter().map(|(name, base)| (*name, bases().join(base))).collect();
    let arguments: String = layouts
        .iter()
        .map(|(name, layout)| {
            let base = layout.file_name().unwrap().to_str().unwrap();
            format!(" --build-context={name}=oci-layout:///bases/{base}")
        })
        .collect();
    let [(first, _), (second, _)] = contexts;
    pod.script(&format!(
        "list > /shared/before\n\
         (build {first} {arguments} > /dev/null)\n\
         (build {second} {arguments} --cleanup > /dev/null)\n\
         list > /shared/after\n"
    ));
    let read = |name: &str| fs::read_to_string(pod.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));
    let layouts: Vec<(&str, &Path)> =
        layouts.iter().map(|(name, layout)| (*name, layout.as_path())).collect();
    for (name, what) in contexts {
        let (ours, theirs) = (pod.path("out").join(name), pod.path("out").join("in-namespaces"));
        if pod.build_in_namespaces(pod.build(name), &layouts, &theirs) != pod.digest(name) {
            // Packages write down when they were installed.
            assert_eq!(name, "dpkg", "{what}: another image");
            tree(&theirs).assert_equals(&tree(&ours), what);
        }
        fs::remove_dir_all(theirs).unwrap();
    }
}

/// Describes the tree of a layout's image, but for logs.
fn tree(layout: &Path) -> Tree {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle");
    let image = format!("{}:latest", layout.display());
    run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle));
    Tree::of(&bundle.join("rootfs"), &[]).without(|path, _| path.starts_with("var/log/"))
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
        [("changes", "every kind of change"), ("hello", "the hello example")],
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
    for directory in 0..200 {
        let path = pod.path("copy").join(format!("files/{}/{directory}", directory % 7));
        fs::create_dir_all(&path).unwrap();
        for file in 0..100 {
            fs::write(path.join(format!("{file}.txt")), format!("{directory}/{file}")).unwrap();
        }
    }
    let contexts = [("copy", "20,000 copied files"), ("dpkg", "packages with scripts")];
    compare(&mut pod, contexts, &[("base", "build")]);
}
