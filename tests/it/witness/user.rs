//! Whole builds by an ordinary user, who has subordinate ids.
//!
//! A mount namespace of each build gives user 1000 those ids, so that the machine's own files stay
//! as they are; everything else is as on a workstation.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::harness::{Build, bases, validate_layout};
use crate::skip_unless_available;
use crate::user::GIVE_IDS;

/// A directory that user 1000 can reach, with the program under test in it.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Self { folder };
        fs::set_permissions(home.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(home.folder.path(), Some(1000), Some(1000)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_zuwai"), home.path("zuwai")).unwrap();
        fs::create_dir(home.path("bases")).unwrap();
        home.give_ids("1000:500000:65536\n");
        home
    }

    /// Says which subordinate ids there are, as `/etc/subuid` has it.
    fn give_ids(&self, ids: &str) {
        fs::write(self.path("ids"), ids).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `zuwai build` as user 1000, with the context and further arguments.
    fn build(&self, context: &Path, arguments: &[String]) -> Output {
        let script = "\
            mount --bind \"$1\" \"$0/bases\"; \
            mkdir -p \"$0/context\"; \
            mount --bind \"$2\" \"$0/context\"; \
            home=$0; \
            shift 2; \
            cd /; \
            exec setpriv --reuid=1000 --regid=1000 --clear-groups \
                \"$home/zuwai\" build --log-format=text \
                --context \"$home/context\" --kaniko-dir \"$home/work\" \"$@\"";
        let script = format!("ids=$0/ids; {GIVE_IDS}{script}");
        Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .arg(self.folder.path())
            .arg(bases())
            .arg(context)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Returns the argument that names one of the bases.
    fn base(&self, name: &str, base: &str) -> String {
        format!("--build-context={name}=oci-layout://{}", self.path("bases").join(base).display())
    }
}

#[test]
fn an_ordinary_user_builds_the_hello_example_to_roots_digest() {
    skip_unless_available!();
    let example = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello"));
    let home = Home::make();
    let out = |name: &str| home.path(name).display().to_string();
    let theirs = home.build(
        example,
        &[
            home.base("base-build", "build"),
            home.base("base-small", "busybox"),
            "--reproducible".to_owned(),
            "--no-push".to_owned(),
            "--destination=hello:user".to_owned(),
            format!("--oci-layout-path={}", out("layout")),
            format!("--digest-file={}", out("digest")),
        ],
    );
    let said = String::from_utf8_lossy(&theirs.stderr).into_owned();
    assert!(theirs.status.success(), "{said}");
    validate_layout(&home.path("layout"));
    let left = fs::read_dir(home.path("work/builds")).map(Iterator::count).unwrap_or_default();
    assert_eq!(left, 0, "a build leaves nothing in its work directory");

    let digest = home.path("roots-digest");
    Build::of(example)
        .base("base-build", "build")
        .base("base-small", "busybox")
        .arg("--reproducible")
        .arg("--no-push")
        .arg("--destination=hello:user")
        .arg(format!("--digest-file={}", digest.display()))
        .succeed();
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    assert_eq!(read(&home.path("digest")), read(&digest), "{said}");
}

#[test]
fn an_image_with_more_ids_than_the_user_has_says_how_many_it_needs() {
    skip_unless_available!();
    let home = Home::make();
    let context = tempfile::tempdir().unwrap();
    let build = |dockerfile: &str, base: &str| {
        fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
        let arguments = [home.base("base", base), "--no-push".to_owned()];
        let output = home.build(context.path(), &arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        let error = said.find("error: ").map(|start| said[start..].to_owned());
        (output.status.success(), error.unwrap_or_default())
    };
    let hint = |greatest: u32| {
        format!(
            "hint: the image needs ids up to {greatest}: give the user that many in `/etc/subuid` \
             and `/etc/subgid`, or run zuwai as root\n"
        )
    };
    let dockerfile = "FROM base\nCOPY --chown=100000:7 Dockerfile /file\nRUN ls -ln /file\n";
    let (success, said) = build(dockerfile, "busybox");
    assert!(!success);
    assert!(said.contains("cause: there are no ids for the owner `100000:7` here\n"), "{said}");
    assert!(said.ends_with(&hint(100_000)), "{said}");

    // The same ids by number twice, as by name and by number.
    home.give_ids("1000:500000:100000\n1000:500000:100000\n");
    assert_eq!(build(dockerfile, "busybox"), (true, String::new()));

    // Debian has files of the group shadow, 42.
    home.give_ids("1000:500000:10\n");
    let (success, said) = build("FROM base\nRUN true\n", "debian");
    assert!(!success);
    assert!(said.starts_with("error: cannot unpack layer `"), "{said}");
    assert!(said.contains("\ncause: there are no ids for the owner `0:"), "{said}");
    assert!(said.contains("hint: the image needs ids up to "), "{said}");
}
