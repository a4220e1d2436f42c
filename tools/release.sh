#!/usr/bin/env bash
# Builds what is released into a folder, by default dist/: a binary for each platform, what it is made of (CycloneDX), and the
# checksums of all that.
#   tools/release.sh [FOLDER]
# VERSION and COMMIT default to the repository's; PLATFORMS to all there are.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-dist}
export VERSION=${VERSION:-$(git describe --tags --always --dirty)}
export COMMIT=${COMMIT:-$(git rev-parse HEAD)}
platforms=${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64}

rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
for platform in $platforms; do
	name=cloakroom_${VERSION}_${platform/\//_}
	GOOS=${platform%/*} GOARCH=${platform#*/} tools/build.sh "$out/$name"
	# Without what differs between two who make the same: a serial number, the time, and the checksum of the tool that wrote it.
	go tool -modfile=tools/release/go.mod cyclonedx-gomod bin -json -noserial -notimestamp -std -version "$VERSION" "$out/$name" |
		sed '/"tools": /,/"component": /{/"hashes": /,/]/d;}' >"$out/$name.cdx.json"
done
(cd "$out" && sha256sum cloakroom_* >SHA256SUMS)
echo "released $VERSION ($COMMIT) into $out:"
cat "$out/SHA256SUMS"
