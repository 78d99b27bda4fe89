#!/bin/sh
# hack/kernels.sh [--filter WORD]… [--seconds N] [PACKAGE…]: runs the change trackers' tests on other
# kernels: every operation by itself and some random steps, under every tracker, on every file
# system; with an event queue of 64, what overflows it; and in the end builds whose commands need more
# memory than a control group of version 2 has, as on most nodes of clusters: by hack/kernels/memory.sh.
# Prints a table of the results; exits with 1 when a test failed, or did not run.
#
#   PACKAGE       a package of Debian's with a kernel, or its file; several are tried one after
#                 another (default: Debian's standard kernel, in Debian 12 a 6.1, on which timestamps
#                 stand still between ticks of the clock)
#   --filter WORD runs the trackers' tests with that in their names (may be repeated)
#   --seconds N   how long a kernel may take (default: 3600)
#
# Emulated in software, which takes minutes: /dev/kvm is there on many machines where it does not
# work. Needs a Rust toolchain, and root or sudo to install from Debian, where missing, what is named
# below. Kernels are kept in ~/.cache/zuwai/kernels.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"
. "$here/hack/libraries.sh"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/kernels

filters= seconds=3600 packages=
while [ $# -gt 0 ]; do
  case $1 in
    --filter) filters="$filters $2"; shift 2 ;;
    --seconds) seconds=$2; shift 2 ;;
    -*) echo "error: unknown option $1" >&2; exit 2 ;;
    *) packages="$packages $1"; shift ;;
  esac
done
[ -n "$filters" ] || filters="track::table:: track::equivalence:: track::faults:: tracked::"
need_packages gcc libc6-dev python3 busybox-static e2fsprogs xfsprogs btrfs-progs mount kmod cpio \
  qemu-system-x86 jq
mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# kernel PACKAGE: prints the folder with the unpacked kernel.
kernel() {
  case $1 in
    *.deb) file=$1 ;;
    *)
      # What is downloaded keeps its version in its name.
      version=$(apt-cache show "$1" | sed -n 's/^Version: //p' | head -n 1)
      [ -n "$version" ] || { echo "error: Debian has no package '$1' here" >&2; return 1; }
      file=$(find "$cache" -name "$1_*.deb" | grep -F "_$(echo "$version" | sed 's/:/%3a/')_") || {
        (cd "$cache" && apt-get download -qq "$1" >&2)
        file=$(find "$cache" -name "$1_*.deb" | sort | tail -n 1)
      }
      ;;
  esac
  unpacked=$work/$(basename "$file" .deb)
  mkdir -p "$unpacked"
  dpkg-deb --fsys-tarfile "$file" |
    tar -x -C "$unpacked" --wildcards './boot/vmlinuz-*' './lib/modules/*/kernel/fs/*' \
      './lib/modules/*/kernel/lib/*' './lib/modules/*/kernel/crypto/*' \
      './lib/modules/*/kernel/arch/*' './lib/modules/*/kernel/drivers/block/loop.ko*' \
      './lib/modules/*/modules.*'
  echo "$unpacked"
}

cd "$here"
"$here/hack/bases.sh" busybox
bases=${ZUWAI_BASES:-${XDG_CACHE_HOME:-$HOME/.cache}/zuwai/bases}
static=$("$here/hack/static.sh")
binary=$(cargo test --no-run -p snapshot --test it --message-format json 2>"$work/log" |
  jq -r 'select(.executable != null and .target.name == "it") | .executable') ||
  { cat "$work/log" >&2; exit 1; }

# One tree for all kernels: the tests, and what they start.
tree=$work/tree
mkdir -p "$tree/bin" "$tree/sbin" "$tree/usr/bin" "$tree/usr/sbin" "$tree/proc" "$tree/sys" \
  "$tree/dev" "$tree/tmp" "$tree/scratch" "$tree/etc"
cp /bin/busybox "$tree/bin/busybox"
with_libraries "$tree" "$binary"
strip -o "$tree/it" "$binary"
for program in mkfs.ext4 mkfs.xfs mkfs.btrfs mount umount unshare setpriv; do
  found=$(PATH=/usr/sbin:/usr/bin:/sbin:/bin command -v "$program")
  with_libraries "$tree" "$found"
done
with_python "$tree"
strip -o "$tree/zuwai" "$static"
cp -r "$bases/busybox" "$tree/base"
cp "$here/hack/kernels/memory.sh" "$tree/memory"
cat >"$tree/etc/passwd" <<'END'
root:x:0:0:root:/:/bin/sh
END
cat >"$tree/init" <<END
#!/bin/busybox sh
/bin/busybox --install -s /usr/bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/scratch RUST_BACKTRACE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm && mount -t tmpfs tmpfs /dev/shm
# Where the kernel itself looks for it.
ln -s /bin/busybox /sbin/modprobe
modprobe -a crc32c_generic loop ext4 xfs btrfs overlay
truncate -s 512M /dev/shm/scratch
mkfs.ext4 -q /dev/shm/scratch && mount -o loop /dev/shm/scratch /scratch
echo "kernel \$(uname -r)"
code=0
/it --test-threads 2 --nocapture $filters || code=\$?
# For all of the machine, so that nothing but this can lower it.
echo 64 >/proc/sys/fs/inotify/max_queued_events
/it --nocapture track::faults::a_small_queue_is_no_loss || code=\$?
sh /memory || code=\$?
echo "tests ended with \$code"
poweroff -f
END
chmod +x "$tree/init"

# run PACKAGE: boots a kernel with the tree; prints the table.
run() {
  unpacked=$(kernel "$1")
  image=$(find "$unpacked/boot" -name 'vmlinuz-*')
  version=${image##*/vmlinuz-}
  depmod -b "$unpacked" "$version" 2>/dev/null
  mkdir -p "$tree/lib/modules"
  cp -r "$unpacked/lib/modules/$version" "$tree/lib/modules/"
  (cd "$tree" && find . | cpio -o -H newc --quiet) >"$work/initramfs"
  rm -rf "$tree/lib/modules"
  log=$cache/$version.log
  # Three times the initramfs: its file, what is unpacked of it, and room for the tests.
  timeout "$seconds" nice qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2560 \
    -nodefaults -display none -no-reboot -serial stdio -kernel "$image" \
    -initrd "$work/initramfs" -append "console=ttyS0 quiet panic=-1" </dev/null \
    >"$log" 2>"$work/qemu.log" || true
  sed -i 's/\r$//' "$log"
  echo "kernel $version"
  sed -n 's/^\(test .* \.\.\. .*\)$/  \1/p; s/^\(skipped: .*\)$/  \1/p; s/.*\(test result: .*\)/  \1/p' \
    "$log"
  if ! grep -q '^tests ended with 0$' "$log"; then
    echo "error: tests failed or did not end on $version; the whole output is in $log" >&2
    cat "$work/qemu.log" >&2
    tail -n 30 "$log" >&2
    return 1
  fi
}

[ -n "$packages" ] ||
  packages=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: //p' | head -n 1)
failed=0
for package in $packages; do
  run "$package" || failed=1
done
exit $failed
