#!/bin/sh
# Waits until the supervisor is gone (its end of our standard input closes), then ends every process group that the
# children file still names and removes the run's temporary files. A shell, not Node: it costs 1 MB, not 40.
# Arguments: the state directory, and the script that takes away what the mesh made in the kernel. A process is killed only while pid and start time are those recorded.
state="$1" clean="$2"
trap '' INT TERM HUP
cat >/dev/null 2>&1
[ -s "$state/children" ] || [ -s "$state/network" ] || exit 0
touch "$state/children"
while read -r pid start _name; do
  case "$pid" in '' | *[!0-9]* | "$$") continue ;; esac
  now=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d ' ' -f 20)
  # The group outlives its leader: then no process may have taken the leader's pid, and the group is still ours.
  # Not `kill -9 --`, whose dashes dash takes for a number.
  if [ "$now" = "$start" ] || [ -z "$now" ]; then kill -s KILL -- "-$pid" 2>/dev/null; fi
done <"$state/children"
"/bin/sh" "$clean" "$state/network" 2>/dev/null && rm -f "$state/network"
rm -rf "$state/pods" "$state/runtime"
rm -f "$state/mesh.json" "$state/children"
