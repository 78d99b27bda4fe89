"""Makes what change.py changes: one directory a kind of change."""

import os
import sys


def write(path, text="before"):
    with open(path, "w") as file:
        file.write(text)


def directory(path, *names):
    os.makedirs(path)
    for name in names:
        write(os.path.join(path, name), f"before {name}")


os.makedirs(sys.argv[1])
os.chdir(sys.argv[1])

for kind in [
    "edit", "edit-same-size", "edit-restored-mtime", "append", "truncate", "truncate-by-path",
    "rename-over", "rename-over-equal-mtime", "rename-away-and-back", "write-through-mmap",
    "mode", "owner", "touch", "setuid", "capability", "xattr-set", "xattr-remove", "acl",
    "remove", "remove-and-recreate", "untouched", "file-to-directory", "file-to-symlink",
    "link-broken", "link-made", "link-written-through", "link-alias-gone", "link-mode",
    "rename", "exchange", "sparse-grown",
]:
    directory(kind, "file", "other")

os.setxattr("xattr-remove/file", "user.note", b"goes")
for kind in ["link-broken", "link-written-through", "link-mode"]:
    os.link(f"{kind}/file", f"{kind}/second")
    os.mkdir(f"{kind}/far")
    os.link(f"{kind}/file", f"{kind}/far/third")

directory("directory-removed/inner", "file")
directory("directory-remade/inner", "kept-name", "lost-name")
directory("directory-to-file/inner", "file")
directory("directory-to-symlink/inner", "file")
directory("directory-renamed/old/deep", "file")
directory("directory-swap/one", "in-one")
directory("directory-swap/two", "in-two")
directory("directory-mode/inner", "file")
directory("directory-emptied/inner", "file", "other")
directory("directory-moved-out/inner/deep", "file")
directory("symlink-to-file")
os.symlink("target", "symlink-to-file/link")
directory("symlink-to-directory")
os.symlink("target", "symlink-to-directory/link")
directory("symlink-retargeted")
os.symlink("aaaa", "symlink-retargeted/link")
directory("symlink-owner")
os.symlink("aaaa", "symlink-owner/link")
directory("fifo-removed")
os.mkfifo("fifo-removed/fifo")
directory("device-renumbered")
os.mknod("device-renumbered/device", 0o20600, os.makedev(1, 3))
directory("whiteout-like-names", "wh.file", ".whiteout")
directory("names", "plain")
write(b"names/not utf-8 \xff\xfe", "before")
directory("nothing-here")
os.remove("untouched/other")
