#!/bin/sh
# hack/pod-equivalence.sh [OPTION…]: the run of hack/equivalence.sh inside containers as Pods have them
# (hack/pod.sh): on the container's root, which is an overlay, and in an empty directory that is mounted,
# where nothing else can be mounted in most of them. Every tracker that can work there has to, and is
# tried; that the others cannot be had is found out too.
#
#   --pod NAME        the kind of Pod; may be repeated (default: all of them)
#                       ordinary         default capabilities and seccomp profile
#                       unconfined       default capabilities without a seccomp profile
#                       privileged
#                       user-namespace   `hostUsers: false`
#   --changes N       so many changes in each place (default: 10000)
#   --each N          every operation must succeed so often in each place, but for those that cannot succeed
#                     there, which are named in the end (default: a thousandth of the changes)
#   --patience N      what was tried so often in vain cannot succeed (default: 1000)
#   --seed N          the first seed (default: 1)
#   --weakness NAME   makes the trackers leave something out, which must be found: the script fails then
#   --program FILE    the program (default: snapshot's example `equivalence`, compiled here)
#
# Needs what hack/pod.sh needs. Installs python3 and busybox-static from Debian where missing.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"
. "$here/hack/libraries.sh"

pods= program= options= seed=1 changes=10000
while [ $# -gt 0 ]; do
  [ $# -gt 1 ] || { echo "error: $1 takes a value" >&2; exit 2; }
  case $1 in
    --pod) pods="$pods $2" ;;
    --program) program=$2 ;;
    --changes) changes=$2 ;;
    --each | --patience | --weakness) options="$options $1 $2" ;;
    --seed) seed=$2 ;;
    *) echo "error: unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
need_packages python3 busybox-static
if [ -z "$program" ]; then
  (cd "$here" && cargo build --release -p snapshot --example equivalence)
  program=${CARGO_TARGET_DIR:-$here/target}/release/examples/equivalence
fi

work=$(mktemp -d "${TMPDIR:-/var/tmp}/zuwai-equivalence.XXXXXX")
trap 'as_root rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$work"
mkdir -p "$work/tree/bin" "$work/tree/usr/bin" "$work/kept"
# What is wrong is written there by whoever root in the container is.
chmod 777 "$work/kept"
with_libraries "$work/tree" "$program"
strip -o "$work/tree/equivalence" "$program"
rm "$work/tree$program"
with_python "$work/tree"
cp /bin/busybox "$work/tree/bin/busybox"

# run POD PLACE TRACKERS LACKING OPTION…: runs the program under these trackers in a directory of a
# container, and finds out that those others cannot be had there.
run() {
  place=$2 words="--file-system Here --lacking fail --keep /kept" tried=
  echo "== $1, in $2"
  for tracker in $3; do
    tried="$tried --tracker $tracker"
  done
  as_root rm -f "$work/kept/lacking"
  cat >"$work/script" <<SCRIPT
set -eu
for tracker in $4; do
  if /equivalence $words --tracker \$tracker --changes 1 >/kept/lacking 2>&1; then
    echo "error: \$tracker was not to be had here:" >&2
    /bin/busybox cat /kept/lacking >&2
    exit 1
  fi
  /bin/busybox grep -F "\$tracker on Here: skipped: " /kept/lacking
done
exec /equivalence $words$tried --seed $seed --changes $changes$options
SCRIPT
  shift 4
  "$here/hack/pod.sh" --tree "$work/tree" --directory "$work/pod" --file "$work/script:/script" \
    --volume "$work/kept:/kept" --empty-dir /work "$@" -- \
    /bin/busybox env "TMPDIR=$place" /bin/busybox sh /script
}

code=0
for pod in ${pods:-ordinary unconfined privileged user-namespace}; do
  everywhere="inotify walk content"
  # Where the root is an overlay, the kernel mounts no other on it, and has no handles for fanotify.
  there=$everywhere lacking="overlay fanotify"
  case $pod in
    ordinary) set -- ;;
    unconfined) set -- --no-seccomp ;;
    privileged)
      set -- --privileged
      there="overlay fanotify $everywhere" lacking=
      ;;
    # An overlay that is mounted there does not behave like the directory below it.
    user-namespace) set -- --userns ;;
    *) echo "error: no Pod is called '$pod'" >&2; exit 2 ;;
  esac
  run "$pod" /tmp "$everywhere" "overlay fanotify" "$@" || code=1
  run "$pod" /work "$there" "$lacking" "$@" || code=1
done
if [ $code != 0 ] && [ -n "$(find "$work/kept" -name '*.txt')" ]; then
  kept=${CARGO_TARGET_DIR:-$here/target}/equivalence
  mkdir -p "$kept"
  cp "$work/kept"/*.txt "$kept"
  echo "what came out wrong is kept in $kept" >&2
fi
exit $code
