#!/bin/sh
# Starts one process inside a pod, as a container runtime would: in the pod's network, in the container's cgroup, with
# mounts and a host name of its own, as the container's user and with its capabilities alone.
# Arguments: enter FILES CGROUP NETNS privileged|confined DIR SETPRIV… -- COMMAND…
# FILES is a folder with `hostname`, `hosts`, `resolv.conf` and `binds` (lines "SOURCE<tab>TARGET", targets below /run/heddle).
set -eu
stage="$1" files="$2" cgroup="$3" netns="$4" rights="$5" dir="$6"
if [ "$stage" = enter ]; then
  shift
  # The cgroup first, before anything of the container runs: the node's agent knows containers by it.
  echo $$ >"$cgroup/cgroup.procs"
  exec nsenter "--net=$netns" -- unshare --mount --uts --propagation private -- /bin/sh "$0" inside "$@"
fi
shift 6

cat "$files/hostname" >/proc/sys/kernel/hostname
# Over the sockets of the mesh itself.
mount -t tmpfs -o mode=755,size=256k heddle /run/heddle
tab=$(printf '\t')
while IFS="$tab" read -r source target; do
  mkdir -p "$target"
  mount --bind "$source" "$target"
done <"$files/binds"

# Caches that answer for names of the machine, past the pod's resolv.conf.
for cache in /run/nscd /run/systemd/resolve; do
  if [ -d "$cache" ]; then mount -t tmpfs -o mode=755,size=64k heddle "$cache"; fi
done
for name in resolv.conf hosts hostname; do
  place=$(readlink -f "/etc/$name")
  case "$place" in /run/systemd/resolve/*) : >"$place" ;; esac
  if [ -e "$place" ]; then mount --bind "$files/$name" "$place"; fi
done
# The pod's own devices and sysctls; no cgroups and no pins. Settings of the kernel can be read only.
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs /sys
if [ "$rights" = confined ]; then
  mount --bind /proc/sys /proc/sys
  mount -o remount,bind,ro /proc/sys
fi
cd "$dir"
exec setpriv "$@"
