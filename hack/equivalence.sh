#!/bin/sh
# hack/equivalence.sh [OPTION…]: the long run of the change trackers' equivalence test.
#
# Random file operations by several processes at once, on each kind of file system, while the kernel
# is made to forget inodes now and then and event queues are flooded; after every step the layer made
# by the tracker's scope must be, byte for byte, the one made by reading everything, and must give the
# tree when applied. Prints how many changes there were under each tracker on each file system, and
# how often each operation succeeded; twice a minute, on standard error, how far it is. Steps that come
# out wrong are printed with their seed, shrunk, and kept as a file for
# snapshot/tests/it/track/regressions. A million changes take some half an hour of two processors;
# where there are several, one of these for each file system makes use of them.
#
#   --changes N         so many changes in all (default: 10000)
#   --each N            every operation that a file system has must succeed so often there (default: a
#                       thousandth of the changes)
#   --seed N            the first seed (default: 1); each root has the next
#   --tracker NAME      overlay, inotify, fanotify or walk only (may be repeated)
#   --file-system NAME  Tmpfs, Ext4, CoarseExt4, Xfs, Btrfs, OverlayOnExt4 or OverlayOnTmpfs only (may be
#                       repeated)
#   --weakness NAME     makes the tracker leave something out, which must be found: OneName,
#                       NoSubtrees, DirectoriesOnly, NoOpen, OldNumbers or NoWait
#   --keep DIRECTORY    where failures are kept (default: equivalence in cargo's target directory)
#   --memory MIB        runs under a memory limit of so much
#
# Needs a Rust toolchain, and root or sudo for the file systems it mounts. Installs from Debian, where
# missing, python3 and the programs that make file systems.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"
target=${CARGO_TARGET_DIR:-$here/target}
memory= keep=$target/equivalence
# The rest is the program's; each option has a value.
count=$#
while [ "$count" -gt 0 ]; do
  option=$1
  [ $# -gt 1 ] || { echo "error: $option takes a value" >&2; exit 2; }
  value=$2
  shift 2
  count=$((count - 2))
  case $option in
    --memory) memory=$value ;;
    --keep) keep=$value ;;
    *) set -- "$@" "$option" "$value" ;;
  esac
done
need_packages gcc libc6-dev python3 e2fsprogs xfsprogs btrfs-progs mount
(cd "$here" && cargo build --release -p snapshot --example equivalence)

group=
if [ -n "$memory" ]; then
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    group=/sys/fs/cgroup/zuwai-equivalence-$$ limit=memory.max
    as_root sh -c 'echo +memory >/sys/fs/cgroup/cgroup.subtree_control'
  else
    group=/sys/fs/cgroup/memory/zuwai-equivalence-$$ limit=memory.limit_in_bytes
  fi
  as_root mkdir "$group"
  trap 'as_root rmdir "$group"' EXIT
  as_root sh -c "echo $((memory * 1024 * 1024)) >$group/$limit"
fi
code=0
as_root sh -c '[ -z "$1" ] || echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$group" \
  "$target/release/examples/equivalence" --keep "$keep" "$@" || code=$?
exit $code
