#!/bin/sh
# Builds the binary as it is released: tools/build.sh FILE. VERSION and COMMIT are stamped into it, GOOS and GOARCH choose the
# platform. The same source, toolchain and values make the same bytes, on any machine and in the image's build: nothing of the
# folder, the machine's settings or the repository's state gets in.
set -eu
cd "$(dirname "$0")/.."
GOTOOLCHAIN=$(sed -n 's/^toolchain //p' go.mod)
export GOTOOLCHAIN
# Of a machine's settings for Go, those of `go env -w` among them, what counts is where modules come from and are kept; what they
# are made into is settled here.
for name in GOPROXY GONOPROXY GOSUMDB GONOSUMDB GOPRIVATE GOINSECURE GOAUTH GOVCS GOPATH GOMODCACHE GOCACHE; do
	export "$name=$(go env "$name")"
done
export GOENV=off CGO_ENABLED=0 GOFLAGS=-mod=readonly GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT= GOFIPS140=off GOWORK=off
exec go build -trimpath -buildvcs=false -o "$1" \
	-ldflags "-s -w -buildid= -X main.version=${VERSION:-} -X main.commit=${COMMIT:-}" ./cmd/cloakroom
