#!/bin/sh
# Takes away what a mesh made in the kernel: everything that the file in the first argument names, one "KIND NAME" a line.
# What is gone already is as wanted. Prints what is left and ends with 1 where something is.
file="$1"
[ -s "$file" ] || exit 0
left=0

still() {
  echo "could not remove $1 $2" >&2
  left=1
}

# Ends every process below and waits for them: a folder can't go before they have (cgroups(7), "cgroup.kill").
remove_cgroup() {
  [ -d "$1" ] || return
  tries=0
  while [ -d "$1" ] && [ "$tries" -lt 100 ]; do
    [ -e "$1/cgroup.kill" ] && echo 1 2>/dev/null >"$1/cgroup.kill"
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
    [ -d "$1" ] && sleep 0.05
    tries=$((tries + 1))
  done
  if [ -d "$1" ]; then still cgroup "$1"; else rmdir "${1%/*}" 2>/dev/null; fi
}

# Pins first: another mount namespace may hold the file system itself.
remove_bpffs() {
  [ -d "$1" ] || return
  if grep -q " $1 bpf " /proc/mounts; then
    find "$1" -mindepth 1 -depth -delete 2>/dev/null
    umount -l "$1" 2>/dev/null
  fi
  rmdir "$1" 2>/dev/null || still bpffs "$1"
}

remove_netns() {
  [ -e "/run/netns/$1" ] || return
  ip netns del "$1" 2>/dev/null || still netns "$1"
}

remove_link() {
  [ -e "/proc/sys/net/ipv4/conf/$1" ] || return
  ip link del "$1" 2>/dev/null
  [ -e "/proc/sys/net/ipv4/conf/$1" ] && still link "$1"
}

remove_table() {
  nft list table inet "$1" >/dev/null 2>&1 || return
  nft delete table inet "$1" 2>/dev/null || still table "$1"
}

# "sysctl /proc/sys/… VALUE": as it was before.
restore_sysctl() {
  echo "$2" >"$1" 2>/dev/null || still sysctl "$1"
}

remove_folder() {
  rm -rf "$1" || still folder "$1"
  # The folder above is shared by all meshes of the machine: the last one takes it along.
  rmdir "${1%/*}" 2>/dev/null
}

for wanted in cgroup bpffs netns link table sysctl folder; do
  while read -r kind name value; do
    [ "$kind" = "$wanted" ] && [ -n "$name" ] || continue
    case "$kind" in
      cgroup) remove_cgroup "$name" ;;
      bpffs) remove_bpffs "$name" ;;
      netns) remove_netns "$name" ;;
      link) remove_link "$name" ;;
      table) remove_table "$name" ;;
      sysctl) restore_sysctl "$name" "$value" ;;
      folder) remove_folder "$name" ;;
    esac
  done <"$file"
done
exit "$left"
