#!/usr/bin/env bash
# Builds the image, runs what deploy/ ships in containers, and tests it (deploy/compose, tag `containers`).
#   tools/containers.sh present    where a Docker engine answers; elsewhere it says that this part was left out
#   tools/containers.sh required   where none answers it starts one of its own, as root, and throws it away afterwards
# In an engine of its own, images that cannot be pulled are stood in for by what this machine has (tools/standin.sh).
set -euo pipefail
cd "$(dirname "$0")/.."

compose_version=v5.6.0
work=$(mktemp -d "${TMPDIR:-/var/tmp}/containers.XXXXXX")
engine=
trap finish EXIT

finish() {
	local code=$?
	trap - EXIT
	[ -z "$engine" ] || stop_engine
	rm -rf "$work"
	exit $code
}

say() { echo "containers: $*"; }

main() {
	export DOCKER_BUILDKIT=1
	docker=$(command -v docker || true)
	if [ -z "$docker" ] || ! timeout 20 "$docker" info >/dev/null 2>&1; then
		if [ "$1" = present ]; then
			say "LEFT OUT: no Docker engine answers, so neither the image nor the compose files were tried (make test-containers does it)"
			return
		fi
		start_engine
	fi
	# For whatever is started from here, this one is `docker`.
	mkdir "$work/bin"
	ln -s "$docker" "$work/bin/docker"
	export PATH=$work/bin:$PATH
	say "engine $(docker version --format '{{.Server.Version}}')"
	provide_compose
	provide_images
	release=$work/release
	# A name of its own: `docker compose up` of somebody who develops here must not come upon this build.
	export CLOAKROOM_IMAGE=cloakroom:test
	export VERSION=v0.0.0-test COMMIT=0000000000000000000000000000000000000000
	build_image
	PLATFORMS="linux/$(go env GOARCH)" tools/release.sh "$release"
	say "running the tests"
	RELEASE=$release go test -tags containers -count=1 -v -timeout 8m ./deploy/compose
}

# start_engine runs dockerd from Debian's docker.io, with everything it keeps in the work folder.
start_engine() {
	if [ "$(id -u)" != 0 ]; then
		say "no Docker engine answers, and only root can start one" >&2
		exit 1
	fi
	fetch dockerd docker.io
	docker=/usr/bin/docker # the one that belongs to this engine: it builds without a plugin
	export DOCKER_HOST=unix://$work/docker.sock
	iptables --list >/dev/null && iptables --table nat --list >/dev/null # so that what is saved has both tables
	iptables-save >"$work/iptables"
	dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" --host "$DOCKER_HOST" >"$work/dockerd.log" 2>&1 &
	engine=$!
	for _ in $(seq 120); do
		"$docker" info >/dev/null 2>&1 && { say "started an engine"; return; }
		kill -0 "$engine" 2>/dev/null || break
		sleep 0.5
	done
	say "the Docker engine does not start:" >&2
	tail -20 "$work/dockerd.log" >&2
	exit 1
}

stop_engine() {
	"$docker" ps --quiet | xargs -r "$docker" kill >/dev/null 2>&1 || true
	kill "$engine" 2>/dev/null || true
	wait "$engine" 2>/dev/null || true
	ip link delete docker0 2>/dev/null || true
	iptables-restore <"$work/iptables" || true
	say "stopped the engine"
}

# provide_compose takes the plugin that is there; beside an engine of our own it builds the one we know.
provide_compose() {
	if docker compose version --short 2>/dev/null | grep -qE '^v?(2\.(2[4-9]|[3-9][0-9])|[3-9]|[1-9][0-9])'; then
		return
	fi
	if [ -z "$engine" ]; then
		say "Docker Compose is missing, or older than 2.24: please install it" >&2
		exit 1
	fi
	say "building Docker Compose $compose_version"
	export DOCKER_CONFIG=$work/docker
	mkdir -p "$DOCKER_CONFIG/cli-plugins" "$work/compose"
	(
		cd "$work/compose"
		export GOFLAGS=-mod=mod CGO_ENABLED=0
		{
			go mod init throwaway
			go get -tool "github.com/docker/compose/v5/cmd@$compose_version"
			go build -o "$DOCKER_CONFIG/cli-plugins/docker-compose" github.com/docker/compose/v5/cmd
		} >build.log 2>&1 || { cat build.log >&2; exit 1; }
	)
}

# provide_images pulls what the Dockerfile and the compose files name.
provide_images() {
	local image needed
	needed=$({
		sed -nE 's/^FROM (--platform=[^ ]+ )?([^ ]+).*/\2/p' deploy/Dockerfile
		docker compose --file docker-compose.yml --file deploy/compose.replicas.yml config --images
	} | grep -v '^cloakroom:' | sort -u)
	for image in $needed; do
		if docker image inspect "$image" >/dev/null 2>&1 || timeout 120 docker pull --quiet "$image" >/dev/null 2>"$work/pull"; then
			continue
		fi
		if [ -z "$engine" ]; then
			say "$image cannot be pulled: $(tail -1 "$work/pull")" >&2
			exit 1
		fi
		[[ $image != haproxy:* ]] || fetch haproxy haproxy
		[[ $image != redis:* ]] || fetch redis-server redis-server
		tools/standin.sh "$image"
		say "$image cannot be pulled here: a STAND-IN of that name is used, made from what this machine has installed"
	done
}

# fetch PROGRAM PACKAGE: by apt where it is missing; nothing starts as a service
fetch() {
	command -v "$1" >/dev/null && return
	say "installing $2"
	{ apt-get update -q && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends "$2"; } >"$work/apt" 2>&1 || {
		cat "$work/apt" >&2
		exit 1
	}
}

build_image() {
	local arguments=() name
	for name in GOPROXY GOSUMDB; do arguments+=(--build-arg "$name=$(go env $name)"); done
	for name in VERSION COMMIT; do arguments+=(--build-arg "$name=${!name}"); done
	for name in HTTP_PROXY HTTPS_PROXY NO_PROXY; do [ -z "${!name:-}" ] || arguments+=(--build-arg "$name"); done
	say "building the image"
	docker build --file deploy/Dockerfile --tag "$CLOAKROOM_IMAGE" "${arguments[@]}" . >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
	say "image of $(docker image inspect --format '{{.Size}}' "$CLOAKROOM_IMAGE") bytes"
}

main "${1:?present or required}"
