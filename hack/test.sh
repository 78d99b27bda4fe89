#!/bin/sh
# hack/test.sh [CARGO-TEST-ARGUMENT…]: runs all tests.
# Needs a Rust toolchain, and root or sudo for the tests that make namespaces and mounts. Installs
# from Debian, where missing, the programs that the tests use as witnesses, and makes the base
# images that they build on.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"
need_packages gcc libc6-dev make attr acl libcap2-bin xz-utils bzip2 zstd jq python3 \
  python3-venv busybox-static docker-registry nginx-light openssl skopeo umoci runc buildah \
  e2fsprogs xfsprogs btrfs-progs uidmap
"$here/hack/bases.sh" debian build busybox
bases=${ZUWAI_BASES:-${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/bases}

# The tests make and remove large trees: on an ext4 image in memory where that can be mounted, else
# in the usual place for temporary files. With a journal, small as it is: without one ext4 does not give
# an inode's number again for five seconds, and looks through all of them for each file that is made.
scratch=$(mktemp -d)
image=/dev/shm/zuwai-test-$$.ext4
clean_up() {
  # At once where nothing is left in it, else when what is left has gone: that is no failed test.
  as_root umount "$scratch" 2>/dev/null || as_root umount -l "$scratch" 2>/dev/null || true
  rm -f "$image"
  rm -rf "$scratch"
}
trap clean_up EXIT
if truncate -s 8G "$image" 2>/dev/null &&
  mkfs.ext4 -q -J size=64 -E lazy_itable_init=1,nodiscard "$image" &&
  as_root mount -o loop "$image" "$scratch" 2>/dev/null; then
  as_root chmod 1777 "$scratch"
  as_root rmdir "$scratch/lost+found"
else
  echo "no ext4 image in memory here: temporary files go to ${TMPDIR:-/tmp}" >&2
  rm -rf "$scratch"
  scratch=${TMPDIR:-/tmp}
  trap - EXIT
fi

cd "$here"
cargo test --workspace --no-run
target=${CARGO_TARGET_DIR:-$here/target}
# What runs in a container that has nothing else in it.
static=$("$here/hack/static.sh")
# The schemas of other tools; without a network their tests say that they were not made.
schemas=$("$here/hack/schemas.sh") || schemas=
# Tests of namespaces, mounts and devices need root; cargo itself runs as whoever called. All that
# they need is there now, so none may be skipped but for want of a network.
as_root env "PATH=$PATH" "HOME=$HOME" "ZUWAI_BASES=$bases" "TMPDIR=$scratch" ZUWAI_REQUIRE_ALL=1 \
  "ZUWAI_STATIC=$static" "ZUWAI_EQUIVALENCE=$target/debug/examples/equivalence" \
  ${schemas:+"ZUWAI_SCHEMAS=$schemas"} \
  "CARGO_TARGET_DIR=$target" \
  cargo test --workspace "$@"
