#!/usr/bin/env bash
# One node of the test cluster: cgroups, then namespaces of its own (network, mount, UTS, IPC, cgroup, PID), a root file system of its
# own, and the programs in its home, each kept running. It is process 1 of the node: when it is killed, the node is gone.
#
#   node.sh HOME ROOT NETNS HOSTNAME CACHE
#
# HOME holds `cgroups` (a line for each hierarchy: name, kind, options, the folder to join), `programs/` (a script each, started in the
# order of their names), `path`, `pki` and the programs' configuration. The node sees it as /heddle-node. CACHE is seen where it is.
# A program whose name stands in HOME/held/ is not started again. HOME/init is written when the node stands: the machine's PID of this.
set -euo pipefail
home=$1 root=$2 netns=$3 hostname=$4 cache=$5

if [ "${6-}" != inside ]; then
  while read -r _ _ _ folder; do echo $$ > "$folder/cgroup.procs"; done < "$home/cgroups"
  # shellcheck disable=SC2093
  exec nsenter --net="$netns" unshare --mount --uts --ipc --cgroup --pid --fork --kill-child --propagation private \
    bash "$0" "$@" inside
fi

# /proc is still the machine's here.
read -r machine_pid _ < /proc/self/stat
hostname "$hostname"

make_root() {
  mount --bind "$root" "$root"
  cd "$root"
  mkdir -p dev etc opt/cni/bin etc/cni/net.d proc root run sys tmp usr heddle-node machine \
    var/lib/kubelet var/lib/containerd var/lib/heddle var/lib/cni var/log/pods var/log/containers ".$cache"
  chmod 1777 tmp
  ln -sfn ../run var/run
  for top in bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$top" ]; then
      cp -dfT "/$top" "$top"
    elif [ -d "/$top" ]; then
      mkdir -p "$top"
      mount --bind "/$top" "$top"
    fi
  done
  for file in passwd group nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d ssl alternatives protocols services; do
    [ ! -e "/etc/$file" ] || cp -aT "/etc/$file" "etc/$file"
  done
  printf '127.0.0.1 localhost\n::1 localhost\n' > etc/hosts
  cp "$home/resolv.conf" etc/resolv.conf
  mount --bind /usr usr
  mount -o remount,bind,ro usr
  mount --rbind /dev dev
  mount --make-rslave dev
  mount --bind "$home" heddle-node
  mount --bind "$cache" ".$cache"
  mount -o remount,bind,ro ".$cache"
  mount -t tmpfs -o mode=755 tmpfs run
  mkdir -p run/netns run/lock run/heddle
}

make_kernel_views() {
  mount -t proc proc proc
  mount -t sysfs sysfs sys
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  while read -r name kind options _; do
    mkdir "sys/fs/cgroup/$name"
    mount -t "$kind" -o "$options" "$kind" "sys/fs/cgroup/$name"
  done < "$home/cgroups"
  mount -t bpf bpf sys/fs/bpf
  # The kubelet sets these for the whole machine: it gets files instead, which hold what it wants.
  local setting value file
  while read -r setting value; do
    file=heddle-node/run/${setting//\//_}
    echo "$value" > "$file"
    mount --bind "$file" "proc/sys/$setting"
  done <<< $'vm/overcommit_memory 1\nvm/panic_on_oom 0\nkernel/panic 10\nkernel/panic_on_oops 1'
}

keep() {
  local program=$1 name
  name=$(basename "$1")
  name=${name#*-}
  while :; do
    if [ ! -e "/heddle-node/held/$name" ]; then
      "$program" >> "/heddle-node/log/$name.log" 2>&1 &
      echo $! > "/heddle-node/run/$name.pid"
      wait $! || true
    fi
    sleep 0.2
  done
}

mkdir -p "$home"/{log,held,run}
make_root
make_kernel_views
pivot_root . machine
umount -l /machine
rmdir /machine
cd /
mount --make-rshared /
PATH=$(cat /heddle-node/path)
export PATH HOME=/root
for program in /heddle-node/programs/*; do keep "$program" & done
echo "$machine_pid" > /heddle-node/init.new
mv /heddle-node/init.new /heddle-node/init
wait
