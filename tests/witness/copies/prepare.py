"""Makes the context of `copies/Dockerfile` in the directory that is given."""

import io
import os
import sys
import tarfile

TIME = 1_600_000_000


def write(path, text="text\n", mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def archive(path, how):
    with tarfile.open(path, how) as tar:
        for name, kind, mode in [
            ("in", tarfile.DIRTYPE, 0o751),
            ("in/file", tarfile.REGTYPE, 0o640),
            ("in/second", tarfile.LNKTYPE, 0o640),
            ("in/link", tarfile.SYMTYPE, 0o777),
        ]:
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.mtime = kind, mode, TIME
            member.uid, member.gid = 12, 34
            content = b"in an archive\n" if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            member.linkname = {tarfile.LNKTYPE: "in/file", tarfile.SYMTYPE: "file"}.get(kind, "")
            tar.addfile(member, io.BytesIO(content))


os.umask(0o022)
os.chdir(sys.argv[1])
write("tree/files/plain")
write("tree/files/executable", "#!/bin/sh\n", 0o755)
write("tree/files/private", "hush\n", 0o600)
write("tree/files/deep/er/file", "deep\n")
write("tree/more/plain", "other\n")
write("tree/more/deep/second", "second\n")
os.makedirs("tree/empty")
os.chmod("tree/empty", 0o711)
for name in ["a.txt", "b.txt", "c.md", "xy", "xyz"]:
    write("tree/patterns/" + name, name)
write("links/target/file", "behind a link\n")
os.symlink("target/file", "links/to-file")
os.symlink("target", "links/to-directory")
os.symlink("nowhere", "links/dangling")
archive("archive.tar", "w")
archive("archive.tar.gz", "w:gz")
for directory, directories, files in os.walk(".", topdown=False):
    for name in directories + files:
        os.utime(os.path.join(directory, name), (TIME, TIME), follow_symlinks=False)
