//! Changes that metadata hides: each case has files of its own, so that what a mode misses can be
//! told by the path.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, CWD, RenameFlags, Timespec, Timestamps, XattrFlags, renameat_with, setxattr, utimensat,
};
use snapshot::write_through_mapping;

use super::{SKIPPED, content};

/// Where the files are, from the root.
const FOLDER: &str = "srv/adversarial";
/// Long enough to map a page of.
const LENGTH: usize = 8192;
/// The mtime of everything in the base, in seconds.
const BASE_MTIME: u64 = super::super::base::MTIME;

/// A case: its name, which its files begin with, and what it does to them.
type Case = (&'static str, fn(&Path) -> io::Result<()>);

/// All cases.
pub(in super::super) const CASES: [Case; 13] = [
    ("same-size-old-mtime", rewrite),
    ("mapped-store", mapped),
    ("write-through-link", through_link),
    ("capability", capability),
    ("user-attribute", attribute),
    ("swapped", swap),
    ("replaced-by-copy", replace),
    ("directory-swapped", swap_directories),
    ("link-target", retarget),
    ("mode", |folder| fs::set_permissions(folder.join("mode"), Permissions::from_mode(0o600))),
    ("owner", |folder| chown(folder.join("owner"), Some(7), Some(7))),
    ("removed", |folder| fs::remove_file(folder.join("removed"))),
    ("appended", append),
];

/// What the base has for the cases: paths from the root, and the content of files or the target of
/// links.
pub(in super::super) fn base() -> Vec<(String, Member)> {
    let files = [
        "same-size-old-mtime",
        "mapped-store",
        "write-through-link",
        "capability",
        "user-attribute",
        "swapped-a",
        "swapped-b",
        "replaced-by-copy",
        "directory-swapped-a/file",
        "directory-swapped-b/file",
        "mode",
        "owner",
        "removed",
        "appended",
    ];
    let file = |(number, name): (u64, &&str)| {
        (format!("{FOLDER}/{name}"), Member::File(content(number, LENGTH)))
    };
    let link = (format!("{FOLDER}/link-target"), Member::Link("target-a"));
    (0..).zip(&files).map(file).chain([link]).collect()
}

/// A member of the base.
pub(in super::super) enum Member {
    File(Vec<u8>),
    Link(&'static str),
}

/// Does every case to the tree in `root`, and returns a line for each that cannot be done here.
pub(super) fn perform(root: &Path) -> String {
    let folder = root.join(FOLDER);
    let outcomes = CASES.iter().map(|(name, case)| (name, case(&folder)));
    let failed = outcomes.filter_map(|(name, outcome)| Some((name, outcome.err()?)));
    failed.map(|(name, error)| format!("{SKIPPED}{name}: {error}\n")).collect()
}

fn writable(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn restore_mtime(path: &Path) -> io::Result<()> {
    let time = Timespec { tv_sec: BASE_MTIME.try_into().unwrap_or_default(), tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn overwrite(path: &Path) -> io::Result<()> {
    writable(path)?.write_all(b"other bytes")?;
    restore_mtime(path)
}

fn rewrite(folder: &Path) -> io::Result<()> {
    overwrite(&folder.join("same-size-old-mtime"))
}

fn mapped(folder: &Path) -> io::Result<()> {
    let path = folder.join("mapped-store");
    write_through_mapping(&writable(&path)?, b'!')?;
    restore_mtime(&path)
}

fn through_link(folder: &Path) -> io::Result<()> {
    let other = folder.join("write-through-link.other");
    fs::hard_link(folder.join("write-through-link"), &other)?;
    overwrite(&other)?;
    fs::remove_file(other)
}

fn capability(folder: &Path) -> io::Result<()> {
    // Version 2, effective, CAP_NET_BIND_SERVICE permitted.
    let value = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let path = folder.join("capability");
    Ok(setxattr(path, c"security.capability", &value, XattrFlags::empty())?)
}

fn attribute(folder: &Path) -> io::Result<()> {
    let path = folder.join("user-attribute");
    Ok(setxattr(path, c"user.origin", b"elsewhere", XattrFlags::empty())?)
}

fn swap(folder: &Path) -> io::Result<()> {
    let (a, b) = (folder.join("swapped-a"), folder.join("swapped-b"));
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

fn replace(folder: &Path) -> io::Result<()> {
    let (path, copy) = (folder.join("replaced-by-copy"), folder.join("replaced-by-copy.new"));
    fs::write(&copy, content(99, LENGTH))?;
    fs::set_permissions(&copy, Permissions::from_mode(0o644))?;
    restore_mtime(&copy)?;
    fs::rename(copy, path)
}

fn swap_directories(folder: &Path) -> io::Result<()> {
    let (a, b) = (folder.join("directory-swapped-a"), folder.join("directory-swapped-b"));
    let aside = folder.join("directory-swapped-aside");
    fs::rename(&a, &aside)?;
    fs::rename(&b, &a)?;
    fs::rename(&aside, &b)
}

fn retarget(folder: &Path) -> io::Result<()> {
    let path = folder.join("link-target");
    fs::remove_file(&path)?;
    symlink("target-b", &path)?;
    restore_mtime(&path)
}

fn append(folder: &Path) -> io::Result<()> {
    let mut file = writable(&folder.join("appended"))?;
    file.seek(io::SeekFrom::End(0))?;
    file.write_all(b"more")?;
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(BASE_MTIME + 1))
}
