#!/bin/sh
# hack/compression.sh [DIRECTORY]: what compression levels give and cost, as a table in Markdown.
#
# Writes the layer of a directory's files with each level of gzip and zstd, and compresses a tar of them
# with Debian's gzip, pigz and zstd. Processor time is that of all threads together, reading and the
# layer's digests taken off; what a tool needs to read its tar is in its figure. Without a directory
# it takes /usr of the `build` base image, 350 MB of a compiler, python3 and libraries.
#
# Needs a Rust toolchain, and root or sudo. Installs from Debian, where missing, gzip, pigz, zstd, time,
# umoci and what hack/bases.sh needs. Trees and tar lie in memory while it runs.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"
need_packages gcc libc6-dev gzip pigz zstd time umoci
(cd "$here" && cargo build --quiet --release -p snapshot --example compression)
program=${CARGO_TARGET_DIR:-$here/target}/release/examples/compression
work=$(mktemp -d /dev/shm/zuwai-compression.XXXXXX)
trap 'as_root rm -rf "$work"' EXIT
tree=${1:-}
if [ -z "$tree" ]; then
  "$here/hack/bases.sh" build
  bases=${ZUWAI_BASES:-${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/bases}
  as_root umoci raw unpack --image "$bases/build:latest" "$work/root" >/dev/null
  tree=$work/root/usr
fi
as_root tar -C "$tree" -cf "$work/tar" .

# row NAME BYTES SECONDS: a row of the table.
row() {
  awk -v name="$1" -v bytes="$2" -v seconds="$3" -v tar="$tar" 'BEGIN {
    speed = seconds > 0 ? sprintf("%.0f", tar / 1e6 / seconds) : "-"
    printf "| %s | %.1f | %.2f | %.1f | %s |\n", name, bytes / 1e6, tar / bytes, seconds, speed
  }'
}

# tool COMMAND…: the row of a program that compresses the tar.
tool() {
  bytes=$(time --output="$work/time" --format='%U %S' "$@" <"$work/tar" | wc -c)
  row "\`$*\`" "$bytes" "$(awk '{ print $1 + $2 }' "$work/time")"
}

as_root "$program" "$tree" gzip 1 2 4 6 9 zstd 1 3 6 9 15 >"$work/levels"
read -r _ _ tar reading <"$work/levels"
echo "| | MB | ratio | CPU s | MB/s a core |"
echo "|---|---|---|---|---|"
sed 1d "$work/levels" | while read -r name level bytes seconds; do
  row "$name $level" "$bytes" "$(awk "BEGIN { print $seconds - $reading }")"
done
for level in 1 6 9; do
  tool gzip "-$level"
done
tool pigz -1
tool pigz -6
for level in 1 3 9; do
  tool zstd -q -T0 "-$level"
done
echo
echo "$((tar / 1000000)) MB of tar; reading and digests took $reading s of every layer" >&2
