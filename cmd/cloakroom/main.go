// Command cloakroom is the backend of a single-page app: it signs people in, keeps their tokens, and mints a token of its
// own for every service behind it.
package main

import (
	"fmt"
	"io"
	"os"
)

type command struct {
	name, summary string
	run           func(args []string, env Env) int
}

var commands = []command{
	{"serve", "run it, until SIGTERM", runServe},
	{"demo", "run everything in one process, with nothing to install", runDemo},
	{"check", "validate a configuration: every fault with its line and a remedy", runCheck},
	{"explain", "show which token would be minted from given claims, and why", runExplain},
	{"init", "write a minimal configuration and its secret", runInit},
	{"sessions", "list or revoke the sessions of a running Cloakroom", runSessions},
	{"keys", "list the signing keys of a running Cloakroom", runKeys},
	{"config", "print the configuration's JSON Schema, or a commented example", runConfig},
	{"secret", "print a fresh secret", runSecret},
	{"healthcheck", "ask a running Cloakroom whether it lives", runHealthcheck},
	{"version", "print version, commit and toolchain", runVersion},
}

func main() {
	os.Exit(run(os.Args[1:], Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Lookup: os.LookupEnv}))
}

func run(args []string, env Env) int {
	if len(args) == 0 {
		overview(env.Stderr)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		overview(env.Stdout)
		return exitDone
	case "-version", "--version":
		return runVersion(nil, env)
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(args[1:], env)
		}
	}
	code := env.usage("there is no command %q", args[0])
	overview(env.Stderr)
	return code
}

func overview(w io.Writer) {
	_, _ = fmt.Fprintln(w, "usage: cloakroom COMMAND [flags]")
	for _, c := range commands {
		_, _ = fmt.Fprintf(w, "  %-12s %s\n", c.name, c.summary)
	}
	_, _ = fmt.Fprintln(w, "`cloakroom COMMAND -h` explains a command.")
}
