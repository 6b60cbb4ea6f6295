# Names that the scripts of the cluster share. Sourced, not run.
#
# CLUSTER_ID (0 to 9) lets several clusters run side by side. CLUSTER_CACHE holds what takes long to make and outlives a cluster.
readonly here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly root=$(cd "$here/../.." && pwd)
readonly id=${CLUSTER_ID:-0}
readonly cache=$(realpath -m "${CLUSTER_CACHE:-$root/.cache/cluster}")
readonly state=$root/.cache/cluster/$id
readonly kubeconfig=$state/kubeconfig

# Addresses: the machine's and the node's end of the link between them, and the node's and the world's end of theirs. They are spelled as the API
# server wants them.
readonly host4=10.99.$id.1 node4=10.99.$id.2 host6=fd99::1$id:1 node6=fd99::1$id:2
readonly gate4=10.98.$id.1 world4=10.98.$id.2 gate6=fd98::1$id:1 world6=fd98::1$id:2
readonly pods4=10.244.$id.0/24 pods6=fd44:1$id::/64
readonly services4=10.96.0.0/16 services6=fd96::/108 dns4=10.96.0.10 dns6=fd96::a
readonly link=npnode$id cgroup=netproxy-$id

# Programs that the machine may lack come from Debian's packages, unpacked and not installed: no service starts, nothing stays behind.
readonly debian=$cache/debian
export PATH=$debian/usr/sbin:$debian/usr/bin:$debian/sbin:$debian/bin:$state/bin:$PATH
export LD_LIBRARY_PATH=$debian/usr/lib/$(uname -m)-linux-gnu:$debian/lib/$(uname -m)-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

fail() {
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# alive: the cluster's first process runs and is ours; its number may have been given to another one since.
alive() {
	local pid
	pid=$(cat "$state/pid" 2>/dev/null) && grep -qa "$here/node.sh" "/proc/$pid/cmdline" 2>/dev/null
}

kubectl() { "$state/bin/kubectl" --kubeconfig "$kubeconfig" "$@"; }

# step NAME COMMAND...: says how long it took; its output is shown only if it fails.
step() {
	local name=$1 start=$SECONDS log
	shift
	mkdir -p "$state/log"
	log=$state/log/step-$name.log
	"$@" >"$log" 2>&1 || { tail -n 30 "$log" >&2; fail "$name did not work: see above and $log"; }
	((SECONDS - start < 2)) || printf '%s: %d s\n' "$name" "$((SECONDS - start))"
}
