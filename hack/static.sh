#!/bin/sh
# hack/static.sh [PROFILE]: compiles zuwai as one static program, as its container image has it,
# and prints where it is. Needs a Rust toolchain, gcc and binutils.
#
#   dev     quickly, for tests (the default)
#   image   as it is shipped, but with its symbols
#
# A static glibc still loads libraries when names of hosts or users are looked up: those that
# /etc/nsswitch.conf names, which in a build is the base image's file. So no function that looks up
# may be in the program; the script ends with an error when one is.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$here/target}
profile=${1:-dev}
triple=$(rustc -vV | sed -n 's/^host: //p')

# The HTTP client's crate has the system's resolver in it, although it gets one of ours: a call of
# it ends the program.
denied=-Wl,--wrap=getaddrinfo,--wrap=freeaddrinfo
denied=$denied,--defsym=__wrap_getaddrinfo=abort,--defsym=__wrap_freeaddrinfo=abort
# Only here: in .cargo/config.toml flags would break procedural macros. The random numbers must not
# need a /dev/urandom in the root that is built.
(cd "$here" && env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS \
  cargo rustc --quiet --locked --bin zuwai --target "$triple" --profile "$profile" \
  --config "target.$triple.rustflags = ['-Ctarget-feature=+crt-static', \
    '--cfg', 'getrandom_backend=\"linux_getrandom\"']" \
  -- "-Clink-arg=$denied") >&2
[ "$profile" = dev ] && profile=debug
program=$target/$triple/$profile/zuwai

if readelf --program-headers --wide "$program" | grep -q INTERP; then
  echo "error: $program is not static" >&2
  exit 1
fi
# Where a look-up begins. The tables behind it are there: glibc's fork keeps them in order.
forbidden='getaddrinfo|getnameinfo|gethostby(name2?|addr)|getpw(nam|uid|ent)|getgr(nam|gid|ent)'
forbidden="$forbidden|getservby(name|port)|getgrouplist|initgroups|nss_(lookup|lookup_function|next2)"
found=$(nm "$program" | grep -E " [TtWw] _*($forbidden)(_r)?\$" || true)
if [ -n "$found" ]; then
  echo "error: $program can load libraries of the image that it builds, by these functions:" >&2
  echo "$found" >&2
  exit 1
fi
echo "$program"
