//! The tests' Dockerfiles built by Debian's buildah: another program's image has the same tree.
//!
//! Two are not built by both. `daemon/Dockerfile` leaves a process running, which buildah, in a
//! chroot, neither ends nor outlives. `packages/Dockerfile.apt` makes a database with an identity and
//! keys that no two builds share.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::harness::{Build, Tree, bases, run, unpack_layout, write_many_files};
use crate::skip_unless_available;

/// A storage of images and containers of its own, gone with this value.
struct Buildah {
    folder: tempfile::TempDir,
    /// Arguments that both builds get.
    arguments: Vec<String>,
}

/// Why a path may differ.
struct Exception {
    path: &'static str,
    differs: Differs,
    reason: &'static str,
}

enum Differs {
    /// It and what is below it, or whether it is there at all.
    Altogether,
    /// One field of the rows that `tree.py` prints.
    In(&'static str),
}

const fn altogether(path: &'static str, reason: &'static str) -> Exception {
    Exception { path, differs: Differs::Altogether, reason }
}

/// What buildah always does otherwise.
const ALWAYS: [Exception; 7] = [
    altogether("etc/hostname", "buildah leaves the mount points of its own files in the image"),
    altogether("etc/hosts", "as above"),
    altogether("etc/resolv.conf", "as above"),
    altogether("run", "buildah keeps what it made to mount upon"),
    altogether("dev", "as above; and what is mounted cannot be seen by the command that prints"),
    altogether("proc", "as above"),
    altogether("sys", "as above"),
];

impl Buildah {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), arguments: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs buildah, and returns what it printed without the end of the line.
    fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        fs::create_dir_all(self.path("tmp")).unwrap();
        let output = run(Command::new("buildah")
            .arg("--root")
            .arg(self.path("root"))
            .arg("--runroot")
            .arg(self.path("run"))
            .args(["--storage-driver", "vfs"])
            .args(arguments)
            .env("TMPDIR", self.path("tmp")));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Takes in one of the bases of `hack/bases.sh`.
    fn take_in(&self, base: &str) {
        let (root, runroot) = (self.path("root"), self.path("run"));
        run(Command::new("skopeo")
            .args(["copy", "--quiet"])
            .arg(format!("oci:{}:latest", bases().join(base).display()))
            .arg(format!(
                "containers-storage:[vfs@{}+{}]localhost/{base}:latest",
                root.display(),
                runroot.display()
            )));
    }

    /// Builds a Dockerfile as `localhost/built`, and returns what it printed.
    fn build(&self, case: &Case<'_>) -> String {
        for (name, base) in case.bases {
            self.run(["tag", &format!("localhost/{base}"), &format!("localhost/{name}")]);
        }
        // In a chroot: namespaces of a container need rights over cgroups that CI may not have. The
        // capabilities are those that our own steps have.
        let arguments = ["build", "--isolation=chroot", "--cap-add=all", "--layers=false"];
        let dockerfile = case.context.join("Dockerfile");
        let image = ["--pull=never", "--format=oci", "--tag=localhost/built", "--file"];
        let both = self.arguments.iter().map(OsStr::new);
        let arguments = arguments.iter().map(OsStr::new).chain(both);
        let arguments = arguments.chain(image.iter().map(OsStr::new));
        self.run(arguments.chain([dockerfile.as_os_str(), case.context.as_os_str()]))
    }

    /// Describes the tree of the image that was built.
    fn image_tree(&self) -> Tree {
        let container = self.run(["from", "--pull=never", "localhost/built"]);
        let tree = Tree::of(Path::new(&self.run(["mount", &container])), &[]);
        self.run(["rm", &container]);
        tree
    }
}

/// A Dockerfile that both build.
struct Case<'a> {
    /// A directory with the Dockerfile in it.
    context: &'a Path,
    /// Names in the Dockerfile, and the bases that they stand for.
    bases: &'a [(&'a str, &'a str)],
    exceptions: &'a [Exception],
    /// Whether the time of an entry that is no directory comes from outside of the build.
    is_timed: fn(&str) -> bool,
}

impl Case<'_> {
    fn ours(&self) -> Build {
        let build = Build::of(self.context);
        self.bases.iter().fold(build, |build, (name, base)| build.base(name, base))
    }

    /// Drops what may differ.
    fn comparable(&self, tree: Tree) -> Tree {
        let mut tree = tree.without(|path, row| {
            let is_excepted = |exception: &Exception| {
                matches!(exception.differs, Differs::Altogether)
                    && Path::new(path).starts_with(exception.path)
            };
            row["kind"] == "socket" || ALWAYS.iter().chain(self.exceptions).any(is_excepted)
        });
        for (path, row) in &mut tree.0 {
            let Value::Object(fields) = row else { continue };
            // Buildah keeps whole seconds only.
            let time = fields.remove("mtime_ns").and_then(|time| time.as_i64()).unwrap();
            if fields["kind"] != "directory" && (self.is_timed)(path) {
                fields.insert("mtime".to_owned(), (time / 1_000_000_000).into());
            }
            for exception in self.exceptions {
                if let Differs::In(field) = exception.differs
                    && exception.path == path
                {
                    fields.remove(field);
                }
            }
        }
        tree
    }

    /// Compares the trees that the last RUN prints. That our image has the printed one is held by
    /// the tests beside these.
    fn compare_printed(&self, buildah: &Buildah) {
        let theirs = Tree::parse(&buildah.build(self));
        self.compare(theirs, self.ours().arg("--no-push").succeed().printed_tree());
    }

    /// Compares the trees of the images.
    fn compare_images(&self, buildah: &Buildah) {
        buildah.build(self);
        let ours = self.ours().args(buildah.arguments.iter().map(String::as_str));
        self.compare(buildah.image_tree(), image_tree(ours));
    }

    fn compare(&self, theirs: Tree, ours: Tree) {
        for Exception { path, differs, reason } in self.exceptions {
            let part = |tree: &Tree| match differs {
                Differs::Altogether => tree.0.get(*path).cloned(),
                Differs::In(field) => tree.0.get(*path).map(|row| row[*field].clone()),
            };
            assert_ne!(part(&ours), part(&theirs), "{path} needs no exception: {reason}");
        }
        let what = self.context.display().to_string();
        self.comparable(theirs).assert_equals(&self.comparable(ours), &what);
    }
}

/// Returns the tree of the image that a build wrote to a layout, unpacked by umoci.
fn image_tree(build: Build) -> Tree {
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    build.arg("--no-push").arg(format!("--oci-layout-path={}", layout.display())).succeed();
    let named = folder.path().join("named");
    run(Command::new("skopeo")
        .args(["copy", "--quiet"])
        .arg(format!("oci:{}", layout.display()))
        .arg(format!("oci:{}:image", named.display())));
    let rootfs = folder.path().join("rootfs");
    unpack_layout(&format!("{}:image", named.display()), &rootfs);
    Tree::of(&rootfs, &[])
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Makes a context of files of the project.
fn context(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let source = project(file);
        fs::copy(&source, folder.path().join(source.file_name().unwrap())).unwrap();
    }
    folder
}

/// Buildah 1.28 knows no heredocs, so the script becomes one command.
fn without_heredocs(dockerfile: &str) -> String {
    let (before, rest) = dockerfile.split_once("<<BUILD\n").unwrap();
    let (script, after) = rest.split_once("\nBUILD\n").unwrap();
    format!("{before}{}\n{after}", script.replace('\n', "; "))
}

fn never(_: &str) -> bool {
    false
}

#[test]
fn copied_files_are_as_buildah_copies_them() {
    skip_unless_available!();
    let buildah = Buildah::new();
    buildah.take_in("busybox");
    let folder = context(&["tests/witness/copies/Dockerfile"]);
    run(Command::new("python3").arg(project("tests/witness/copies/prepare.py")).arg(folder.path()));
    let case = Case {
        context: folder.path(),
        bases: &[("base", "busybox")],
        exceptions: &[Exception {
            path: "modes",
            differs: Differs::In("mode"),
            reason: "BuildKit's octal --chmod counts for the directories that COPY has to make",
        }],
        // The others are made by RUN steps, or stand in the base.
        is_timed: |path| {
            !["from", "from-link", "link-to-real"]
                .iter()
                .any(|made| Path::new(path).starts_with(made))
        },
    };
    case.compare_images(&buildah);
}

#[test]
fn what_is_mounted_into_a_command_leaves_what_buildah_leaves() {
    skip_unless_available!();
    let mut buildah = Buildah::new();
    buildah.take_in("busybox");
    let folder = tempfile::tempdir().unwrap();
    let key = buildah.path("key");
    fs::write(&key, "a secret").unwrap();
    buildah.arguments.push(format!("--secret=id=key,src={}", key.display()));
    fs::create_dir_all(folder.path().join("tree/deep")).unwrap();
    fs::write(folder.path().join("tree/deep/file"), "of the context").unwrap();
    // On what the base has not: of what it has buildah 1.28 removes the mount points afterwards.
    fs::write(
        folder.path().join("Dockerfile"),
        "FROM base AS made\n\
         RUN mkdir -p /made/by && echo me > /made/by/whom && chown -R 7:8 /made\n\
         FROM base\n\
         RUN mkdir -p /srv && echo kept > /srv/kept\n\
         RUN --mount=type=bind,source=tree,target=/srv/empty \
             --mount=type=bind,from=made,source=/made,target=/srv/full \
             --mount=type=cache,target=/srv/cache --mount=type=tmpfs,target=/srv/memory \
             --mount=type=secret,id=key,target=/srv/key \
             set -e; cat /srv/empty/deep/file /srv/full/by/whom /srv/key > /seen; \
             stat -c '%u:%g' /srv/full/by >> /seen; echo lost > /srv/cache/lost; \
             echo lost > /srv/memory/lost; test -e /srv/kept\n\
         RUN --mount=type=cache,target=/srv/cache cat /srv/cache/lost >> /seen; ls /srv >> /seen\n",
    )
    .unwrap();
    let case = Case {
        context: folder.path(),
        bases: &[("base", "busybox")],
        exceptions: &[],
        is_timed: never,
    };
    case.compare_images(&buildah);
}

#[test]
fn what_commands_leave_is_what_buildah_finds() {
    skip_unless_available!();
    let buildah = Buildah::new();
    buildah.take_in("build");
    let folder = context(&[
        "tests/witness/changes/Dockerfile",
        "tests/witness/changes/prepare.py",
        "tests/witness/changes/change.py",
        "tests/witness/tree.py",
    ]);
    let case = Case {
        context: folder.path(),
        bases: &[("base", "build")],
        exceptions: &[],
        is_timed: never,
    };
    case.compare_printed(&buildah);

    let folder = context(&["tests/witness/tree.py"]);
    fs::copy(project("tests/witness/packages/Dockerfile.dpkg"), folder.path().join("Dockerfile"))
        .unwrap();
    for entry in fs::read_dir(bases().join("packages")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let case = Case {
        context: folder.path(),
        bases: &[("base", "build")],
        exceptions: &[altogether("var/log/dpkg.log", "it tells the time")],
        is_timed: never,
    };
    case.compare_printed(&buildah);

    let folder = context(&["tests/witness/tree.py"]);
    fs::copy(project("tests/witness/packages/Dockerfile.copy"), folder.path().join("Dockerfile"))
        .unwrap();
    write_many_files(folder.path());
    let case = Case {
        context: folder.path(),
        bases: &[("base", "build")],
        exceptions: &[],
        // Buildah rounds times to seconds, up or down; `copies` has whole ones.
        is_timed: never,
    };
    case.compare_printed(&buildah);

    buildah.take_in("busybox");
    let folder =
        context(&["examples/hello/control", "examples/hello/hello.c", "examples/hello/postinst"]);
    let dockerfile = fs::read_to_string(project("examples/hello/Dockerfile")).unwrap();
    fs::write(folder.path().join("Dockerfile"), without_heredocs(&dockerfile)).unwrap();
    let case = Case {
        context: folder.path(),
        bases: &[("base-build", "build"), ("base-small", "busybox")],
        exceptions: &[],
        is_timed: never,
    };
    case.compare_images(&buildah);
}
