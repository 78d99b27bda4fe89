# Runs in the machine of hack/kernels.sh, as root: a build whose command needs more memory than the control
# group of version 2 has that it is in says that the kernel killed it for that; another that ends by the
# same signal does not say so; and the next build in the group is right. Both where the group is seen from
# the machine, with the command in namespaces, and where it is the root of what is seen, as in a Pod, with
# the command in `/` of the container.
set -u
top=/sys/fs/cgroup
mount -t cgroup2 cgroup2 $top || exit 1
echo +memory >$top/cgroup.subtree_control

# files DIRECTORY: what the builds are of.
files() {
  for name in large killed small; do
    mkdir -p "$1/contexts/$name"
  done
  cp -r /base "$1/base"
  cat >"$1/contexts/large/Dockerfile" <<'END'
FROM base
RUN awk 'BEGIN { s = "x"; while (1) s = s s }' && touch /done
END
  printf 'FROM base\nRUN sh -c "kill -9 \\$\\$"\n' >"$1/contexts/killed/Dockerfile"
  printf 'FROM base\nRUN echo small > /small\n' >"$1/contexts/small/Dockerfile"
}

# check NAME COMMAND…: runs the builds, each in a group of its own; prints a line as tests do.
check() {
  name=$1
  shift
  failed=0
  for build in large killed small; do
    group=$top/$name-$build
    mkdir "$group"
    echo 268435456 >"$group/memory.max"
    # It enters the group before it is anything else.
    code=0
    sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$group" "$@" $build \
      >"/scratch/said" 2>&1 || code=$?
    wanted=137 hint=no
    [ $build != large ] || hint=yes
    told=no
    grep -q 'hint: the kernel killed it for want of memory: raise the memory limit' /scratch/said &&
      told=yes
    kills=$(sed -n 's/^oom_kill //p' "$group/memory.events")
    echo "$name, $build: exit code $code, kills $kills, told $told"
    case $build in
      small) [ $code = 0 ] || failed=1 ;;
      *) [ $code != 0 ] && grep -q "ended with exit code $wanted" /scratch/said || failed=1 ;;
    esac
    [ $told = $hint ] || failed=1
    [ $build != large ] || [ "$kills" -gt 0 ] || failed=1
    [ $failed = 0 ] || cat /scratch/said
    rmdir "$group"
  done
  if [ $failed = 0 ]; then
    echo "test memory::$name ... ok"
  else
    echo "test memory::$name ... FAILED"
    result=1
  fi
}

# build BUILD: in namespaces. The initramfs itself cannot be left by pivot_root; a mount of it can.
cat >/scratch/in_namespaces <<'END'
exec chroot /whole /zuwai build --isolation=namespaces --kaniko-dir=/scratch/work --no-push \
  --destination=image:latest --log-format=text --context=/scratch/files/contexts/$1 \
  --build-context=base=oci-layout:///scratch/files/base
END
# build BUILD: in place, in a root of its own where the group is the only one to be seen.
cat >/scratch/in_place <<'END'
# Not the shell's own.
exec /usr/bin/unshare --cgroup --mount sh -c 'mount -t cgroup2 cgroup2 /pod/sys/fs/cgroup &&
  exec chroot /pod /kaniko/executor --isolation=in-place --force --no-push --cleanup \
    --destination=image:latest --log-format=text --context=/files/contexts/$1 \
    --build-context=base=oci-layout:///files/base' sh "$1"
END

result=0
mkdir -p /whole /pod /scratch/files
files /scratch/files
mount --rbind / /whole
check in_namespaces sh /scratch/in_namespaces

mount -t tmpfs tmpfs /pod
mkdir -p /pod/kaniko /pod/proc /pod/sys/fs/cgroup /pod/dev /pod/files
cp /zuwai /pod/kaniko/executor
files /pod/files
mount -t proc proc /pod/proc
mount --rbind /dev /pod/dev
check in_place sh /scratch/in_place
exit $result
