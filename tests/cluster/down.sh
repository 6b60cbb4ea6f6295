#!/usr/bin/env bash
# Ends the cluster and removes its processes, mounts, links, cgroups and state. What was built stays in the cache.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# The end of process 1 of the namespaces takes every process, mount and link inside with it.
stop() {
	alive || return 0
	kill -KILL "$(cat "$state/pid")"
	for _ in {1..200}; do
		alive || return 0
		sleep 0.05
	done
	fail "process $(cat "$state/pid") does not end"
}

cgroups() { ls -d "/sys/fs/cgroup/$cgroup" /sys/fs/cgroup/*/"$cgroup" 2>/dev/null || true; }

# The kernel takes a moment to see that a cgroup is empty.
remove_cgroups() {
	local left
	for _ in {1..50}; do
		mapfile -t left < <(cgroups)
		((${#left[@]})) || return 0
		find "${left[@]}" -depth -type d -exec rmdir {} + 2>/dev/null || true
		sleep 0.1
	done
	fail "these cgroups cannot be removed: ${left[*]}"
}

[[ -e $state ]] || exit 0
stop
ip link del "$link" 2>/dev/null || true
remove_cgroups
rm -rf "$state"
