#!/bin/sh
# hack/fuzz.sh [COUNT [SEED]]: makes COUNT (100000) archives at random and compares what our tar
# reader sees in them with what GNU tar and Python's tarfile see. Fails on a difference.
# Needs a Rust toolchain; installs GNU tar and python3 where missing. About 500 archives a second.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"
need_packages tar python3
cd "$here"
cargo run --quiet --example archive_fuzz -- "${1:-100000}" "${2:-1}"
