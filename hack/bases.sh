#!/bin/sh
# hack/bases.sh [debian] [build] [busybox] [large]
# Makes base images from Debian's packages and keeps them as OCI layouts, once:
#   debian    debootstrap's minbase
#   build     the same with a C compiler, python3 and the tools for xattrs, ACLs and capabilities
#   busybox   one static program and its links
#   large     about 65,000 entries and 1.1 GB, for benches: compilers, python3, nodejs, npm, git,
#             boost headers and a Java runtime
# Without arguments the first three, and beside them some packages with maintainer scripts, for tests.
# They lie in $ZUWAI_BASES, or in ~/.cache/zuwai/bases.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/packages.sh"
bases=${ZUWAI_BASES:-${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/bases}
suite=bookworm

if [ "${1:-}" != --inside ]; then
  [ $# -gt 0 ] || set -- debian build busybox
  wanted=
  for base in "$@"; do
    case $base in
      debian | build | busybox | large) ;;
      *)
        echo "error: no base is called '$base'; there are debian, build, busybox and large" >&2
        exit 2
        ;;
    esac
    [ -e "$bases/$base/index.json" ] || wanted="$wanted $base"
  done
  if [ -z "$wanted" ] && [ ! -e "$bases/packages" ]; then
    wanted=" debian"
  fi
  if [ -z "$wanted" ]; then
    echo "base images are ready in $bases" >&2
    exit 0
  fi
  need_packages debootstrap busybox-static xz-utils
  mkdir -p "$bases"
  # The trees are made on a tmpfs of our own: fast, and gone with the namespace whatever happens.
  # shellcheck disable=SC2086
  as_root env ZUWAI_BASES="$bases" unshare --mount --propagation private \
    sh "$here/bases.sh" --inside $wanted
  [ "$(id -u)" = 0 ] || as_root chown -R "$(id -u):$(id -g)" "$bases"
  exit 0
fi
shift

trees=$(mktemp -d)
trap 'umount -R "$trees" 2>/dev/null || true; rmdir "$trees"' EXIT
mount -t tmpfs -o size=4g,mode=0755 tmpfs "$trees"

# bootstrap: makes the minbase tree once.
bootstrap() {
  [ ! -e "$trees/debian/etc/os-release" ] || return 0
  echo "debootstrap: Debian $suite, minbase" >&2
  debootstrap --variant=minbase --include=ca-certificates "$suite" "$trees/debian" \
    >"$trees/log" 2>&1 || { tail -n 20 "$trees/log" >&2; exit 1; }
  clean "$trees/debian"
}

# clean TREE: drops what would make two runs differ or only costs room.
clean() {
  chroot "$1" apt-get clean
  rm -rf "$1"/var/lib/apt/lists/* "$1"/var/log/*.log "$1"/var/log/apt "$1"/var/cache/ldconfig
  rm -f "$1"/etc/resolv.conf "$1"/etc/hostname
}

# install TREE PACKAGE…: apt-get inside a tree.
install() {
  tree=$1
  shift
  cp /etc/resolv.conf "$tree/etc/resolv.conf"
  mount -t proc proc "$tree/proc"
  chroot "$tree" sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@"' sh "$@" >"$trees/log" 2>&1 ||
    { tail -n 20 "$trees/log" >&2; exit 1; }
  umount "$tree/proc"
  clean "$tree"
}

# packages: keeps packages that change more than their own files.
packages() {
  [ ! -e "$ZUWAI_BASES/packages" ] || return 0
  tree=$trees/packages
  cp -a "$trees/debian" "$tree"
  cp /etc/resolv.conf "$tree/etc/resolv.conf"
  chroot "$tree" sh -c 'cd /tmp && apt-get update -qq && apt-get download -qq ucf sensible-utils' \
    >"$trees/log" 2>&1 || { tail -n 20 "$trees/log" >&2; exit 1; }
  mkdir "$ZUWAI_BASES/packages"
  mv "$tree"/tmp/*.deb "$ZUWAI_BASES/packages"
}

for base in "$@"; do
  echo "making the base image '$base'" >&2
  case $base in
    debian)
      bootstrap
      packages
      tree=$trees/debian
      ;;
    build)
      bootstrap
      tree=$trees/build
      cp -a "$trees/debian" "$tree"
      install "$tree" gcc libc6-dev make python3 attr acl libcap2-bin
      ;;
    large)
      bootstrap
      tree=$trees/large
      cp -a "$trees/debian" "$tree"
      install "$tree" build-essential python3 python3-dev nodejs npm git libboost-dev \
        default-jre-headless
      ;;
    busybox)
      tree=$trees/busybox
      mkdir -p "$tree/bin" "$tree/etc" "$tree/root" "$tree/tmp" "$tree/var"
      chmod 1777 "$tree/tmp"
      chmod 0700 "$tree/root"
      cp /bin/busybox "$tree/bin/busybox"
      for applet in $(/bin/busybox --list); do
        [ "$applet" = busybox ] || ln "$tree/bin/busybox" "$tree/bin/$applet"
      done
      echo 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
      echo 'nobody:x:65534:65534:nobody:/:/bin/false' >>"$tree/etc/passwd"
      printf 'root:x:0:\nnogroup:x:65534:\n' >"$tree/etc/group"
      ;;
  esac
  sh "$here/oci-layout.sh" "$tree" "$ZUWAI_BASES/$base" latest
  echo "  $(find "$tree" -xdev | wc -l) entries, $(du -sm "$tree" | cut -f1) MB" >&2
done
