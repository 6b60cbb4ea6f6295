#!/usr/bin/env bash
# Makes the cluster's CA, the API server's certificate and the clients' kubeconfigs in the state directory.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

readonly purposes=$'keyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n'

key() { openssl ecparam -genkey -name prime256v1 -noout -out "$1.key"; }

certificate() { # NAME SUBJECT [EXTENSIONS]
	key "$1"
	openssl req -new -key "$1.key" -subj "$2" |
		openssl x509 -req -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days 3650 -extfile <(printf '%s' "$purposes${3:-}") -out "$1.crt"
}

client() { # NAME SUBJECT
	certificate "$1" "$2"
	cat >"$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: netproxy-test
contexts: [{name: netproxy-test, context: {cluster: netproxy-test, user: $1}}]
clusters: [{name: netproxy-test, cluster: {server: "https://$node4:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
YAML
}

mkdir -p "$state/pki"
cd "$state/pki"
umask 077
key ca
openssl req -x509 -new -key ca.key -days 3650 -subj /CN=netproxy-test -out ca.crt
names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost
certificate apiserver /CN=kube-apiserver "subjectAltName=$names,IP:127.0.0.1,IP:::1,IP:10.96.0.1,IP:fd96::1,IP:$node4,IP:$node6"
key serviceaccount
openssl ec -in serviceaccount.key -pubout -out serviceaccount.pub
client admin /O=system:masters/CN=admin
client controller-manager /CN=system:kube-controller-manager
client scheduler /CN=system:kube-scheduler
client proxy /CN=system:kube-proxy
client kubelet /O=system:nodes/CN=system:node:node
cp admin.kubeconfig "$kubeconfig"
