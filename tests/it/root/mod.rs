//! Tests that need root: they make namespaces, mounts, owners and device nodes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use snapshot::Rootfs;
use tempfile::TempDir;
use zuwai::sandbox::{GRACE, HostFiles, Overwrite, Sandbox, SandboxOptions, Surroundings};

mod compare;
mod copy;
mod eviction;
mod forms;
mod room;
mod sandbox;
mod steps;
mod unkillable;

use crate::skip::{Reason, is_root as may_run, skip};

/// A root file system of busybox alone, as a static program and its links.
struct Busybox {
    directory: TempDir,
}

impl Busybox {
    /// Makes one; `None`, with a printed reason, on a machine without a static busybox.
    fn make(test: &str) -> Option<Self> {
        let Some(busybox) = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .map(Path::new)
            .find(|path| path.exists())
        else {
            skip(test, Reason::Lacking("needs busybox (Debian's package busybox-static)"));
            return None;
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("chmod");
        fs::create_dir(root.join("bin")).expect("mkdir");
        fs::copy(busybox, root.join("bin/busybox")).expect("copy busybox");
        let commands = "sh cat ls id env stat sleep setsid kill ps mount umount touch rm mkdir \
                        hostname readlink head dd wc od test true false tr chmod grep ln mv nc";
        for command in commands.split_whitespace() {
            symlink("busybox", root.join("bin").join(command)).expect("symlink");
        }
        Some(Self { directory })
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join(inside)
    }

    fn rootfs(&self) -> Rootfs {
        Rootfs::open(self.directory.path()).expect("open the root")
    }
}

/// Returns a sandbox whose supervisor is the program under test.
fn sandbox() -> Sandbox {
    Sandbox::choose(options(env!("CARGO_BIN_EXE_zuwai"))).expect("namespaces can be made by root")
}

fn options(supervisor: &str) -> SandboxOptions {
    SandboxOptions {
        supervisor: PathBuf::from(supervisor),
        host_files: HostFiles {
            resolv_conf: b"nameserver 192.0.2.53\n".to_vec(),
            hosts: b"192.0.2.1 machine\n".to_vec(),
        },
        form: None,
        overwrite: Overwrite::Refused,
        surroundings: Surroundings::default(),
        grace: GRACE,
    }
}
