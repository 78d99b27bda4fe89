#!/bin/sh
# hack/memory.sh [OPTION…]: builds and pushes a layer that is far larger than the memory it may use;
# or, with --layers, builds upon a base of many layers that are.
#
# A RUN writes a file of random bytes and one of text, half of the size each, so that neither the tar
# nor what is left of it compressed is small. The layer is read, compressed, kept on disk and pushed to
# Debian's docker-registry, all under a memory limit of the kernel's (control groups of version 1 or
# 2), RUN included. Prints what the layer was, how long it took and how much memory was used, and
# fails when the registry does not have the image, or more memory was resident than a build may use:
# 128 MiB and 200 bytes for each file of the base.
#
#   --size MIB       of both files (default: 1024; needs twice that on disk)
#   --layers COUNT   a base of so many layers of random bytes instead, together of that size, pulled
#                    from a registry that is 40 ms away: each layer of more than 16 MiB comes in parts
#   --limit MIB      on memory, page cache included (default: 128)
#   --binary FILE    the program (default: zuwai, compiled for release)
#   --directory DIR  where everything is put (default: a new one in /var/tmp)
#   …                more flags of `zuwai build` after `--`
#
# Needs a Rust toolchain, and root or sudo. Installs from Debian, where missing, docker-registry,
# skopeo, time and what hack/bases.sh needs.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"
size=1024 layers=0 limit=128 binary= directory=
while [ $# -gt 0 ]; do
  case $1 in
    --size) size=$2; shift 2 ;;
    --layers) layers=$2; shift 2 ;;
    --limit) limit=$2; shift 2 ;;
    --binary) binary=$2; shift 2 ;;
    --directory) directory=$2; shift 2 ;;
    --) shift; break ;;
    *) echo "error: unknown option $1" >&2; exit 2 ;;
  esac
done
need_packages docker-registry nginx-light openssl skopeo jq time python3
"$here/hack/bases.sh" busybox
base=${ZUWAI_BASES:-${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/bases}/busybox
if [ -z "$binary" ]; then
  need_packages gcc libc6-dev
  (cd "$here" && cargo build --quiet --release --bin zuwai)
  binary=${CARGO_TARGET_DIR:-$here/target}/release/zuwai
fi
[ -n "$directory" ] || directory=$(mktemp -d /var/tmp/zuwai-memory.XXXXXX)
mkdir -p "$directory/context"

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  version=2 group=/sys/fs/cgroup/zuwai-memory-$$
  as_root sh -c 'echo +memory >/sys/fs/cgroup/cgroup.subtree_control'
else
  version=1 group=/sys/fs/cgroup/memory/zuwai-memory-$$
fi
wire=
clean_up() {
  [ -z "$wire" ] || kill "$wire"
  exec 9>&-
  wait
  [ ! -d "$group" ] || as_root rmdir "$group" || true
  as_root rm -rf "$directory"
}
trap clean_up EXIT
as_root mkdir "$group"
bytes=$((limit * 1024 * 1024))
case $version in
  1) as_root sh -c "echo $bytes >$group/memory.limit_in_bytes" ;;
  2) as_root sh -c "echo $bytes >$group/memory.max; echo 0 >$group/memory.swap.max || true" ;;
esac

# The registry is outside of the limit, on a loopback address of its own; it ends with its input.
address=127.$(($$ / 65536 % 250 + 1)).$(($$ / 256 % 256)).$(($$ % 250 + 1))
mkfifo "$directory/registry.in"
"$here/hack/registry.sh" "$directory/registry" "$address" \
  <"$directory/registry.in" >"$directory/registry.out" &
exec 9>"$directory/registry.in"
until grep -q ready "$directory/registry.out"; do
  kill -0 $! || exit 1
  sleep 0.2
done

# A base in the registry: busybox, and files of random bytes, each in a layer of its own.
if [ "$layers" != 0 ]; then
  mkdir -p "$directory/base/blobs/sha256"
  cp -r "$base/." "$directory/base"
  python3 - "$directory/base" "$layers" $((size * 1024 * 1024 / layers)) <<'PYTHON'
import gzip, hashlib, io, json, os, pathlib, sys, tarfile

layout, count, size = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
blobs = layout / "blobs/sha256"


def put(data):
    name = hashlib.sha256(data).hexdigest()
    (blobs / name).write_bytes(data)
    return {"digest": f"sha256:{name}", "size": len(data)}


def get(descriptor):
    return json.loads((blobs / descriptor["digest"].partition(":")[2]).read_bytes())


index = json.loads((layout / "index.json").read_bytes())
manifest = get(index["manifests"][0])
config = get(manifest["config"])
for number in range(count):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo(f"layer-{number}")
        entry.size = size
        archive.addfile(entry, io.BytesIO(os.urandom(size)))
    tar = tar.getvalue()
    config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(tar).hexdigest())
    kind = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}
    manifest["layers"].append(kind | put(gzip.compress(tar, 1)))
config.pop("history", None)
manifest["config"] |= put(json.dumps(config).encode())
index["manifests"][0] |= put(json.dumps(manifest).encode())
(layout / "index.json").write_text(json.dumps(index))
PYTHON
  skopeo copy --quiet --dest-tls-verify=false "oci:$directory/base" "docker://$address:5000/base:v1"
  rm -rf "$directory/base"
  mkfifo "$directory/wire"
  # Ends with its own children, and does not keep the registry's input open.
  PYTHONPATH=$here/hack/bench python3 -c '
import signal, sys
from registry import Wire
wire = Wire(5000, 0.04, sys.argv[1])
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print(wire.address, flush=True)
signal.sigwait([signal.SIGTERM])
wire.close()' "$address" >"$directory/wire" 9>&- &
  wire=$!
  read -r far <"$directory/wire"
fi

cat >"$directory/context/Dockerfile" <<DOCKERFILE
FROM base-small
RUN dd if=/dev/urandom of=/noise bs=1M count=$((size / 2)) && \\
    yes 'Every byte is read, compressed and sent once.' | head -c $((size / 2 * 1024 * 1024)) >/text
RUN touch /later
DOCKERFILE
what="a layer"
if [ "$layers" != 0 ]; then
  what="a base of $layers layers"
  printf 'FROM %s/base:v1\nRUN touch /later\n' "$far" >"$directory/context/Dockerfile"
fi
echo "$what of $size MiB under a limit of $limit MiB, control groups of version $version" >&2
code=0
as_root sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$group" \
  time --output="$directory/time" --format='%e %U %S %M' \
  "$binary" build --context "$directory/context" --dockerfile "$directory/context/Dockerfile" \
  --build-context "base-small=oci-layout://$base" --kaniko-dir "$directory/work" \
  --destination "$address:5000/memory:$size" --digest-file "$directory/digest" \
  --benchmark-file "$directory/benchmark.json" "$@" >&2 || code=$?
case $version in
  1)
    peak=$(cat "$group/memory.max_usage_in_bytes")
    killed=$(awk '$1 == "oom_kill" { print $2 }' "$group/memory.oom_control")
    ;;
  2)
    # Kernels before 5.19 do not keep the peak.
    peak=$(cat "$group/memory.peak" 2>/dev/null || echo 0)
    killed=$(awk '$1 == "oom_kill" { print $2 }' "$group/memory.events")
    ;;
esac
[ "$code" = 0 ] || { echo "error: the build ended with $code; killed for memory: ${killed:-?}" >&2; exit 1; }
read -r elapsed user system resident <"$directory/time"
pushed=$(skopeo inspect --tls-verify=false --raw "docker://$address:5000/memory:$size" | sha256sum)
[ "sha256:${pushed%% *}" = "$(cat "$directory/digest")" ] ||
  { echo "error: the registry has another image" >&2; exit 1; }
if [ "$layers" != 0 ]; then
  jq -r '.pulls | "pulled: \(map(.bytes) | add / 1e6 | floor) MB of \(length) layers by \(map(.requests) | add) requests"' \
    "$directory/benchmark.json"
fi
jq -r '.layers | max_by(.compressed_bytes) |
  "layer: \(.compressed_bytes / 1e6 | floor) MB of tar, \(.spooled_bytes / 1e6 | floor) MB compressed"' \
  "$directory/benchmark.json"
echo "time: $elapsed s, $user s user, $system s system"
echo "peak resident memory: $((resident / 1024)) MiB"
echo "peak of the control group: $((peak / 1024 / 1024)) of $limit MiB, page cache included"
echo "killed for memory: ${killed:-unknown}"
files=$(jq '[.snapshots[].known] | max // 0' "$directory/benchmark.json")
most=$((128 + files * 200 / 1024 / 1024))
[ $((resident / 1024)) -le "$most" ] ||
  { echo "error: more was resident than the $most MiB that a build of $files files may use" >&2; exit 1; }
