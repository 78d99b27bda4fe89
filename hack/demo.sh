#!/bin/sh
# hack/demo.sh: builds examples/hello from base images made on the spot, and runs the result.
# Needs a Rust toolchain, and root or sudo. Installs debootstrap, busybox-static, xz-utils, gcc and
# runc from Debian where they are missing. Needs no registry, no account and no Docker.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"
need_packages gcc libc6-dev runc
"$here/hack/bases.sh" build busybox
bases=${ZUWAI_BASES:-${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/bases}
target=${CARGO_TARGET_DIR:-$here/target}

echo "compiling zuwai" >&2
(cd "$here" && cargo build --quiet --release --bin zuwai)

out=$target/demo
as_root rm -rf "$out"
mkdir -p "$out"
as_root "$target/release/zuwai" build \
  --context "$here/examples/hello" \
  --dockerfile "$here/examples/hello/Dockerfile" \
  --build-context "base-build=oci-layout://$bases/build" \
  --build-context "base-small=oci-layout://$bases/busybox" \
  --destination hello:demo --no-push \
  --oci-layout-path "$out/layout" \
  --tar-path "$out/hello.tar" \
  --digest-file "$out/digest"

echo
echo "image digest: $(cat "$out/digest")"
echo
echo "run it:   docker load -i $out/hello.tar && docker run --rm hello:demo"
echo "push it:  skopeo copy oci:$out/layout docker://REGISTRY/hello:demo"
echo "or build with --destination REGISTRY/hello:demo and without --no-push"
