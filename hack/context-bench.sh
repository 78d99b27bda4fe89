#!/bin/sh
# hack/context-bench.sh [OPTION…]: how long a large context from an S3 server takes to be on disk,
# against a download that is untarred at once with bare tools, within a memory limit.
#
# The server is moto; both ways ask it for the same archive, alternately, several times. Of our build,
# which copies one file, the time of the phase `context` counts: removing the files at its end is not
# part of either. Prints each time, the medians, their ratio and the peak of resident memory; fails
# when the ratio is above 1.3 or the peak above the limit.
#
#   --size MIB       of the files (default: 1024)
#   --files COUNT    files (default: 100000)
#   --runs COUNT     of each way (default: 3)
#   --limit MIB      on resident memory (default: 128)
#   --binary FILE    the program (default: zuwai, compiled for release)
#   --directory DIR  where everything is put (default: a new one in /var/tmp)
#
# Needs a Rust toolchain, and root or sudo. Installs curl and what hack/context-servers.sh needs.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"
size=1024 files=100000 runs=3 limit=128 binary= directory=
while [ $# -gt 0 ]; do
  case $1 in
    --size) size=$2; shift 2 ;;
    --files) files=$2; shift 2 ;;
    --runs) runs=$2; shift 2 ;;
    --limit) limit=$2; shift 2 ;;
    --binary) binary=$2; shift 2 ;;
    --directory) directory=$2; shift 2 ;;
    *) echo "error: unknown option $1" >&2; exit 2 ;;
  esac
done
need_packages curl jq python3-venv time
if [ -z "$binary" ]; then
  need_packages gcc libc6-dev
  (cd "$here" && cargo build --quiet --release --bin zuwai)
  binary=${CARGO_TARGET_DIR:-$here/target}/release/zuwai
fi
binary=$(realpath "$binary")
[ -n "$directory" ] || directory=$(mktemp -d /var/tmp/zuwai-context.XXXXXX)
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
# A Dockerfile in the current directory would win over the context's.
cd "$directory"
servers=${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/contexts
mkdir -p "$servers"
[ -x "$servers/python/bin/moto_server" ] || {
  python3 -m venv "$servers/python"
  "$servers/python/bin/pip" install --quiet 'moto[server,s3]' >&2
}

server=
clean_up() {
  [ -z "$server" ] || kill "$server" || true
  wait
  as_root rm -rf "$directory"
}
trap clean_up EXIT
# Half of each file is noise, so that the archive is neither tiny nor incompressible.
echo "making $files files of $size MiB in all" >&2
python3 - "$directory/context.tar.gz" "$size" "$files" <<'PYTHON'
import gzip, io, os, sys, tarfile
path, size, count = sys.argv[1], int(sys.argv[2]) << 20, int(sys.argv[3])
each = size // count
with gzip.open(path, "wb", compresslevel=1) as stream:
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        def add(name, data):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        add("Dockerfile", b"FROM scratch\nCOPY Dockerfile /\n")
        for number in range(count):
            data = os.urandom(each // 2) + b"The other half is text. " * (each // 48 + 1)
            add(f"d{number // 1000:04}/f{number:07}", data[:each])
PYTHON
address=127.0.0.1 port=$((20000 + $$ % 20000))
"$servers/python/bin/moto_server" -H $address -p $port >"$directory/moto.log" 2>&1 &
server=$!
url=http://$address:$port/contexts
for _ in $(seq 100); do
  curl --silent --fail --output /dev/null -X PUT "$url" && break
  sleep 0.2
done
# The bare tools have no key to show.
curl --silent --fail --output /dev/null -H "x-amz-acl: public-read" \
  -T "$directory/context.tar.gz" "$url/context.tar.gz"
rm "$directory/context.tar.gz"

now() { date +%s.%N; }
# since START: seconds.
since() { awk "BEGIN { printf \"%.2f\", $(now) - $1 }"; }
median() { sort -n "$1" | awk '{ line[NR] = $1 } END { print line[int((NR + 1) / 2)] }'; }

for run in $(seq "$runs"); do
  rm -rf "$directory/bare"
  mkdir "$directory/bare"
  sync
  start=$(now)
  curl --silent --fail "$url/context.tar.gz" | tar -xzf - -C "$directory/bare"
  since "$start" >>"$directory/bare.times"
  echo >>"$directory/bare.times"
  rm -rf "$directory/bare"
  sync
  as_root env S3_ENDPOINT=http://$address:$port S3_FORCE_PATH_STYLE=true AWS_ACCESS_KEY_ID=a \
    AWS_SECRET_ACCESS_KEY=b time --append --output="$directory/peaks" --format=%M \
    "$binary" build --verbosity=warn --context=s3://contexts/context.tar.gz --no-push \
    --kaniko-dir="$directory/work" --benchmark-file="$directory/benchmark.json"
  jq '.phases_ms.context / 1000' "$directory/benchmark.json" >>"$directory/ours.times"
  as_root rm -rf "$directory/work"
  echo "run $run: $(tail -n 1 "$directory/bare.times") s bare, $(tail -n 1 "$directory/ours.times") s ours" >&2
done
peak=$(sort -n "$directory/peaks" | tail -n 1)
bare=$(median "$directory/bare.times") ours=$(median "$directory/ours.times")
ratio=$(awk "BEGIN { printf \"%.2f\", $ours / $bare }")
echo "bare tools: $bare s"
echo "zuwai: $ours s"
echo "ratio: $ratio"
echo "peak of resident memory: $((peak / 1024)) of $limit MiB"
[ "$peak" -le $((limit * 1024)) ] || { echo "error: the peak is above the limit" >&2; exit 1; }
awk "BEGIN { exit !($ratio <= 1.3) }" || { echo "error: the ratio is above 1.3" >&2; exit 1; }
