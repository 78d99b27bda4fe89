"""Prints a tree as an outsider sees it, one JSON object a line: the oracle of the witness tests.

usage: tree.py ROOT [EXCLUDED-PATH…]

Shares no code with the product. Paths are relative to ROOT and escaped to ASCII; an entry on another
file system than ROOT is left out, and so are the excluded paths with all below them.
"""

import hashlib
import json
import os
import stat
import sys

KINDS = [
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "directory"),
    (stat.S_ISLNK, "symlink"),
    (stat.S_ISCHR, "character-device"),
    (stat.S_ISBLK, "block-device"),
    (stat.S_ISFIFO, "fifo"),
    (stat.S_ISSOCK, "socket"),
]


def text(raw):
    return raw.decode("latin-1")


def entries(root, excluded, device):
    pending = [b""]
    while pending:
        relative = pending.pop()
        path = os.path.join(root, relative) if relative else root
        status = os.lstat(path)
        if status.st_dev != device or relative in excluded:
            continue
        yield relative, path, status
        if stat.S_ISDIR(status.st_mode):
            names = sorted(os.listdir(path), reverse=True)
            pending.extend(os.path.join(relative, name) if relative else name for name in names)


def content(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def xattrs(path):
    found = {}
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        if name.startswith("security.selinux") or ".overlay." in name:
            continue
        found[name] = os.getxattr(path, name, follow_symlinks=False).hex()
    return found


def describe(relative, path, status, groups):
    kind = next(name for test, name in KINDS if test(status.st_mode))
    row = {
        "path": text(relative),
        "kind": kind,
        "mode": oct(stat.S_IMODE(status.st_mode)),
        "owner": f"{status.st_uid}:{status.st_gid}",
        "mtime_ns": status.st_mtime_ns,
        "xattrs": xattrs(path),
    }
    if kind == "file":
        row["size"] = status.st_size
        row["sha256"] = content(path)
    if kind == "symlink":
        row["target"] = text(os.readlink(path))
    if kind.endswith("device"):
        row["device"] = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    if kind != "directory" and status.st_nlink > 1:
        row["group"] = groups.setdefault((status.st_dev, status.st_ino), text(relative))
    return row


def main():
    root = os.fsencode(sys.argv[1])
    excluded = {os.fsencode(path).strip(b"/") for path in sys.argv[2:]}
    groups = {}
    device = os.lstat(root).st_dev
    for relative, path, status in entries(root, excluded, device):
        print("TREE " + json.dumps(describe(relative, path, status, groups), sort_keys=True))


main()
