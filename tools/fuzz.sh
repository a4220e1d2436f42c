#!/usr/bin/env bash
# Runs fuzz targets for the time given, one after the other: those that are named, otherwise every one of the tree.
set -euo pipefail
cd "$(dirname "$0")/.."
time=$1
shift
wanted=" $* "
ran=0
while IFS=: read -r file line; do
	target=${line#func }
	target=${target%%(*}
	if [ "$wanted" != "  " ] && [[ "$wanted" != *" $target "* ]]; then
		continue
	fi
	ran=$((ran + 1))
	echo "$(dirname "$file") $target"
	# what is found is made shorter for a moment only: otherwise the time given is no time at all
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 2s "$(dirname "$file")" </dev/null
done < <(grep -r --include='*_test.go' --exclude-dir=node_modules '^func Fuzz' . | sort)
if [ "$ran" = 0 ] || { [ $# -gt 0 ] && [ "$ran" != $# ]; }; then
	echo "fuzz: $ran targets were run, not those named: $*" >&2
	exit 1
fi
