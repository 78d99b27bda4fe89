#!/bin/sh
# hack/test.sh [CARGO-TEST-ARGUMENT…]: runs all tests.
# Needs a Rust toolchain, and root or sudo for the tests that make namespaces and mounts. Installs
# from Debian, where missing, the programs that the tests use as witnesses, and makes the base
# images that they build on.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"
need_packages gcc libc6-dev make attr acl libcap2-bin xz-utils bzip2 zstd jq python3 \
  busybox-static docker-registry nginx-light openssl skopeo umoci runc buildah \
  e2fsprogs xfsprogs btrfs-progs uidmap
"$here/hack/bases.sh" debian build busybox
bases=${ZUWAI_BASES:-${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/bases}

cd "$here"
cargo test --workspace --no-run
# Tests of namespaces, mounts and devices need root; cargo itself runs as whoever called.
as_root env "PATH=$PATH" "HOME=$HOME" "ZUWAI_BASES=$bases" "CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/target}" \
  cargo test --workspace "$@"
