//! Files for which there is no room: errors that say how much is lacking.

use std::error::Error;
use std::io::{ErrorKind, Write};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use snapshot::Digest;
use tempfile::TempDir;
use zuwai::report::fault::{Class, Fault};
use zuwai::store::{Store, StoreError};

use super::may_run;

/// Room of a file system for a work directory, in bytes.
const ROOM: u64 = 1 << 20;

/// A directory with little room.
struct Small(TempDir);

impl Small {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let options = std::ffi::CString::new(format!("size={ROOM}")).expect("no NUL");
        mount("none", folder.path(), "tmpfs", MountFlags::empty(), Some(options.as_c_str()))
            .expect("mount");
        Self(folder)
    }

    fn free_bytes(&self) -> u64 {
        let room = rustix::fs::statvfs(self.0.path()).expect("statvfs");
        room.f_bfree * room.f_frsize
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A test that failed has said more.
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

/// Writes until that fails, in pieces; returns how much was written, and what the store says.
fn fill(writer: &mut dyn Write, size_bytes: u64) -> (u64, std::io::Error) {
    let piece = [7; 1000];
    let mut written = 0;
    while written < size_bytes {
        match writer.write(&piece) {
            Ok(count) => written += count as u64,
            Err(error) => return (written, error),
        }
    }
    panic!("{size_bytes} bytes fit");
}

#[test]
fn what_a_blob_of_known_size_lacks_is_said() {
    if !may_run("what_a_blob_of_known_size_lacks_is_said") {
        return;
    }
    let small = Small::make();
    let store = Store::open(small.0.path()).expect("a store");
    let size_bytes = 3 * ROOM;
    let mut writer = store.expect_blob().begin(size_bytes).expect("a file");
    let (written, error) = fill(&mut writer, size_bytes);
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    let error = error.get_ref().and_then(|error| error.downcast_ref::<StoreError>());
    let error = error.expect("the store's own");
    let lacking = size_bytes - written - small.free_bytes();
    let path = store.folder().join("spool/0");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot write `{}`: at least {lacking} bytes more have to be free for it",
            path.display()
        )
    );
    assert_eq!(error.class(), Class::Disk);
    assert!(error.hint().is_some_and(|hint| hint.contains("--kaniko-dir")));
    let cause = error.source().expect("the system's answer").to_string();
    assert!(cause.starts_with("No space left on device"), "{cause}");
    drop(writer);

    // What it had written is free again.
    let bytes = vec![7; 300_000];
    let mut writer = store.expect_blob().begin(300_000).expect("a file");
    writer.write_all(&bytes).expect("there is room");
    writer.commit(&Digest::of(&bytes)).expect("a name");
}

#[test]
fn of_unknown_size_nothing_is_said_but_the_name() {
    if !may_run("of_unknown_size_nothing_is_said_but_the_name") {
        return;
    }
    let small = Small::make();
    let store = Store::open(small.0.path()).expect("a store");
    // Nor where what it said was less than what it is.
    let mut known = store.expect_blob().begin(10).expect("a file");
    let mut unknown = store.spool().expect("a file");
    for (number, writer) in [&mut known as &mut dyn Write, &mut unknown].into_iter().enumerate() {
        let (_, error) = fill(writer, 3 * ROOM);
        let path = store.folder().join(format!("spool/{number}"));
        assert_eq!(error.to_string(), format!("cannot write `{}`", path.display()));
    }
}
