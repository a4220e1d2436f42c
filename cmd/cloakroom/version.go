package main

import (
	"runtime"
	"runtime/debug"
)

// version and commit are set by tools/build.sh when it releases (a tag and a hash). Any other build leaves them empty: then
// what the toolchain stamped counts.
var version, commit string

// runVersion is `cloakroom version`.
func runVersion(args []string, env Env) int {
	if code, ok := env.parse(env.flags("version", ""), args); !ok {
		return code
	}
	env.say("%s", thisBuild())
	return exitDone
}

// build says which Cloakroom this is.
type build struct {
	version   string // a tag, or what the toolchain makes of the state of the source; "(devel)" where nobody knows
	commit    string // the source's, with a remark where it had been changed; "unknown" likewise
	toolchain string
}

func thisBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return buildOf(version, commit, info)
}

// buildOf prefers what the release set over what the toolchain stamped.
func buildOf(version, commit string, info *debug.BuildInfo) build {
	b := build{version: version, commit: commit, toolchain: info.GoVersion}
	if b.version == "" {
		b.version = info.Main.Version
	}
	if b.version == "" {
		b.version = "(devel)"
	}
	if b.commit == "" {
		b.commit = stampedCommit(info)
	}
	return b
}

func stampedCommit(info *debug.BuildInfo) string {
	commit, changed := "unknown", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				changed = " with local changes"
			}
		}
	}
	return commit + changed
}

func (b build) String() string {
	return "cloakroom " + b.version + "\ncommit " + b.commit + "\ntoolchain " + b.toolchain + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
}
