#!/bin/sh
# hack/image.sh [--program FILE] DIRECTORY: makes zuwai's container image with zuwai itself, from
# the Dockerfile's targets `host` and `host-debug`, as the OCI layouts DIRECTORY/executor and
# DIRECTORY/debug. Prints their digests and how large they are unpacked.
#
#   --program FILE   puts this static program into them, however large it is, instead of compiling
#                    one as it is shipped
#
# hack/image.sh --files DIRECTORY: only makes what goes into the images.
#
# Needs a Rust toolchain, and root or sudo; from the network only crates and Debian's packages.
# Installs binutils, busybox-static, ca-certificates, gcc and libc6-dev where missing.
set -eu
umask 022
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"

# Bytes that an image may have unpacked.
largest=20000000

program= only_files=no
while [ $# -gt 0 ]; do
  case $1 in
    --program) program=$2; shift 2 ;;
    --files) only_files=yes; shift ;;
    -*) echo "error: unknown option $1" >&2; exit 1 ;;
    *) break ;;
  esac
done
[ $# -eq 1 ] || { echo "error: give one directory; for example: hack/image.sh target/image" >&2; exit 1; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
need_packages binutils busybox-static ca-certificates gcc libc6-dev

# make_files DIRECTORY: what the images hold.
make_files() {
  kaniko=$1/executor/kaniko
  mkdir -p "$kaniko/ssl/certs" "$kaniko/.docker" "$1/debug/busybox" "$1/debug/bin"
  # As in every base: what a Pod mounts into /var/run must not make a directory of it.
  mkdir -p "$1/executor/run" "$1/executor/var"
  ln -s /run "$1/executor/var/run"
  strip -o "$kaniko/executor" "$program"
  chmod 755 "$kaniko/executor"
  ln -s executor "$kaniko/warmer"
  ln -s executor "$kaniko/zuwai"
  # Mozilla's authorities, not those that this machine trusts beside them.
  cat /usr/share/ca-certificates/mozilla/*.crt >"$kaniko/ssl/certs/ca-certificates.crt"
  cp /bin/busybox "$1/debug/busybox/busybox"
  for applet in $(/bin/busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$1/debug/busybox/$applet"
  done
  ln -s /busybox/sh "$1/debug/bin/sh"
}

# unpacked_size LAYOUT: the bytes of an image's layers, uncompressed.
unpacked_size() {
  find "$1/blobs" -type f | while read -r blob; do
    gzip -dc "$blob" 2>/dev/null || true
  done | wc -c
}

given=$program
[ -n "$program" ] || program=$("$here/hack/static.sh" image)
if [ $only_files = yes ]; then
  make_files "$out"
  exit 0
fi

work=$(mktemp -d)
trap 'as_root rm -rf "$work"' EXIT
make_files "$work/files"
for variant in executor debug; do
  stage=host
  [ $variant = executor ] || stage=host-debug
  as_root rm -rf "$out/$variant"
  as_root "$work/files/executor/kaniko/zuwai" build --verbosity=warn --kaniko-dir="$work/kaniko" \
    --context="$work/files" --dockerfile="$here/Dockerfile" --target=$stage \
    --ignore-var-run=false --reproducible --no-push --destination=zuwai:latest \
    --oci-layout-path="$out/$variant"
  [ "$(id -u)" = 0 ] || as_root chown -R "$(id -u):$(id -g)" "$out/$variant"
  digest=$(grep -o 'sha256:[0-9a-f]*' "$out/$variant/index.json" | head -n 1)
  size=$(unpacked_size "$out/$variant")
  echo "$variant $digest $size"
  if [ -z "$given" ] && [ "$size" -ge $largest ]; then
    echo "error: the image has $size bytes unpacked; it may have less than $largest" >&2
    exit 1
  fi
done
