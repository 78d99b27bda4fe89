#!/bin/bash
# Runs the conformance tables of the Dockerfile language against our own modules.
#
#   hack/conformance.sh TABLES [ARGUMENT…]
#
# TABLES is the folder with run.py and data/; arguments go to run.py (`--suite NAME`, `-v 3`). Fails
# unless every case is answered right. Needs cargo and python3; installs nothing.
set -euo pipefail

if [ $# -lt 1 ] || [ ! -f "$1/run.py" ]; then
    echo "usage: hack/conformance.sh TABLES [ARGUMENT...]; TABLES holds run.py and data/" >&2
    exit 2
fi
tables=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."

cargo build --quiet --example conformance_probe
target=${CARGO_TARGET_DIR:-target}
output=$(python3 "$tables/run.py" --cmd "$target/debug/examples/conformance_probe" "$@")
echo "$output"
total=$(sed -n 's/^TOTAL //p' <<<"$output")
if [ -z "$total" ] || [ "${total%/*}" != "${total#*/}" ]; then
    echo "not every case is answered right" >&2
    exit 1
fi
