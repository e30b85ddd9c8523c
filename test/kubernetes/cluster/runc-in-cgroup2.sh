#!/usr/bin/env bash
# runc for machines that have cgroup v1 with version 2 beside it. There runc leaves every container in the version 2 folder of whoever
# started it; on nodes as they are today (version 2 alone, or with systemd) each has a folder of its own, and eBPF tells them apart by it.
# So this moves itself into that folder first, under the same path as in version 1; what runc starts inherits it.
set -uo pipefail
unified=/sys/fs/cgroup/unified
command='' bundle='' previous=''
for word in "$@"; do
  case $word in create | run | exec | delete) [ -n "$command" ] || command=$word ;; esac
  [ "$previous" != --bundle ] || bundle=$word
  previous=$word
done
id=$previous

folder_of_container() { find "$unified" -type d -name "$id" -print -quit 2> /dev/null; }

# The folder of a pod goes with its last container, perhaps just as the next one comes.
join() {
  local try
  for try in 1 2 3 4 5; do
    mkdir -p "$1" && echo $$ > "$1/cgroup.procs" && return 0
  done 2> /dev/null
  echo "runc-in-cgroup2: can't join $1" >&2
  return 1
}

case $command in
  create | run)
    path=$(sed -n 's/.*"cgroupsPath":"\([^"]*\)".*/\1/p' "${bundle:-.}/config.json")
    join "$unified/${path#/}" || exit 1
    ;;
  exec)
    folder=$(folder_of_container)
    [ -z "$folder" ] || join "$folder" || exit 1
    ;;
  delete)
    folder=$(folder_of_container)
    runc "$@"
    status=$?
    if [ -n "$folder" ] && rmdir "$folder" 2> /dev/null; then rmdir "$(dirname "$folder")" 2> /dev/null; fi
    exit $status
    ;;
esac
exec runc "$@"
