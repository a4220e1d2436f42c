package main

import (
	"runtime"
	"runtime/debug"
)

// runVersion is `cloakroom version`.
func runVersion(args []string, env Env) int {
	if code, ok := env.parse(env.flags("version", ""), args); !ok {
		return code
	}
	env.say("%s", versionText(buildInfo()))
	return exitDone
}

func buildInfo() *debug.BuildInfo {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info
	}
	return &debug.BuildInfo{GoVersion: runtime.Version()}
}

// versionText tells what the Go toolchain stamped into the binary.
func versionText(info *debug.BuildInfo) string {
	version, commit, changed := info.Main.Version, "unknown", ""
	if version == "" {
		version = "(devel)"
	}
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
	return "cloakroom " + version + "\ncommit " + commit + changed + "\ntoolchain " + info.GoVersion + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
}
