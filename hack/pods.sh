#!/bin/sh
# hack/pods.sh [--runs N] [BINARY]: what each kind of Pod gives: for a container with the default
# capabilities under Docker's seccomp rules, one without a profile, a privileged one and one in a
# user namespace, what `zuwai doctor` says, which sandbox and tracker a build takes, and what a build
# of 20 RUN costs there: the CPU time of the build and its commands, and the time it took, each the
# median of N runs (default: 3). Prints a table, and before it the findings.
#
# Needs what hack/pod.sh needs. BINARY is a static zuwai (default: compiled as it is shipped).
# Figures are worth something on a machine that does nothing else.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"

runs=3
if [ "${1:-}" = --runs ]; then
  runs=$2
  shift 2
fi
binary=${1:-$("$here/hack/static.sh" image)}
need_packages busybox-static jq
"$here/hack/bases.sh" build
bases=${ZUWAI_BASES:-${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/bases}

work=$(mktemp -d "${TMPDIR:-/var/tmp}/zuwai-pods.XXXXXX")
trap 'as_root rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir "$work/context" "$work/out"
chmod 777 "$work/out"
{
  echo 'FROM base'
  for number in $(seq 20); do
    echo "RUN echo $number > /etc/file-$number && rm -f /etc/file-$((number - 1)).old"
  done
} >"$work/context/Dockerfile"
cat >"$work/script" <<'SCRIPT'
set -eu
b=/kaniko/busybox
/kaniko/executor doctor --log-format=json --kaniko-dir="$1" > /shared/out/doctor.json 2> /dev/null || true
/kaniko/executor doctor --kaniko-dir="$1" || true
for run in $($b seq "$2"); do
  $b time -f '%e %U %S' -o /shared/out/time.$run \
    /kaniko/executor --log-format=text --no-push --destination=image:latest --kaniko-dir="$1" \
      --context=/shared/context --build-context=base=oci-layout:///bases/build --cleanup \
      --benchmark-file=/shared/out/record.json > /shared/out/log 2>&1
done
SCRIPT

# median: of the numbers on standard input.
median() {
  sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'
}

# pod NAME OPTION…: runs the script in a container, and adds a row.
pod() {
  name=$1
  shift
  rm -f "$work/out"/*
  echo "== $name"
  "$here/hack/pod.sh" --binary "$binary" --volume "$bases:/bases" --volume "$work:/shared" \
    --file /bin/busybox:/kaniko/busybox --empty-dir /work "$@" -- \
    /kaniko/busybox sh /shared/script /work "$runs" || { cat "$work/out/log"; exit 1; }
  echo
  wall=$(awk '{ print $1 }' "$work/out"/time.* | median)
  cpu=$(awk '{ print $2 + $3 }' "$work/out"/time.* | median)
  sandbox=$(jq -r '.sandbox.form // "none"' "$work/out/doctor.json")
  foreseen=$(jq -r '.tracker.name // "none"' "$work/out/doctor.json")
  tracker=$(jq -r '[.snapshots[].tracker // "walk"] | unique | join(", ")' "$work/out/record.json")
  lacks=$(jq -r '[.findings[] | select(.verdict == "no") | .about] | join(", ")' "$work/out/doctor.json")
  echo "| $name | $lacks | $sandbox | $foreseen | $tracker | $cpu | $wall |" >>"$work/rows"
}

pod 'default capabilities, seccomp'
pod 'default capabilities, unconfined' --no-seccomp
pod 'privileged' --privileged
pod 'user namespace' --userns

echo '| container | lacks, by `doctor` | sandbox | tracker, by `doctor` | tracker of the build | CPU s | wall s |'
echo '|---|---|---|---|---|---|---|'
cat "$work/rows"
