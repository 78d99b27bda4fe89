"""Contexts to build from: the same bytes each time."""

import os
import random

from contenders import BASES
from process import run


def unpacked(folder, base="large"):
    """Unpacks a base once, and returns its tree."""
    bundle = folder / f"bundle-{base}"
    if not bundle.exists():
        run(["umoci", "unpack", "--image", f"{BASES}/{base}:latest", bundle])
    return bundle / "rootfs"


def real_files(tree):
    """The regular files below `tree` in the order of their names, links and empty ones left out."""
    for folder, folders, names in os.walk(tree):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not os.path.islink(path) and os.path.isfile(path) and os.path.getsize(path) > 0:
                yield path


def half_random(folder, tree, size):
    """Fills `folder` with `size` bytes: one half a few random files, the other what `tree` has."""
    folder.mkdir(parents=True)
    generator = random.Random(1)
    parts = 8
    for part in range(parts):
        with open(folder / f"random-{part}", "wb") as file:
            for _ in range(size // 2 // parts // 4096):
                file.write(generator.randbytes(4096))
    left = size // 2
    for number, path in enumerate(real_files(tree)):
        if left <= 0:
            return
        into = folder / f"real-{number // 1000}"
        into.mkdir(exist_ok=True)
        with open(path, "rb") as source, open(into / str(number), "wb") as file:
            left -= file.write(source.read(left))


def many_files(folder, tree, count, mean_bytes):
    """Fills `folder` with `count` files of `mean_bytes` on average, pieces of what `tree` has."""
    generator = random.Random(2)
    pool = bytearray()
    for path in real_files(tree):
        with open(path, "rb") as file:
            pool += file.read(1 << 20)
        if len(pool) > 256 << 20:
            break
    for number in range(count):
        into = folder / f"package-{number // 1000}" / f"module-{number // 50 % 20}"
        if number % 50 == 0:
            into.mkdir(parents=True)
        length = min(len(pool), int(generator.expovariate(1 / mean_bytes)) + 1)
        start = generator.randrange(len(pool) - length + 1)
        (into / f"file-{number}").write_bytes(pool[start : start + length])
