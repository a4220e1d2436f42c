package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Env is what a command has of its surroundings, so that a test can give it others.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Lookup         func(string) (string, bool) // environment variables
}

// Exit codes of every command.
const (
	exitDone   = 0
	exitFailed = 1 // it was understood, and did not succeed: findings, a refusal, an error
	exitUsage  = 2 // it was not understood
)

// flags is a command's flag set, which explains itself on standard error.
func (e Env) flags(name, arguments string) *flag.FlagSet {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(e.Stderr)
	set.Usage = func() {
		_, _ = fmt.Fprintln(e.Stderr, strings.TrimSpace("usage: cloakroom "+name+" "+arguments))
		set.PrintDefaults()
	}
	return set
}

// parse reads a command's flags; code tells how to end where ok is false. No command of these takes further arguments.
func (e Env) parse(set *flag.FlagSet, args []string) (code int, ok bool) {
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitDone, false
	case err != nil:
		return exitUsage, false
	}
	if set.NArg() > 0 {
		return e.usage("%s: what is %q?", set.Name(), set.Arg(0)), false
	}
	return exitDone, true
}

// usage says what was not understood.
func (e Env) usage(format string, args ...any) int {
	_, _ = fmt.Fprintf(e.Stderr, "cloakroom: "+format+"\n", args...)
	return exitUsage
}

// fail says why it did not succeed.
func (e Env) fail(err error) int {
	_, _ = fmt.Fprintf(e.Stderr, "cloakroom: %v\n", err)
	return exitFailed
}

// say writes to standard output.
func (e Env) say(format string, args ...any) {
	_, _ = fmt.Fprintf(e.Stdout, format, args...)
}
