#!/usr/bin/env bash
# Makes an image that stands in for one that cannot be pulled, under its very name, from what is installed on this machine:
#   tools/standin.sh IMAGE
# It is for an engine that is thrown away (tools/containers.sh); on any other it would pass for the real thing.
set -euo pipefail
cd "$(dirname "$0")/.."

image=$1
root=$(mktemp -d "${TMPDIR:-/tmp}/standin.XXXXXX")
trap 'chmod -R u+w "$root" && rm -rf "$root"' EXIT
mkdir -p "$root"/usr/{bin,lib,lib64,local/bin} "$root"/{etc/ssl/certs,tmp}
chmod 1777 "$root/tmp"
for folder in bin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done

# bring PROGRAM...: with the libraries it is linked with
bring() {
	local program file
	for program in "$@"; do
		file=$(command -v "$program") || { echo "standin: $program is not installed here, so $image cannot be stood in for" >&2; exit 1; }
		cp -L "$file" "$root/usr/bin/$program"
		ldd "$file" 2>/dev/null | grep -o '/[^ ]*' | while read -r file; do
			mkdir -p "$root$(dirname "$file")"
			cp -L "$file" "$root$file"
		done || true # a static program has none
	done
}

# user NAME NUMBER
user() { echo "$1:x:$2:$2::/:/sbin/nologin" >>"$root/etc/passwd"; echo "$1:x:$2:" >>"$root/etc/group"; }

changes=()
user root 0
case $image in
golang:*)
	# the toolchain of the same number
	toolchain=$(GOTOOLCHAIN=go${image#golang:} go env GOROOT)
	cp -R "$toolchain" "$root/usr/local/go"
	bring sh sed dirname
	cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
	changes=('ENV PATH=/usr/local/go/bin:/usr/bin' 'ENV GOPATH=/go' 'ENV GOTOOLCHAIN=local')
	;;
redis:*)
	user redis 999
	bring redis-server redis-cli sh cat head base64 mv cp grep timeout
	ln -s redis-server "$root/usr/bin/redis-sentinel" # one program, which goes by its name
	mkdir "$root/data"
	chown 999:999 "$root/data"
	changes=('WORKDIR /data' 'VOLUME /data')
	;;
haproxy:*)
	user haproxy 99
	bring haproxy bash
	changes=('USER haproxy')
	;;
gcr.io/distroless/static-*:nonroot)
	user nonroot 65532
	cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
	changes=('USER 65532')
	;;
*)
	echo "standin: nothing stands in for $image" >&2
	exit 1
	;;
esac
arguments=()
for change in "${changes[@]}"; do arguments+=(--change "$change"); done
tar -C "$root" -c . | docker import "${arguments[@]}" --message 'stand-in' - "$image" >/dev/null
