"""Makes every kind of change that a RUN can make to files, one a directory."""

import ctypes
import mmap
import os
import shutil
import socket
import struct
import subprocess
import sys

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
RENAME_EXCHANGE = 2


def write(path, text="after"):
    with open(path, "w") as file:
        file.write(text)


def exchange(one, two):
    result = libc.renameat2(AT_FDCWD, one.encode(), AT_FDCWD, two.encode(), RENAME_EXCHANGE)
    if result != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def keep_times(path, change):
    status = os.stat(path)
    change()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


os.chdir(sys.argv[1])

# Content.
write("edit/file", "after, longer than before")
write("edit-same-size/file", "AFTER! FILE"[: os.path.getsize("edit-same-size/file")])
keep_times("edit-restored-mtime/file", lambda: write("edit-restored-mtime/file", "BEFORE FILE"))
with open("append/file", "a") as file:
    file.write(" and more")
os.truncate("truncate/file", 3)
with open("truncate-by-path/file", "r+") as file:
    file.truncate(0)
with open("write-through-mmap/file", "r+b") as file:
    mapping = mmap.mmap(file.fileno(), 0)
mapping[0:1] = b"X"
mapping.close()
with open("sparse-grown/file", "r+b") as file:
    file.truncate(5 << 20)
    file.seek(3 << 20)
    file.write(b"island")

# Replacement.
write("rename-over/new")
os.rename("rename-over/new", "rename-over/file")
status = os.stat("rename-over-equal-mtime/file")
write("rename-over-equal-mtime/new", "BEFORE FILE")
os.utime("rename-over-equal-mtime/new", ns=(status.st_atime_ns, status.st_mtime_ns))
os.rename("rename-over-equal-mtime/new", "rename-over-equal-mtime/file")
os.rename("rename-away-and-back/file", "rename-away-and-back/away")
os.rename("rename-away-and-back/away", "rename-away-and-back/file")
os.rename("rename/file", "rename/renamed")
exchange("exchange/file", "exchange/other")
os.remove("remove/file")
os.remove("remove-and-recreate/file")
write("remove-and-recreate/file", "before file")

# Metadata.
os.chmod("mode/file", 0o600)
os.chown("owner/file", 1234, 100000)
os.utime("touch/file", ns=(1, 1_000_000_000_123_456_789))
os.chmod("setuid/file", 0o4755)
subprocess.run(["setcap", "cap_net_bind_service=ep", "capability/file"], check=True)
os.setxattr("xattr-set/file", "user.note", b"new\nline\x00zero")
os.removexattr("xattr-remove/file", "user.note")
subprocess.run(["setfacl", "-m", "u:1234:r", "acl/file"], check=True)
os.chmod("directory-mode/inner", 0o1777)

# Links.
with open("link-broken/second") as file:
    text = file.read()
os.remove("link-broken/second")
write("link-broken/second", text)
os.link("link-made/file", "link-made/name")
with open("link-written-through/far/third", "a") as file:
    file.write(" written through another name")
os.link("link-alias-gone/file", "link-alias-gone/alias")
write("link-alias-gone/alias", "written through an alias that is gone")
os.remove("link-alias-gone/alias")
os.chmod("link-mode/second", 0o400)

# Kinds.
os.remove("file-to-directory/file")
os.mkdir("file-to-directory/file")
write("file-to-directory/file/inside")
os.remove("file-to-symlink/file")
os.symlink("other", "file-to-symlink/file")
shutil.rmtree("directory-to-file/inner")
write("directory-to-file/inner")
shutil.rmtree("directory-to-symlink/inner")
os.symlink("/changes/edit", "directory-to-symlink/inner")
os.remove("symlink-to-file/link")
write("symlink-to-file/link")
os.remove("symlink-to-directory/link")
os.mkdir("symlink-to-directory/link")
os.remove("symlink-retargeted/link")
os.symlink("bbbb", "symlink-retargeted/link")
os.lchown("symlink-owner/link", 7, 8)
os.remove("device-renumbered/device")
os.mknod("device-renumbered/device", 0o20600, os.makedev(1, 5))
os.remove("fifo-removed/fifo")

# Directories.
shutil.rmtree("directory-removed/inner")
shutil.rmtree("directory-remade/inner")
os.mkdir("directory-remade/inner")
write("directory-remade/inner/kept-name")
os.rename("directory-renamed/old", "directory-renamed/new")
exchange("directory-swap/one", "directory-swap/two")
for name in os.listdir("directory-emptied/inner"):
    os.remove(os.path.join("directory-emptied/inner", name))
os.rename("directory-moved-out/inner", "/moved-in")

# New things.
os.makedirs("new-tree/a/b/c/d")
write("new-tree/a/b/c/d/file")
os.mkdir("new-empty")
os.mkdir("new-kinds")
os.mkfifo("new-kinds/fifo", 0o640)
os.mknod("new-kinds/character", 0o20666, os.makedev(1, 7))
os.mknod("new-kinds/block", 0o60660, os.makedev(7, 200))
os.symlink("x" * 300, "new-kinds/long-symlink")
server = socket.socket(socket.AF_UNIX)
server.bind("new-kinds/socket")
os.symlink("loop", "new-kinds/loop")
os.mkdir("new-times")
for name, seconds in [("before-the-epoch", -86_400), ("far-future", 4_500_000_000)]:
    write(f"new-times/{name}")
    os.utime(f"new-times/{name}", ns=(0, seconds * 1_000_000_000 + 250_000_000))
os.mkdir("new-owners")
write("new-owners/large-ids")
os.chown("new-owners/large-ids", 3_000_000, 2_097_152)

# Names.
write(b"names/not utf-8 \xff\xfe", "after")
write(b"names/new\nline and \x01 control")
write("names/-leading dash")
write("names/caf\u00e9")
write("names/" + "n" * 255)
long = "names/" + "/".join(["p" * 190] * 3)
os.makedirs(long)
write(long + "/file at the end of more than 600 bytes")
os.link(long + "/file at the end of more than 600 bytes", long + "/link")
write("whiteout-like-names/.whiteout", "after")

# A hole first, data last, in a file of its own.
with open("new-tree/sparse", "wb") as file:
    file.seek(64 << 20)
    file.write(struct.pack("<Q", 42))
