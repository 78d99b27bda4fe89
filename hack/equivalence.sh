#!/bin/sh
# hack/equivalence.sh [--changes N] [--seed N] [--tracker NAME] [--file-system NAME]: the long run of
# the change trackers' equivalence test. Random file operations by several processes at once, on each
# kind of file system; after every step the layer made by the tracker's scope must be, byte for byte,
# the one made by reading everything, and must give the tree when applied. Prints how many changes
# there were, and how often each operation succeeded; a failure is shrunk and printed.
# Needs root or sudo for the file systems it mounts. Installs from Debian, where missing, python3 and
# the programs that make file systems.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"
need_packages gcc libc6-dev python3 e2fsprogs xfsprogs btrfs-progs mount
cd "$here"
cargo build --release -p snapshot --example equivalence
as_root "${CARGO_TARGET_DIR:-$here/target}/release/examples/equivalence" "$@"
