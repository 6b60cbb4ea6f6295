#!/usr/bin/env bash
# up.sh [all|cp]: starts the cluster, or its control plane only, and builds what it needs if that is missing. "make cluster" calls it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
readonly what=${1:-all}

# node_binary prints where the binary for these sources is, and builds it if it is not there. CLUSTER_NODE names another one, such as
# that of an older Kubernetes.
node_binary() {
	local sum file
	if [[ -n ${CLUSTER_NODE:-} ]]; then
		realpath -e "$CLUSTER_NODE"
		return
	fi
	sum=$(cd "$here/node" && cat build.sh go.mod go.sum ./*.go | sha256sum | cut -c1-16)
	file=$cache/bin/node-$sum
	if [[ ! -x $file ]]; then
		echo "building Kubernetes into ${file#"$root"/}: 7 to 9 minutes the first time" >&2
		mkdir -p "$cache/bin"
		bash "$here/node/build.sh" "$file.new" >&2
		mv "$file.new" "$file"
	fi
	echo "$file"
}

go_build() { cd "$root" && nice go build -o "$2" "$1"; }

layout() {
	local binary=$1 template
	mkdir -p "$state"/{bin,conf,log}
	for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
		ln -sf "$binary" "$state/bin/$name"
	done
	for template in "$here"/conf/*; do
		sed -e "s|@STATE@|$state|g; s|@CGROUP@|$cgroup|g; s|@DNS4@|$dns4|g; s|@DNS6@|$dns6|g; s|@WORLD4@|$world4|g; s|@WORLD6@|$world6|g; s|@PODS4@|$pods4|g; s|@PODS6@|$pods6|g" \
			-e "s|@CNI@|$(cni)|g; s|@RUNC@|$(command -v runc)|g" "$template" >"$state/conf/$(basename "$template")"
	done
	mkdir -p "$state/conf/cni"
	mv "$state/conf/bridge.conflist" "$state/conf/cni/"
}

cni() {
	if [[ -d $debian/usr/lib/cni ]]; then echo "$debian/usr/lib/cni"; else echo /usr/lib/cni; fi
}

cgroups() {
	local tree
	if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
		echo "+cpuset +cpu +io +memory +pids" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
		mkdir -p "/sys/fs/cgroup/$cgroup"
		echo "+cpuset +cpu +io +memory +pids" >"/sys/fs/cgroup/$cgroup/cgroup.subtree_control" 2>/dev/null || true
		return
	fi
	for tree in /sys/fs/cgroup/*/; do
		[[ $tree != */unified/ ]] || continue
		mkdir -p "$tree$cgroup"
		if [[ -e $tree$cgroup/cpuset.cpus ]]; then
			cat "${tree}cpuset.cpus" >"$tree$cgroup/cpuset.cpus"
			cat "${tree}cpuset.mems" >"$tree$cgroup/cpuset.mems"
		fi
	done
}

# first_process prints the number, on this machine, of process 1 of the namespaces that child $1 makes.
first_process() {
	local pid
	for _ in {1..200}; do
		pid=$(tr -d ' ' <"/proc/$1/task/$1/children" 2>/dev/null) || true
		if [[ -n $pid && $(readlink "/proc/$pid/ns/net") != "$(readlink /proc/self/ns/net)" ]]; then
			echo "$pid"
			return
		fi
		sleep 0.02
	done
	fail "the cluster's first process did not start: $(cat "$state/log/node.log")"
}

start() {
	local pid
	setsid unshare --mount --pid --net --ipc --uts --fork --kill-child=KILL --mount-proc --propagation slave \
		bash "$here/node.sh" "$what" >"$state/log/node.log" 2>&1 </dev/null 9>&- &
	pid=$(first_process $!)
	echo "$pid" >"$state/pid"
	ip link add "$link" type veth peer name node0 netns "$pid"
	ip addr add "$host4/24" dev "$link"
	ip -6 addr add "$host6/112" dev "$link" nodad
	ip link set "$link" up
	touch "$state/linked"
	while [[ ! -e $state/started ]]; do
		alive || fail "the cluster ended while it started: $(cat "$state/log/node.log")"
		sleep 0.05
	done
}

main() {
	[[ $what == all || $what == cp ]] || fail "say all or cp, not $what"
	((EUID == 0)) || fail "the node needs root: namespaces, cgroups and mounts"
	# One at a time. The lock is not passed on to the cluster.
	mkdir -p "$root/.cache/cluster"
	exec 9>"$root/.cache/cluster/$id.lock"
	flock 9
	if alive; then
		echo "the cluster is up: KUBECONFIG=$kubeconfig"
		return
	fi
	bash "$here/down.sh"
	! ip link show "$link" >/dev/null 2>&1 || fail "another cluster with the number $id is up: use CLUSTER_ID=1, or stop it"
	step debian bash "$here/debian.sh"
	local binary
	binary=$(node_binary)
	mkdir -p "$state/bin"
	[[ $what == cp ]] || step world go_build ./tests/cluster/world "$state/bin/world"
	layout "$binary"
	step pki bash "$here/pki.sh"
	cgroups
	local began=$SECONDS
	start
	if [[ $what == all ]]; then
		step images bash "$here/images.sh" pause
		step ready kubectl wait --for=create --timeout=60s node/node
		step ready kubectl wait --for=condition=Ready --timeout=60s node/node
	fi
	step account kubectl wait --for=create --timeout=60s serviceaccount/default
	echo "the cluster is up after $((SECONDS - began)) s: KUBECONFIG=$kubeconfig"
}

main
