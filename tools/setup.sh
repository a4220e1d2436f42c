#!/usr/bin/env bash
# Installs what the tests need and this machine lacks: by apt on Debian and Ubuntu; elsewhere it says what to install.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A package=([redis-server]=redis-server [redis-cli]=redis-tools [chromium]=chromium [node]=nodejs [npm]=npm [gcc]=gcc)
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
missing=()
for tool in "${!package[@]}"; do
	command -v "$tool" >/dev/null || missing+=("${package[$tool]}")
done
if [ ${#missing[@]} -gt 0 ]; then
	if ! command -v apt-get >/dev/null; then
		echo "make: please install: ${missing[*]} (and run again)" >&2
		exit 1
	fi
	echo "installing ${missing[*]}"
	"${root[@]}" apt-get update -q
	# redis-server must not start as a service: the tests start servers of their own
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
if ! node -e 'const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 20 || major === 20 && minor >= 19 ? 0 : 1)'; then
	echo "make: the tests need Node.js 20.19 or later, this is $(node --version)" >&2
	exit 1
fi
# Prometheus and promtool are taken out of Debian's package, which is not installed: it would start a service.
for tool in prometheus promtool; do
	if command -v "$tool" >/dev/null || [ -x "bin/$tool" ]; then
		continue
	fi
	if ! command -v apt-get >/dev/null; then
		echo "make: please install prometheus, with promtool (and run again)" >&2
		exit 1
	fi
	mkdir -p bin
	package=$(mktemp -d)
	(
		cd "$package"
		apt-get download -q prometheus || { "${root[@]}" apt-get update -q && apt-get download -q prometheus; }
		dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin
	)
	mv "$package/usr/bin/prometheus" "$package/usr/bin/promtool" bin/
	rm -r "$package"
done
if ! cmp -s e2e/package-lock.json e2e/node_modules/.installed; then
	(cd e2e && npm ci --ignore-scripts --no-audit --no-fund)
	cp e2e/package-lock.json e2e/node_modules/.installed
fi
