#!/usr/bin/env bash
# Unpacks the programs of Debian's packages that the machine lacks into the cache. Packages that are installed are used as they are.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# containerd 1.6 serves the kubelet 1.37 and no later one. Newer ones cannot share a Go module with Kubernetes 1.37 (cri-api).
readonly packages=(containerd runc containernetworking-plugins nftables iproute2 busybox-static openssl)

download() {
	apt-get -qq -y --no-install-recommends --download-only -o Debug::NoLocking=1 -o Dir::Cache::archives="$1" \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= install "${packages[@]}"
}

main() {
	local list
	list=$(printf '%s\n' "${packages[@]}" | sha256sum | cut -c1-16)
	[[ ! -e $debian/.done-$list ]] || return 0
	command -v apt-get >/dev/null || fail "apt-get is missing: the node is made of Debian 12's packages"
	rm -rf "$debian"
	mkdir -p "$debian/archives/partial"
	download "$debian/archives" || { apt-get -qq update && download "$debian/archives"; }
	for file in "$debian"/archives/*.deb; do
		[[ ! -e $file ]] || dpkg-deb -x "$file" "$debian"
	done
	rm -rf "$debian/archives"
	touch "$debian/.done-$list"
}

main
