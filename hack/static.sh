#!/bin/sh
# hack/static.sh: compiles zuwai as one static program, as its container image has it, and prints
# where it is. Needs a Rust toolchain.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$here/target}
triple=$(rustc -vV | sed -n 's/^host: //p')
# Only here: in .cargo/config.toml it would break procedural macros.
(cd "$here" && cargo build --quiet --bin zuwai --target "$triple" \
  --config "target.$triple.rustflags=[\"-Ctarget-feature=+crt-static\"]") >&2
echo "$target/$triple/debug/zuwai"
