#!/usr/bin/env bash
# Process 1 of private PID, mount and network namespaces: the whole cluster lives and dies with it. Started by up.sh.
# node.sh all|cp: the whole node, or the control plane only.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
readonly what=$1 pki=$state/pki conf=$state/conf socket=/run/containerd/containerd.sock

start() {
	local name=$1
	shift
	"$@" >"$state/log/$name.log" 2>&1 &
}

wait_for() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || { echo "gave up waiting for: $*"; exit 1; }
		sleep 0.1
	done
}

mounts() {
	mount -t tmpfs tmpfs /run
	mkdir -p /run/containerd /run/lock
	for pair in kubelet:/var/lib/kubelet varlog:/var/log cni:/var/lib/cni; do
		mkdir -p "$state/${pair%%:*}" "${pair#*:}"
		mount --bind "$state/${pair%%:*}" "${pair#*:}"
	done
	# A sysfs that shows this network namespace, with the machine's cgroups under it.
	mkdir -p "$state/cgroups"
	mount --rbind /sys/fs/cgroup "$state/cgroups"
	mount -t sysfs sysfs /sys
	mount --rbind "$state/cgroups" /sys/fs/cgroup
	umount -R -l "$state/cgroups"
	mount --make-rshared /
}

# The kubelet insists on these values and would write them: it writes to stand-ins instead of the machine's kernel.
pretend() {
	local name
	for pair in kernel/panic:10 kernel/panic_on_oops:1 vm/overcommit_memory:1; do
		name=$state/sysctl-$(basename "${pair%%:*}")
		echo "${pair#*:}" >"$name"
		mount --bind "$name" "/proc/sys/${pair%%:*}"
	done
}

network() {
	ip link set lo up
	wait_for 10 test -e "$state/linked"
	ip addr add "$node4/24" dev node0
	ip -6 addr add "$node6/112" dev node0 nodad
	ip link set node0 up
	# Nothing leaves this machine: what is not of the cluster goes to the world, if there is one.
	ip route add unreachable default metric 1000
	ip -6 route add unreachable default metric 1000
	echo 1 >/proc/sys/net/ipv4/ip_forward
	echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
	echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
}

control_plane() {
	start etcd etcd --name e --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn \
		--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster e=http://127.0.0.1:2380
	apiserver &
	wait_for 60 kubectl get --raw /readyz
	# The high limits of requests halve the time until the cluster is ready.
	start kube-controller-manager kube-controller-manager --kubeconfig="$pki/controller-manager.kubeconfig" --use-service-account-credentials=true \
		--service-account-private-key-file="$pki/serviceaccount.key" --root-ca-file="$pki/ca.crt" \
		--cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" --kube-api-qps=1000 --kube-api-burst=2000 \
		--leader-elect=false --allocate-node-cidrs=false --service-cluster-ip-range="$services4,$services6" --authentication-skip-lookup=true --bind-address=127.0.0.1
	start kube-scheduler kube-scheduler --kubeconfig="$pki/scheduler.kubeconfig" --leader-elect=false --authentication-skip-lookup=true --bind-address=127.0.0.1
}

# apiserver runs the API server again when it ends, so that a test can restart it: its number is in the state directory.
apiserver() {
	while :; do
		kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address="$node4" --bind-address=0.0.0.0 --secure-port=6443 \
			--service-cluster-ip-range="$services4,$services6" --client-ca-file="$pki/ca.crt" --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
			--service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/serviceaccount.pub" --service-account-signing-key-file="$pki/serviceaccount.key" \
			--authorization-mode=Node,RBAC --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" \
			--kubelet-preferred-address-types=InternalIP --allow-privileged=true --enable-admission-plugins=NodeRestriction >>"$state/log/kube-apiserver.log" 2>&1 &
		echo $! >"$state/apiserver.pid"
		wait $!
	done
}

node() {
	start kubelet kubelet --config="$conf/kubelet.yaml" --kubeconfig="$pki/kubelet.kubeconfig" --hostname-override=node --node-ip="$node4,$node6" \
		--root-dir=/var/lib/kubelet --cert-dir="$state/kubelet-pki" --v=2
	start kube-proxy kube-proxy --config="$conf/proxy.yaml"
}

# world starts the Internet in a network namespace beside the node. Everything there is local to it, so that the ways back
# to the node lie in the table that is looked at first.
world() {
	local at=(ip -n world)
	ip netns add world
	ip link add world0 type veth peer name node0 netns world
	ip addr add "$gate4/24" dev world0
	ip -6 addr add "$gate6/112" dev world0 nodad
	ip link set world0 up
	"${at[@]}" link set lo up
	"${at[@]}" addr add "$world4/24" dev node0
	"${at[@]}" -6 addr add "$world6/112" dev node0 nodad
	"${at[@]}" link set node0 up
	"${at[@]}" route add "${world4%.*}.0/24" dev node0 scope link table local
	"${at[@]}" -6 route add "${gate6%1}0/112" dev node0 table local
	"${at[@]}" route add "$node4" via "$gate4" table local
	"${at[@]}" route add "$pods4" via "$gate4" table local
	"${at[@]}" -6 route add "$node6" via "$gate6" table local
	"${at[@]}" -6 route add "$pods6" via "$gate6" table local
	ip route add default via "$world4" dev world0
	ip -6 route add default via "$world6" dev world0 metric 100
	start world ip netns exec world "$state/bin/world" --kubeconfig "$kubeconfig" --socket "$state/world.sock" --resolvers "$world4,$world6"
	wait_for 20 test -S "$state/world.sock"
}

mounts
pretend
network
[[ $what == cp ]] || start containerd containerd --config "$conf/containerd.toml"
control_plane
if [[ $what == all ]]; then
	wait_for 20 ctr -a "$socket" version
	node
	world
	kubectl apply -f "$conf/dns.yaml" >/dev/null
fi
touch "$state/started"
while :; do
	wait -n 2>/dev/null # the children of others that ended
	sleep 0.2
done
