#!/usr/bin/env bash
# apiserver.sh: kills the API server. node.sh starts it again at once; it serves after some seconds.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

alive || fail "the cluster is not up: make cluster"
# The number is one of the node's own process namespace, and is looked up there in case it is another's by now.
nsenter -t "$(cat "$state/pid")" -m -p -- bash -c '
	grep -qa kube-apiserver "/proc/$1/cmdline" || { echo "process $1 is not the API server" >&2; exit 1; }
	kill -KILL "$1"
' kill "$(cat "$state/apiserver.pid")"
