#!/bin/sh
# hack/bench.sh [OPTION…]: whole builds beside other programs and beside bare tools that do no more
# than the work itself; medians and ratios of interleaved runs, with a chart each.
#
#   --scenario NAME    layer, copy, pull, cached, changed, key, tail or miss only; may be given
#                      several times
#   --runs N           so many runs of each contender (default: 5)
#   --scale FRACTION   of the sizes, for a quick look (default: 1)
#   --out DIRECTORY    where results.json, README.md and the charts go (default:
#                      benches/runs/ and today's date)
#   --size SIZE        of the file system in memory that all of it happens on (default: 12G)
#
#   layer   one layer of 1 GiB, half of it random, to a registry on the loopback address
#   copy    COPY of 100,000 files, and three small RUNs after it
#   pull    a base of 65,000 entries from the registry onto the disk; also with round trips of 30
#           and 150 ms
#   cached  a build upon the same base that the cache has all of, likewise
#   changed one file changed between two RUNs on the same base, with and without a large layer that is
#           cached above it, which an earlier build has unpacked for it, or not
#   key     what a COPY of 200,000 files is looked up by, of which one has changed since it was last
#   tail    what is left to do once the last RUN of a build has ended
#   miss    the same build without a cache, and with one that has nothing of it
#
# Needs a Rust toolchain, and root or sudo. Installs from Debian, where missing, the other programs.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"
need_packages gcc libc6-dev docker-registry skopeo umoci buildah pigz zstd python3 gnuplot-nox \
  e2fsprogs mount
"$here/hack/bases.sh" busybox debian large
bases=${ZUWAI_BASES:-${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/bases}
target=${CARGO_TARGET_DIR:-$here/target}

size=12G
out=$here/benches/runs/$(date +%Y-%m-%d)
count=$#
while [ "$count" -gt 0 ]; do
  option=$1
  [ $# -gt 1 ] || { echo "error: $option takes a value" >&2; exit 2; }
  value=$2
  shift 2
  count=$((count - 2))
  case $option in
    --size) size=$value ;;
    --out) out=$value ;;
    *) set -- "$@" "$option" "$value" ;;
  esac
done

(cd "$here" && cargo build --quiet --release --bin zuwai)
scratch=$(mktemp -d)
image=/dev/shm/zuwai-bench-$$.ext4
clean_up() {
  as_root umount -l "$scratch" 2>/dev/null || true
  rm -rf "$image" "$scratch"
}
trap clean_up EXIT
# Its memory is taken now: a machine that has to find some while it is measured takes twice the time.
fallocate -l "$size" "$image"
# With a journal, as disks have one: ext4 without it takes ten times as long to make files where others
# were removed within five seconds.
mkfs.ext4 -q -E lazy_itable_init=1,nodiscard "$image"
as_root mount -o loop "$image" "$scratch"
mkdir -p "$out"
as_root env "ZUWAI=$target/release/zuwai" "ZUWAI_BASES=$bases" "TMPDIR=$scratch" \
  python3 "$here/hack/bench" --out "$out" "$@"
