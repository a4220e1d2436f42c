#!/usr/bin/env bash
# Changes the code of the folders named, one place at a time, and runs the room's tests over each mutant. Fails where they
# kill less than 90 % of those that build. What lives on is listed in docs/mutation.md with the reason.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -modfile=tools/go.mod -o "$work/gremlins" github.com/go-gremlins/gremlins/cmd/gremlins
export GOFLAGS="${GOFLAGS:-} -vet=off" TMPDIR=$work
for folder in "$@"; do
	PATH="$PWD/tools/mutate:$PATH" "$work/gremlins" unleash "./$folder" --invert-logical --invert-loopctrl \
		--workers "${MUTATE_WORKERS:-1}" --timeout-coefficient 6 --threshold-efficacy 90 --output "$work/report.json" || failed=1
done
exit "${failed:-0}"
