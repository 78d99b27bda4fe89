"""Does file operations as it is told, one a line, and answers each with `ok` or an error name.

A process of its own and another language than what it tests: the writer whose changes a tracker has
to see. A line is an operation and its arguments, separated by tabs; paths are relative to the
directory it is started in. Its argument is a directory that nobody tracks.
"""

import array
import ctypes
import errno
import mmap
import os
import shutil
import signal
import socket
import stat
import struct
import sys
import time

# The library opens what it removes without a look: at a FIFO that somebody has put there in the
# meantime it would wait for the other end, for good.
open_waiting = os.open


def open_at_once(path, flags, mode=0o777, *, dir_fd=None):
    return open_waiting(path, flags | os.O_NONBLOCK, mode, dir_fd=dir_fd)


os.open = open_at_once

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.msync.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.syscall.restype = ctypes.c_long
libc.read.argtypes = libc.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
libc.read.restype = libc.write.restype = ctypes.c_ssize_t

OUTSIDE = sys.argv[1]
AT_FDCWD, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = -100, 0x400, 0x1000
RENAME_EXCHANGE, MS_SYNC = 2, 4
NR_RENAMEAT2, NR_IO_SETUP, NR_IO_DESTROY, NR_IO_GETEVENTS, NR_IO_SUBMIT = 316, 206, 207, 208, 209
NR_URING_SETUP, NR_URING_ENTER, NR_URING_REGISTER = 425, 426, 427

held = {}


def check(result):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def opened(path, flags=os.O_RDWR, mode=0o644):
    # A FIFO or device would be waited for.
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, mode)


class File:
    def __init__(self, path, flags=os.O_RDWR):
        self.fd = opened(path, flags)
        if not stat.S_ISREG(os.fstat(self.fd).st_mode):
            os.close(self.fd)
            raise OSError(errno.EINVAL, "not a regular file")

    def __enter__(self):
        return self.fd

    def __exit__(self, *_):
        os.close(self.fd)


def size(fd):
    return os.fstat(fd).st_size


counter = 0


def content(length=9):
    global counter
    counter += 1
    return (b"%d-%d-" % (os.getpid(), counter)).ljust(length, b"x")[:length]


# Content

def write(path):
    with File(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
        os.write(fd, content())


def overwrite(path):
    with File(path) as fd:
        os.pwrite(fd, content(max(1, min(size(fd), 9))), 0)


def append(path):
    with File(path, os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, content())


def open_truncate(path):
    with File(path, os.O_WRONLY | os.O_TRUNC):
        pass


def shrink(path):
    with File(path) as fd:
        os.ftruncate(fd, size(fd) // 2)


def grow(path):
    with File(path) as fd:
        os.ftruncate(fd, size(fd) + 5)


def truncate_by_path(path):
    os.truncate(path, os.stat(path, follow_symlinks=False).st_size + 3)


def allocate(path):
    with File(path) as fd:
        os.posix_fallocate(fd, 0, size(fd) + 4096)


def punch(path):
    with File(path) as fd:
        check(libc.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(max(1, size(fd)))))


def source_file():
    path = OUTSIDE + "/source-%d" % os.getpid()
    if not os.path.exists(path):
        with open(path, "wb") as file:
            file.write(b"source" * 2000)
    fd = opened(path, os.O_RDWR)
    os.pwrite(fd, content(), 0)
    return fd


def copy_range(path):
    fd = source_file()
    try:
        with File(path) as to:
            os.copy_file_range(fd, to, 4000, 0, 0)
    finally:
        os.close(fd)


def send_file(path):
    fd = source_file()
    try:
        with File(path) as to:
            os.sendfile(to, fd, 0, 3000)
    finally:
        os.close(fd)


def splice(path):
    ends = os.pipe()
    try:
        os.write(ends[1], content(100))
        with File(path) as to:
            os.splice(ends[0], to, 100)
    finally:
        os.close(ends[0])
        os.close(ends[1])


def clone(path):
    fd = source_file()
    try:
        with File(path) as to:
            check(libc.ioctl(to, 0x40049409, fd))
    finally:
        os.close(fd)


def keep_mtime(act):
    def kept(path, *rest):
        before = os.stat(path, follow_symlinks=False)
        act(path, *rest)
        times = (before.st_atime_ns, before.st_mtime_ns)
        os.utime(path, ns=times, follow_symlinks=False)
    return kept


# Mappings

def mapped(fd):
    if size(fd) < 4096:
        os.ftruncate(fd, 4096)
    address = libc.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    return address


def store(address):
    # Through the kernel, which answers EFAULT where another writer has cut the file short meanwhile:
    # a store of our own would end the whole writer with SIGBUS. The page fault is the same.
    data = content(20)
    ends = os.pipe()
    try:
        os.write(ends[1], data)
        check(libc.read(ends[0], address + 7, len(data)))
    finally:
        os.close(ends[0])
        os.close(ends[1])


def look(address):
    # As `store`, for a read fault.
    ends = os.pipe()
    try:
        check(libc.write(ends[1], address, 100))
    finally:
        os.close(ends[0])
        os.close(ends[1])


def map_write(path):
    with File(path) as fd:
        address = mapped(fd)
        store(address)
        check(libc.msync(address, 4096, MS_SYNC))
        check(libc.munmap(address, 4096))


def map_write_after_close(path):
    with File(path) as fd:
        address = mapped(fd)
    store(address)
    check(libc.munmap(address, 4096))


def map_read_then_write(path):
    with File(path) as fd:
        address = mapped(fd)
        look(address)
    look(address)
    store(address)
    check(libc.munmap(address, 4096))


def map_write_twice(path):
    with File(path) as fd:
        address = mapped(fd)
    store(address)
    check(libc.msync(address, 4096, MS_SYNC))
    store(address)
    check(libc.munmap(address, 4096))


def in_child(act, end):
    """Runs `act` in a child that ends without cleaning up; reports the child's error."""
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            act()
            os.write(ends[1], b"\0")
        except OSError as error:
            os.write(ends[1], bytes([error.errno or 1]))
        finally:
            if end == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(0)
    os.close(ends[1])
    number = os.read(ends[0], 1)
    os.close(ends[0])
    os.waitpid(child, 0)
    if number != b"\0":
        raise OSError(number[0] if number else 1, "in a child")


def map_write_and_exit(path):
    def act():
        with File(path) as fd:
            address = mapped(fd)
        store(address)
    in_child(act, "exit")


def map_write_and_be_killed(path):
    def act():
        with File(path) as fd:
            address = mapped(fd)
        store(address)
    in_child(act, "kill")


def write_and_be_killed(path):
    def act():
        fd = File(path).fd
        os.pwrite(fd, content(), 0)
    in_child(act, "kill")


# Metadata

def chmod(path):
    before = os.stat(path, follow_symlinks=False)
    if stat.S_ISLNK(before.st_mode):
        raise OSError(errno.EOPNOTSUPP, "a link")
    os.chmod(path, stat.S_IMODE(before.st_mode) ^ 0o007)


def chown(path):
    before = os.stat(path, follow_symlinks=False)
    os.chown(path, (before.st_uid + 1) % 5, -1, follow_symlinks=False)


def touch(path):
    os.utime(path, follow_symlinks=False)


def set_times(path):
    global counter
    counter += 1
    os.utime(path, ns=(1, counter * 1_000_000_007), follow_symlinks=False)


def set_xattr(path):
    os.setxattr(path, "user.test", content(), follow_symlinks=False)


def near(path, suits):
    """Returns the path if it suits, else another one beside it: for what seldom finds its like."""
    above = os.path.dirname(path) or "."
    for other in [path] + [above + "/" + name for name in sorted(os.listdir(above))]:
        if suits(other):
            return other
    raise OSError(errno.EINVAL, "nothing of that kind")


def remove_xattr(path):
    def suits(other):
        return os.path.lexists(other) and "user.test" in os.listxattr(other, follow_symlinks=False)
    os.removexattr(near(path, suits), "user.test", follow_symlinks=False)


def set_acl(path):
    # Owner, one named user, group, mask, others: version 2 of the format.
    who = content()[-1] % 7
    entries = [(1, 6, -1), (2, 4, who), (4, 4, -1), (16, 4, -1), (32, 4, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", acl, follow_symlinks=False)


def set_capability(path):
    global counter
    counter += 1
    capability = struct.pack("<IIIII", 0x02000001, 1 << counter % 20, 0, 0, 0)
    os.setxattr(path, "security.capability", capability, follow_symlinks=False)


def set_flags(path):
    with File(path, os.O_RDONLY) as fd:
        flags = array.array("l", [0])
        check(libc.ioctl(fd, 0x80086601, ctypes.c_void_p(flags.buffer_info()[0])))
        flags[0] ^= 0x40
        check(libc.ioctl(fd, 0x40086602, ctypes.c_void_p(flags.buffer_info()[0])))


def open_only(path):
    with File(path):
        pass


def read_only(path):
    with File(path, os.O_RDONLY) as fd:
        os.read(fd, 100)


# Names

def make(path):
    os.close(opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def mkdir(path):
    os.mkdir(path)


def mkdirs(path):
    os.makedirs(path + "/deep/er")
    write(path + "/deep/er/file")
    write(path + "/file")


def mkfifo(path):
    os.mkfifo(path)


def mknod(path):
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))


def symlink(path):
    os.symlink(content().decode(), path)


def replace_symlink(path):
    path = near(path, os.path.islink)
    os.unlink(path)
    symlink(path)


def bind_socket(path):
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)


def unlink(path):
    os.unlink(path)


def rmdir(path):
    # The innermost below it, once what is in that is gone: few are empty.
    while True:
        entries = list(os.scandir(path))
        below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        if not below:
            break
        path = min(below)
    for entry in entries:
        os.unlink(entry.path)
    os.rmdir(path)


def remove_tree(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def recreate(path):
    if os.path.islink(path) or not os.path.isfile(path):
        raise OSError(errno.EINVAL, "no file")
    os.unlink(path)
    write(path)


def recreate_directory(path):
    if os.path.islink(path) or not os.path.isdir(path):
        raise OSError(errno.ENOTDIR, "no directory")
    names = os.listdir(path)
    shutil.rmtree(path)
    os.mkdir(path)
    for name in names[:2]:
        write(path + "/" + name)


def link(path, to):
    os.link(path, to, follow_symlinks=False)


def link_by_descriptor(path, to):
    with File(path, os.O_RDONLY) as fd:
        proc = ("/proc/self/fd/%d" % fd).encode()
        check(libc.linkat(AT_FDCWD, proc, AT_FDCWD, os.fsencode(to), AT_SYMLINK_FOLLOW))


def rename(path, to):
    os.rename(path, to)


def rename_flags(path, to, flags):
    names = [ctypes.c_char_p(os.fsencode(name)) for name in (path, to)]
    check(libc.syscall(NR_RENAMEAT2, AT_FDCWD, names[0], AT_FDCWD, names[1], flags))


def exchange(path, to):
    rename_flags(path, to, RENAME_EXCHANGE)


def exchange_alike(path, to):
    """Exchanges two files that look alike: same size, same mtime."""
    one, other = os.lstat(path), os.lstat(to)
    if not (stat.S_ISREG(one.st_mode) and stat.S_ISREG(other.st_mode)):
        raise OSError(errno.EINVAL, "no files")
    os.utime(to, ns=(one.st_mtime_ns, one.st_mtime_ns))
    exchange(path, to)


def rename_over_alike(path):
    """Replaces a file by another that looks the same: size, mtime, mode and owner."""
    with File(path, os.O_RDONLY) as fd:
        before = os.fstat(fd)
    new = OUTSIDE + "/alike-%d" % os.getpid()
    with open(new, "wb") as file:
        file.write(content(before.st_size) if before.st_size else b"")
    os.chmod(new, stat.S_IMODE(before.st_mode))
    os.chown(new, before.st_uid, before.st_gid)
    os.utime(new, ns=(before.st_mtime_ns, before.st_mtime_ns))
    os.rename(new, path)


def rename_new_over(path):
    new = path + ".new"
    write(new)
    os.rename(new, path)


def rename_away_and_back(path):
    os.rename(path, path + ".away")
    os.rename(path + ".away", path)


def rename_then_write_inside(path, to):
    os.rename(path, to)
    for name in sorted(os.listdir(to)):
        if os.path.isfile(to + "/" + name) and not os.path.islink(to + "/" + name):
            overwrite(to + "/" + name)
    write(to + "/written-inside")


def open_rename_write(path, to):
    with File(path) as fd:
        os.rename(path, to)
        os.pwrite(fd, content(), 0)


def unlink_write_link(path):
    """Writes to a file while it has no name here, but one outside."""
    away = OUTSIDE + "/nameless-%d" % os.getpid()
    with File(path) as fd:
        os.rename(path, away)
        os.pwrite(fd, content(), 0)
        os.rename(away, path)


def alias_write(path, alias):
    """Writes through a name that was not there before and is not after."""
    os.link(path, alias, follow_symlinks=False)
    try:
        overwrite(alias)
    finally:
        os.unlink(alias)


def alias_write_in_new_directory(path, directory):
    os.mkdir(directory)
    try:
        alias_write(path, directory + "/alias")
    finally:
        os.rmdir(directory)


def alias_write_outside(path):
    alias_write(path, OUTSIDE + "/alias-%d" % os.getpid())


def alias_chmod_outside(path):
    alias = OUTSIDE + "/alias-%d" % os.getpid()
    os.link(path, alias, follow_symlinks=False)
    try:
        chmod(alias)
    finally:
        os.unlink(alias)


def link_outside(path, name):
    os.link(path, OUTSIDE + "/" + name, follow_symlinks=False)


def outside(name, suits):
    """Returns where that is outside, or another of those that are there by such a name."""
    path = OUTSIDE + "/" + name
    return near(path, lambda other: other[len(OUTSIDE) + 1] == "o" and suits(other))


def write_outside(name):
    def suits(other):
        return os.path.isfile(other) and not os.path.islink(other)
    overwrite(outside(name, suits))


def move_out(path, name):
    os.rename(path, OUTSIDE + "/" + name)


def move_in(name, path):
    os.rename(outside(name, os.path.lexists), path)


def move_out_write_in(path):
    away = OUTSIDE + "/away-%d" % os.getpid()
    os.rename(path, away)
    try:
        if os.path.isdir(away):
            write(away + "/while-away")
        else:
            overwrite(away)
    finally:
        os.rename(away, path)


def remove_outside(name):
    remove_tree(outside(name, os.path.lexists))


def nameless_then_link(path):
    fd = os.open(os.path.dirname(path) or ".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, content())
        proc = ("/proc/self/fd/%d" % fd).encode()
        check(libc.linkat(AT_FDCWD, proc, AT_FDCWD, os.fsencode(path), AT_SYMLINK_FOLLOW))
        os.write(fd, content())
    finally:
        os.close(fd)


def churn(path):
    """Makes and removes much below a new directory."""
    os.mkdir(path)
    for number in range(300):
        write("%s/f%d" % (path, number))
    # A few stay.
    for number in range(300):
        if number % 10:
            os.unlink("%s/f%d" % (path, number))


def churn_and_remove(path):
    churn(path)
    shutil.rmtree(path)


# Other ways to a file

def write_by_proc(path):
    with File(path, os.O_RDONLY) as fd:
        again = os.open("/proc/self/fd/%d" % fd, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(again, content(), 0)
        finally:
            os.close(again)


def write_in_chroot(path):
    def act():
        os.chroot(".")
        os.chdir("/")
        overwrite(path)
    in_child(act, "exit")


def write_in_bind_mount(path):
    def act():
        check(libc.unshare(0x00020000))
        check(libc.mount(b"none", b"/", None, 1 << 18 | 16384, None))
        check(libc.mount(b".", os.fsencode(OUTSIDE + "/mnt"), None, 4096, None))
        overwrite(OUTSIDE + "/mnt/" + path)
    os.makedirs(OUTSIDE + "/mnt", exist_ok=True)
    in_child(act, "exit")


def hold(path, key):
    if key in held:
        os.close(held.pop(key))
    held[key] = File(path).fd


def write_held(key):
    os.pwrite(held.get(key, -1), content(), 0)


def release_held(key):
    key = key if key in held else next(iter(held), key)
    os.close(held.pop(key, -1))


def send_into_cycle(fd):
    """Leaves an open descriptor in a socket that only the descriptor itself keeps alive: it is closed
    by the kernel's collector, some time after the process has ended."""
    one, other = socket.socketpair(socket.AF_UNIX)
    rights = array.array("i", [fd, one.fileno(), other.fileno()])
    one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def write_in_flight(path):
    def act():
        fd = File(path).fd
        os.pwrite(fd, content(), 0)
        send_into_cycle(fd)
    in_child(act, "kill")


def store_quietly(fd):
    """Stores to a mapping: until the file's last close nothing tells of that, but that it was opened.
    Not beyond the file's end, nor does it make the file longer, which would be told."""
    length = min(size(fd), 20)
    if length == 0:
        raise OSError(errno.EINVAL, "nothing to store to")
    address = libc.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    ends = os.pipe()
    os.write(ends[1], content(length))
    check(libc.read(ends[0], address, length))
    check(libc.munmap(address, 4096))


def map_write_in_flight(path):
    def act():
        fd = File(path).fd
        store_quietly(fd)
        send_into_cycle(fd)
    in_child(act, "kill")


def aio_write_in_flight(path):
    """The kernel's asynchronous calls tell of no write either."""
    def act():
        fd = File(path).fd
        aio_submit(fd)
        send_into_cycle(fd)
    in_child(act, "kill")


def daemon(path):
    """Leaves a process behind that goes on writing; the harness ends it."""
    ends = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        os.write(ends[1], b"%d\n" % os.getpid())
        os.close(ends[1])
        for fd in (0, 1, 2):
            try:
                os.close(fd)
            except OSError:
                pass
        for number in range(100_000):
            # First as fast as it can; later it leaves the processor to others.
            if number > 30:
                time.sleep(0.0005)
            try:
                if number % 3 == 0:
                    with File(path, os.O_WRONLY | os.O_CREAT) as fd:
                        os.pwrite(fd, b"%d" % number, 0)
                elif number % 3 == 1:
                    os.rename(path, path + ".d")
                else:
                    os.rename(path + ".d", path)
            except OSError:
                pass
        os._exit(0)
    os.wait()
    os.close(ends[1])
    pid = os.read(ends[0], 20).strip().decode()
    os.close(ends[0])
    return "daemon " + pid


class AioControl(ctypes.Structure):
    _fields_ = [("data", ctypes.c_uint64), ("key", ctypes.c_uint32), ("rw_flags", ctypes.c_int32),
                ("opcode", ctypes.c_uint16), ("priority", ctypes.c_int16), ("fd", ctypes.c_uint32),
                ("buffer", ctypes.c_uint64), ("length", ctypes.c_uint64), ("offset", ctypes.c_int64),
                ("reserved", ctypes.c_uint64), ("flags", ctypes.c_uint32), ("event", ctypes.c_uint32)]


def aio_submit(fd):
    """Writes through the kernel's asynchronous calls; returns what keeps that going."""
    context = ctypes.c_ulong(0)
    check(libc.syscall(NR_IO_SETUP, 4, ctypes.byref(context)))
    buffer = ctypes.create_string_buffer(content())
    control = AioControl(opcode=1, fd=fd, buffer=ctypes.addressof(buffer), length=9)
    pointer = ctypes.pointer(control)
    try:
        check(libc.syscall(NR_IO_SUBMIT, context, 1, ctypes.byref(pointer)))
    except OSError:
        libc.syscall(NR_IO_DESTROY, context)
        raise
    return context, buffer


def aio_write(path):
    """Closes before the answer is taken."""
    with File(path) as fd:
        context, _buffer = aio_submit(fd)
    try:
        events = ctypes.create_string_buffer(64)
        check(libc.syscall(NR_IO_GETEVENTS, context, 1, 1, events, None))
    finally:
        libc.syscall(NR_IO_DESTROY, context)


def uring(path, fixed, also=None):
    """Writes through io_uring, or does `also` where that is given; with a registered file, the
    descriptor is closed before the write."""
    params = (ctypes.c_uint32 * 30)()
    ring = check(libc.syscall(NR_URING_SETUP, 4, params))
    try:
        # sq_off begins at word 10, cq_off at word 20; an entry is 64 bytes, an answer 16.
        sq_tail, sq_mask, sq_array = params[11], params[12], params[16]
        length = max(sq_array + params[0] * 4, params[25] + params[1] * 16)
        rings = mmap.mmap(ring, length, mmap.MAP_SHARED | 0x8000, offset=0)
        entries = mmap.mmap(ring, params[0] * 64, mmap.MAP_SHARED | 0x8000, offset=0x10000000)
        fd = File(path).fd
        buffer = ctypes.create_string_buffer(content())
        number, flags = fd, 0
        if fixed:
            files = (ctypes.c_int32 * 1)(fd)
            check(libc.syscall(NR_URING_REGISTER, ring, 2, files, 1))
            if also:
                also(fd)
            os.close(fd)
            if also:
                return
            number, flags = 0, 1
        entry = struct.pack("<BBHiQQIi", 23, flags, 0, number, 0, ctypes.addressof(buffer), 9, 0)
        entries[:len(entry)] = entry
        tail = struct.unpack_from("<I", rings, sq_tail)[0]
        mask = struct.unpack_from("<I", rings, sq_mask)[0]
        struct.pack_into("<I", rings, sq_array + (tail & mask) * 4, 0)
        struct.pack_into("<I", rings, sq_tail, tail + 1)
        check(libc.syscall(NR_URING_ENTER, ring, 1, 1, 1, None, 0))
        result = struct.unpack_from("<i", rings, params[25] + 8)[0]
        if not fixed:
            os.close(fd)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
    finally:
        # A ring with registered files is taken down by a thread of the kernel's own, later.
        os.close(ring)


def uring_write(path):
    uring(path, False)


def uring_write_fixed(path):
    uring(path, True)


def uring_write_and_be_killed(path):
    in_child(lambda: uring(path, True), "kill")


def uring_map_write_and_be_killed(path):
    in_child(lambda: uring(path, True, store_quietly), "kill")


# What the kernel does by itself

def reclaim():
    """Has the kernel forget inodes that nobody uses."""
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("2")


def flood(path):
    """Makes and removes more files than an event queue holds, a few of which stay."""
    for number in range(100_000):
        os.close(opened("%s/flood%d" % (path, number), os.O_WRONLY | os.O_CREAT))
        if number >= 100:
            os.unlink("%s/flood%d" % (path, number - 100))


# Where it is done

def enter(directory):
    """Goes on in a child, in another directory, until the child is told to `leave`."""
    global counter
    counter += 100_000
    child = os.fork()
    if child == 0:
        os.chdir(directory)
    else:
        os.waitpid(child, 0)


def leave():
    """Ends the child as whatever outlives a step is ended; its parent answers."""
    os.kill(os.getpid(), signal.SIGKILL)


OPERATIONS = {name: act for name, act in list(globals().items())
              if callable(act) and not isinstance(act, type)
              and name not in ("check", "opened", "size", "content", "keep_mtime", "mapped", "store",
                               "look", "near", "outside", "send_into_cycle", "store_quietly",
                               "aio_submit", "in_child", "source_file", "uring", "rename_flags")}
for name in ("write", "overwrite", "append", "shrink", "map_write", "chmod", "set_xattr", "clone",
             "copy_range", "truncate_by_path", "uring_write"):
    OPERATIONS[name + "_keeping_mtime"] = keep_mtime(OPERATIONS[name])


def main():
    out = sys.stdout
    for line in sys.stdin:
        name, *arguments = line.rstrip("\n").split("\t")
        try:
            answer = OPERATIONS[name](*arguments) or "ok"
        except OSError as error:
            answer = errno.errorcode.get(error.errno, str(error.errno))
        except shutil.Error as error:
            answer = str(error).replace("\n", " ")
        out.write(answer + "\n")
        out.flush()


if __name__ == "__main__":
    main()
