package main

import (
	"errors"
	"fmt"
	"log/slog"

	"cloakroom/cmd/cloakroom/config"
)

// runCheck is `cloakroom check`: the doctor. Warnings alone are no findings.
func runCheck(args []string, env Env) int {
	set := env.flags("check", "--config FILE [--online]")
	path := set.String("config", "", "the configuration `FILE`")
	online := set.Bool("online", false, "ask provider, store, upstreams and clock too, once the file has no faults")
	if code, ok := env.parse(set, args); !ok {
		return code
	}
	if *path == "" {
		return env.usage("check: which file? --config FILE")
	}
	file, err := config.Load(*path, env.Lookup)
	faults, ours := errors.AsType[config.Faults](err)
	if err != nil && !ours {
		return env.fail(err)
	}
	for _, f := range faults {
		env.say("%s\n", f)
	}
	for _, w := range file.Warnings {
		env.say("%s\n", warning(w))
	}
	if len(faults) > 0 {
		env.say("%s: %s\n", *path, count(len(faults), "fault"))
		return exitFailed
	}
	return checkHouse(file, *path, *online, env)
}

// checkHouse puts together what serve would, and opens nothing: what serve would refuse is a fault, though none of the
// configuration's own rules knows it.
func checkHouse(file *config.File, path string, online bool, env Env) int {
	h, err := assemble(file, slog.New(slog.DiscardHandler))
	if err != nil {
		env.say("%s: serve would refuse it: %v\n", path, err)
		return exitFailed
	}
	defer func() { _ = h.store.Close() }()
	env.say("%s: no faults (%s, %s, %s)\n", path, count(len(file.Providers), "provider"), count(len(file.Routes), "route"), count(len(file.Exchange.Clients), "client"))
	if online && !checkOnline(h, env) {
		return exitFailed
	}
	return exitDone
}

// warning spells what is accepted but should be known.
func warning(w config.Fault) string {
	w.Path = "warning: " + w.Path
	return w.String()
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
