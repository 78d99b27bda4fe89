#!/bin/sh
# hack/pod.sh [OPTION…] PROGRAM [ARGUMENT…]: runs a program as a container of an ordinary Pod would.
#
# Default capabilities, Docker's seccomp rules, an overlay as root that holds nothing but the
# executor in /kaniko (or an image, by --layout), and the mounts that a kubelet adds. The network is
# the machine's, so that a registry on loopback can be reached. Needs root or sudo; installs runc
# and jq where missing.
#
#   --binary FILE        the executor; must be static (default: zuwai, compiled so)
#   --layout DIR         an OCI layout whose image is run instead, with its environment; arguments
#                        that begin with a dash are for its entrypoint; installs umoci and skopeo
#                        where missing
#   --volume DIR:PLACE   mounts a directory of the machine; may be repeated
#   --file FILE:PLACE    puts a copy of a file into the image; may be repeated
#   --tree DIR           puts copies of all that is in a directory into the image, with no executor
#                        where --binary gives none
#   --empty-dir PLACE    mounts an empty directory (default: /workspace); may be repeated
#   --directory DIR      where the container's files are (default: a new one in /var/tmp)
#   --no-seccomp         without a seccomp profile, as Pods are where the kubelet sets none
#   --no-locks           as if no file system had locks: as NFS without a lock service answers
#   --privileged         as a privileged container
#   --userns             as in a Pod with `hostUsers: false` whose container has SYS_ADMIN and no
#                        seccomp profile: ids from 100000 on; what is in volumes belongs to others
#   --memory BYTES       with a memory limit
#   --pids COUNT         with a limit of processes and threads
#   --read-only PLACE    mounts an empty directory that cannot be written to; may be repeated
#   --restricted         as the restricted Pod security standard has it: user 1000, no capabilities,
#                        no new privileges, and with a read-only root
#   --machine            without what tells a container from a machine: as a chroot on one
#
# Exits as the program does.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/hack/packages.sh"

binary= layout= tree= directory= seccomp=yes locks=yes privileged=no restricted=no machine=no userns=no
volumes= files= empty= read_only= memory=null pids=null
while [ $# -gt 0 ]; do
  case $1 in
    --binary) binary=$2; shift 2 ;;
    --layout) layout=$2; shift 2 ;;
    --volume) volumes="$volumes $2"; shift 2 ;;
    --tree) tree=$2; shift 2 ;;
    --file) files="$files $2"; shift 2 ;;
    --empty-dir) empty="$empty $2"; shift 2 ;;
    --directory) directory=$2; shift 2 ;;
    --no-seccomp) seccomp=no; shift ;;
    --no-locks) locks=no; shift ;;
    --privileged) privileged=yes seccomp=no; shift ;;
    --restricted) restricted=yes; shift ;;
    --userns) userns=yes seccomp=no; shift ;;
    --memory) memory=$2; shift 2 ;;
    --pids) pids=$2; shift 2 ;;
    --read-only) read_only="$read_only $2"; shift 2 ;;
    --machine) machine=yes; shift ;;
    --) shift; break ;;
    -*) echo "error: unknown option $1" >&2; exit 1 ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || { echo "error: no program given; for example: hack/pod.sh /kaniko/executor version" >&2; exit 1; }
need_packages runc jq
[ -z "$layout" ] || need_packages skopeo umoci
[ -n "$binary$layout$tree" ] || binary=$("$here/hack/static.sh")

[ -n "$directory" ] || directory=$(mktemp -d /var/tmp/zuwai-pod.XXXXXX)
name=zuwai-pod-$$
clean_up() {
  as_root runc --root "$directory/state" delete --force "$name" 2>/dev/null || true
  as_root umount "$directory/rootfs" 2>/dev/null || true
  as_root rm -rf "$directory"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$directory"
if [ -n "$layout" ]; then
  # umoci reads no manifests of Docker's form; the image is the only one, whatever its tag.
  skopeo copy --quiet --format oci "oci:$layout" "oci:$directory/layout:latest"
  # Not as a bundle, for which it digests each of busybox' 300 names.
  image=$directory/image
  as_root umoci --log=error raw unpack --image "$directory/layout:latest" "$image"
  as_root umoci --log=error raw runtime-config --image "$directory/layout:latest" \
    --rootfs "$image" "$directory/config.json"
  process=$(jq .process "$directory/config.json")
  case $1 in
    -*) entrypoint=$(printf %s "$process" | jq -r '.args | join(" ")') ;;
    *) entrypoint= ;;
  esac
  # shellcheck disable=SC2086
  set -- $entrypoint "$@"
else
  # The executor, and what belongs to a scratch image with it. /var/run leads to /run, as in every
  # distribution: a mount in it must not make it a directory that a base cannot replace.
  image=$directory/image
  mkdir -p "$image/kaniko" "$image/workspace" "$image/etc" "$image/run" "$image/var" "$image/tmp"
  chmod 1777 "$image/tmp"
  ln -s ../run "$image/var/run"
  if [ -n "$binary" ]; then
    cp "$binary" "$image/kaniko/executor"
    ln -s executor "$image/kaniko/warmer"
  fi
  process='{"cwd": "/workspace", "env": ["HOME=/root",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/kaniko"]}'
fi
[ -z "$tree" ] || cp -a "$tree/." "$image"
for file in $files; do
  mkdir -p "$image$(dirname "${file#*:}")"
  cp "${file%%:*}" "$image${file#*:}"
done

# What the kubelet provides.
pod=$directory/pod
mkdir -p "$pod/account" "$directory/upper" "$directory/work" "$directory/rootfs"
cp -L /etc/resolv.conf "$pod/resolv.conf" 2>/dev/null || : > "$pod/resolv.conf"
printf '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n10.0.0.7\tzuwai-pod\n' > "$pod/hosts"
echo zuwai-pod > "$pod/hostname"
: > "$pod/termination-log"
echo canary-token > "$pod/account/token"
echo default > "$pod/account/namespace"
echo canary-certificate > "$pod/account/ca.crt"

mounts=$(jq -n --arg pod "$pod" --arg machine "$machine" --arg userns "$userns" '[
  {destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"]},
  {destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"]},
  {destination: "/dev/pts", type: "devpts", source: "devpts", options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
  {destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
  {destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"]},
  # With the network of the machine only the machine may mount another one.
  (if $userns == "yes" then {destination: "/sys", type: "bind", source: "/sys", options: ["rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"]}
    else {destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"]} end),
  (if $machine == "yes" then empty else
    {destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "relatime", "ro"]} end),
  (if $machine == "yes" then {} else {"/etc/resolv.conf": "resolv.conf", "/etc/hosts": "hosts", "/etc/hostname": "hostname", "/dev/termination-log": "termination-log"} end
    | to_entries[] | {destination: .key, type: "bind", source: "\($pod)/\(.value)", options: ["bind", "rprivate", "rw"]}),
  (if $machine == "yes" then empty else
    {destination: "/var/run/secrets/kubernetes.io/serviceaccount", type: "bind", source: "\($pod)/account", options: ["bind", "rprivate", "ro"]} end)
]')
bind() {
  mounts=$(printf %s "$mounts" | jq --arg source "$1" --arg place "$2" --arg access "${3:-rw}" \
    '. + [{destination: $place, type: "bind", source: $source, options: ["rbind", "rprivate", $access]}]')
}
for place in ${empty:-/workspace}; do
  mkdir -p "$pod/empty$place"
  # As the kubelet makes them.
  chmod 777 "$pod/empty$place"
  bind "$pod/empty$place" "$place"
done
for place in $read_only; do
  mkdir -p "$pod/read-only$place"
  bind "$pod/read-only$place" "$place" ro
done
for volume in $volumes; do
  bind "${volume%%:*}" "${volume#*:}"
done

# Docker's and containerd's default, without CAP_SYS_ADMIN: what it keeps from a container. Theirs
# is a list of what is allowed; the difference is in calls that nobody makes.
denied="acct add_key bpf clock_adjtime clock_settime create_module delete_module fanotify_init
  finit_module fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy init_module
  io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl
  lookup_dcookie mbind migrate_pages mount mount_setattr move_mount move_pages nfsservctl
  open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise query_module
  quotactl quotactl_fd reboot request_key set_mempolicy setdomainname sethostname setns settimeofday
  swapoff swapon sysfs syslog umount umount2 unshare uselib userfaultfd ustat vhangup vm86 vm86old"
# A flag of clone that makes a namespace (mount, cgroup, UTS, IPC, user, PID, network).
namespaces='[131072, 33554432, 67108864, 134217728, 268435456, 536870912, 1073741824]'
# ENOLCK to flock, and to fcntl's locks: of a process (5 to 7) and of an open file (36 to 38).
profile=$(jq -n --arg denied "$denied" --argjson namespaces "$namespaces" \
  --arg seccomp "$seccomp" --arg locks "$locks" '{
  defaultAction: "SCMP_ACT_ALLOW",
  architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
  syscalls: (
    (if $seccomp == "no" then [] else
      [{names: [$denied | splits("\\s+")], action: "SCMP_ACT_ERRNO", errnoRet: 1},
       {names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38}]
      + [$namespaces[] | {names: ["clone"], action: "SCMP_ACT_ERRNO", errnoRet: 1,
          args: [{index: 0, value: ., valueTwo: ., op: "SCMP_CMP_MASKED_EQ"}]}] end)
    + (if $locks == "yes" then [] else
      [{names: ["flock"], action: "SCMP_ACT_ERRNO", errnoRet: 37}]
      + [5, 6, 7, 36, 37, 38 | {names: ["fcntl", "fcntl64"], action: "SCMP_ACT_ERRNO",
          errnoRet: 37, args: [{index: 1, value: ., op: "SCMP_CMP_EQ"}]}] end))
}')

capabilities='["CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID",
  "CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID",
  "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"]'
if [ $privileged = yes ]; then
  # All that this machine has to give.
  bounds=0x$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)
  given= number=0
  for name in chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap \
    linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module \
    sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time \
    sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog \
    wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore; do
    [ $((bounds >> number & 1)) = 0 ] || given="$given $name"
    number=$((number + 1))
  done
  capabilities=$(jq -n --arg given "${given# }" '[$given | splits(" ")] | map("CAP_" + ascii_upcase)')
fi
[ $restricted = no ] || capabilities='[]'
[ $userns = no ] || capabilities=$(printf %s "$capabilities" | jq '. + ["CAP_SYS_ADMIN"]')

jq -n --argjson mounts "$mounts" --argjson profile "$profile" --argjson capabilities "$capabilities" \
  --argjson process "$process" --arg seccomp "$seccomp" --arg locks "$locks" --arg privileged "$privileged" \
  --arg restricted "$restricted" --arg machine "$machine" --arg userns "$userns" \
  --argjson memory "$memory" --argjson pids "$pids" --arg group "/$name" '{
  ociVersion: "1.0.2",
  hostname: "zuwai-pod",
  root: {path: "rootfs", readonly: ($restricted == "yes")},
  process: {
    terminal: false, cwd: $process.cwd, noNewPrivileges: ($restricted == "yes"),
    user: (if $restricted == "yes" then {uid: 1000, gid: 1000} else {uid: 0, gid: 0} end),
    args: $ARGS.positional,
    env: ($process.env + ["HOSTNAME=zuwai-pod", "POD_CANARY=canary-variable"]
      + (if $machine == "yes" then [] else
        ["KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443"] end)),
    capabilities: {bounding: $capabilities, effective: $capabilities, permitted: $capabilities}
  },
  mounts: $mounts,
  linux: ({
    namespaces: ([{type: "pid"}, {type: "ipc"}, {type: "uts"}, {type: "mount"}]
      + (if $userns == "yes" then [{type: "user"}] else [] end)),
    resources: ((if $memory == null then {} else {memory: {limit: $memory}} end)
      + (if $pids == null then {} else {pids: {limit: $pids}} end)),
    cgroupsPath: $group
  } + (if $userns == "yes" then
    ["uidMappings", "gidMappings"] | map({key: ., value: [{containerID: 0, hostID: 100000, size: 65536}]}) | from_entries
    else {} end) + (if $privileged == "yes" then {} else {
    maskedPaths: ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/sys/firmware"],
    readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
  } end) + (if $seccomp == "yes" or $locks == "no" then {seccomp: $profile} else {} end))
}' --args -- "$@" > "$directory/config.json"

if [ $userns = yes ]; then
  # What an id-mapped mount does, and runc 1.1 does not.
  chmod 755 "$directory"
  as_root chown -R -h 100000:100000 "$image" "$directory/upper" "$directory/work" "$pod/empty"
fi
as_root mount -t overlay overlay \
  -o "lowerdir=$image,upperdir=$directory/upper,workdir=$directory/work" "$directory/rootfs"
code=0
as_root runc --root "$directory/state" run --bundle "$directory" "$name" || code=$?
exit $code
