#!/bin/sh
# hack/check.sh: what a commit must pass: format, lints, tests, generated documents.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here"
cargo fmt --all --check
cargo clippy --workspace --all-targets -- -D warnings
"$here/hack/test.sh"
echo "format, lints, tests and generated documents are in order"
