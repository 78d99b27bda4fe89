//! `RUN --mount` in whole builds: a command finds what it is given, and no layer has any of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::skip_unless_available;
use crate::witness::harness::{Build, Built, run};

mod caches;
mod keys;
mod secrets;

/// A secret that must be nowhere.
pub(super) const MARKER: &str = "mark-2f9c1e7a-er";

/// A context with some files, and a Dockerfile that says `FROM base`.
pub(crate) struct Project {
    folder: TempDir,
}

impl Project {
    pub(crate) fn new(dockerfile: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = Self { folder };
        project.write("context/Dockerfile", dockerfile);
        for (name, content) in [
            ("context/file", "of the context\n"),
            ("context/tree/deep/one", "1\n"),
            ("context/tree/two", "2\n"),
            ("key", MARKER),
        ] {
            project.write(name, content);
        }
        project
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
    }

    /// Prepares a build into a layout.
    pub(crate) fn build(&self, arguments: &[&str]) -> Build {
        let layout = format!("--oci-layout-path={}", self.path("layout").display());
        let secret = format!("--secret=id=key,src={}", self.path("key").display());
        Build::of(&self.path("context"))
            .base("base", "busybox")
            .args(["--no-push", "--reproducible", "--destination=image:latest"])
            .args([layout.as_str(), secret.as_str()])
            .args(arguments.iter().copied())
    }

    pub(crate) fn succeed(&self, arguments: &[&str]) -> Built {
        let layout = self.path("layout");
        if layout.exists() {
            fs::remove_dir_all(&layout).unwrap();
        }
        self.build(arguments).succeed()
    }

    /// Builds and returns how the build failed.
    pub(crate) fn fail(&self, arguments: &[&str]) -> String {
        let built = self.build(arguments).run();
        assert!(!built.output.status.success(), "{}", built.text());
        built.text()
    }

    pub(crate) fn digest(&self) -> String {
        let index: Value = read_json(&self.path("layout/index.json"));
        index["manifests"][0]["digest"].as_str().unwrap().to_owned()
    }

    pub(crate) fn blob(&self, digest: &Value) -> PathBuf {
        let name = digest.as_str().unwrap().trim_start_matches("sha256:");
        self.path("layout/blobs/sha256").join(name)
    }

    pub(crate) fn manifest(&self) -> Value {
        let index: Value = read_json(&self.path("layout/index.json"));
        read_json(&self.blob(&index["manifests"][0]["digest"]))
    }

    /// Returns the paths in the last layer.
    pub(crate) fn last_layer(&self) -> Vec<String> {
        let manifest = self.manifest();
        let last = manifest["layers"].as_array().unwrap().last().unwrap();
        let listed = run(Command::new("tar").arg("-tzf").arg(self.blob(&last["digest"])));
        String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Returns every byte of the image: its documents, and its layers unpacked.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in fs::read_dir(self.path("layout/blobs/sha256")).unwrap() {
            let blob = fs::read(entry.unwrap().path()).unwrap();
            if blob.starts_with(&[0x1f, 0x8b]) {
                let mut reader = flate2::read::MultiGzDecoder::new(blob.as_slice());
                std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
            }
            bytes.extend(blob);
        }
        bytes
    }
}

pub(super) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub(super) fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// One of each, some on paths that the base has not, and one on a directory that it has.
const ALL_KINDS: &str = "FROM base\n\
    RUN mkdir -p /srv/full && echo kept > /srv/full/kept\n\
    RUN --mount=type=cache,target=/root/.cache/deep --mount=type=bind,source=tree,target=/opt/a/b \
        --mount=type=tmpfs,target=/scratch/t --mount=type=secret,id=key \
        --mount=type=cache,target=/srv/full \
        set -e; cat /opt/a/b/deep/one > /out; echo x > /root/.cache/deep/x; echo y > /scratch/t/y; \
        test -s /run/secrets/key; test ! -e /srv/full/kept; echo z > /srv/full/z; \
        echo beside > /opt/a/beside\n\
    RUN test ! -e /run/secrets; test ! -e /scratch; test ! -e /root/.cache; \
        test \"$(cat /srv/full/kept)\" = kept; test ! -e /opt/a/b; echo more >> /out\n";

#[test]
fn no_tracker_takes_a_mount_for_a_change() {
    skip_unless_available!();
    let project = Project::new(ALL_KINDS);
    project.succeed(&["--tracker=content"]);
    let digest = project.digest();
    for tracker in ["overlay", "fanotify", "inotify", "walk"] {
        project.succeed(&[&format!("--tracker={tracker}")]);
        assert_eq!(project.digest(), digest, "{tracker}");
    }
    // The last says what the one before has left; that one's layer has what it made and no more.
    let text = ALL_KINDS.rsplit_once("\nRUN").unwrap().0.to_owned() + "\n";
    project.write("context/Dockerfile", &text);
    project.succeed(&[]);
    assert_eq!(project.last_layer(), ["./", "opt/", "opt/a/", "opt/a/beside", "out"]);
    assert!(!has(&project.bytes(), MARKER));
}

#[test]
fn a_bind_shows_the_context_as_docker_does() {
    skip_unless_available!();
    let project = Project::new(
        "FROM base\n\
         RUN --mount=target=/c \
             find /c | sort | sed 's/^/saw /'; stat -c 'saw %u:%g %a %n' /c/file /c/tree; \
             ! touch /c/file 2>/dev/null || exit 3; ! touch /c/new 2>/dev/null || exit 4\n\
         RUN --mount=target=/c,rw --mount=source=file,target=/one \
             echo mine > /c/file && echo mine > /c/new && rm -r /c/tree && cat /one | sed 's/^/saw /'\n\
         RUN --mount=target=/c cat /c/file | sed 's/^/saw /'; test -e /c/tree; test ! -e /c/new\n",
    );
    project.write("context/.dockerignore", "Dockerfile\n.dockerignore\ntree/deep\n");
    chown(project.path("context/file"), Some(1234), Some(1235)).unwrap();
    fs::set_permissions(project.path("context/file"), fs::Permissions::from_mode(0o640)).unwrap();
    let text = project.succeed(&[]).text();
    let saw: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("saw ")).collect();
    let expected = [
        "/c",
        "/c/file",
        "/c/tree",
        "/c/tree/two",
        "0:0 640 /c/file",
        "0:0 755 /c/tree",
        "of the context",
        "of the context",
    ];
    assert_eq!(saw, expected, "{text}");
    assert_eq!(fs::read_to_string(project.path("context/file")).unwrap(), "of the context\n");
    let base = Project::new("FROM base\n");
    base.succeed(&[]);
    // Three commands, none of which has changed anything.
    let layers = |project: &Project| project.manifest()["layers"].as_array().unwrap().len();
    assert_eq!(layers(&project), layers(&base));
}

#[test]
fn a_bind_shows_stages_and_images() {
    skip_unless_available!();
    let project = Project::new(
        "FROM base AS made\n\
         RUN mkdir -p /made/by && echo me > /made/by/whom && chown -R 7:8 /made\n\
         FROM base\n\
         RUN --mount=from=made,source=/made,target=/m --mount=from=base,source=/bin,target=/b \
             cat /m/by/whom > /whom; stat -c %u:%g /m/by >> /whom; test -x /b/busybox\n\
         RUN --mount=from=made,source=/made,target=/m,rw echo other > /m/by/whom\n\
         RUN --mount=from=made,source=/made,target=/m cat /m/by/whom >> /whom\n\
         RUN cat /whom | sed 's/^/saw /'\n",
    );
    let text = project.succeed(&[]).text();
    for line in ["saw me\n", "saw 7:8\n"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("saw other"), "{text}");
}

#[test]
fn what_is_inside_a_mount_is_mounted_after_it() {
    skip_unless_available!();
    let project = Project::new(
        "FROM base\nWORKDIR /src\n\
         RUN --mount=type=cache,target=tree/modules --mount=target=.,rw \
             --mount=type=tmpfs,target=/dev/here,size=64k \
             test -e file && echo 1 > tree/modules/m && \
             ! dd if=/dev/zero of=/dev/here/x bs=1k count=100 2>/dev/null && \
             stat -c '%a' /dev/here | grep 1777\n\
         RUN --mount=type=cache,target=tree/modules test -e tree/modules/m\n",
    );
    project.succeed(&[]);
}

#[test]
fn what_cannot_be_mounted_is_told_with_its_line() {
    skip_unless_available!();
    for (flags, expected) in [
        ("--mount=source=none,target=/a", "there is no `/none` in the context"),
        ("--mount=source=tree/deep,target=/a", "there is no `/tree/deep` in the context"),
        ("--mount=from=base,source=/none,target=/a", "there is no `/none` in what the mount's"),
        ("--mount=type=cache,source=none,target=/a", "there is no `/none` in the cache"),
        ("--mount=target=/etc/group", "`/etc/group` in the image is a regular file, where RUN"),
        ("--mount=type=secret,id=none,required", "the secret `none` is required, and no `--secret"),
    ] {
        let project = Project::new(&format!("FROM base\nRUN {flags} true\n"));
        project.write("context/.dockerignore", "tree/deep\n");
        let said = project.fail(&[]);
        assert!(said.contains(expected), "{flags}\n{said}");
        assert!(said.contains("2 | RUN"), "{said}");
    }
}

#[test]
fn a_command_without_network_has_itself_alone() {
    skip_unless_available!();
    let project = Project::new(
        "FROM base\n\
         RUN --network=none ls /sys/class/net | sed 's/^/saw /'; \
             cat /sys/class/net/lo/operstate /proc/net/route\n\
         RUN --network=host ls /sys/class/net | sed 's/^/host /'\n",
    );
    let text = project.succeed(&[]).text();
    let saw: Vec<&str> = text.lines().filter(|line| line.starts_with("saw ")).collect();
    assert_eq!(saw, ["saw lo"], "{text}");
    assert!(text.contains("\nhost lo\n"), "{text}");
}
