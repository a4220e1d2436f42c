package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
)

// runSessions is `cloakroom sessions list|revoke`: it asks the admin listener.
func runSessions(args []string, env Env) int {
	if len(args) == 0 || args[0] != "list" && args[0] != "revoke" {
		return env.usage("sessions: say `sessions list` or `sessions revoke`")
	}
	revoke := args[0] == "revoke"
	arguments := "--config FILE (--sub SUBJECT [--issuer ISSUER] | --id ID) [--json]"
	if revoke {
		arguments = "--config FILE (--sub SUBJECT [--issuer ISSUER] [--before TIME] | --id ID | --before TIME) [--json]"
	}
	set := env.flags("sessions "+args[0], arguments)
	var ask adminFlags
	ask.register(set)
	which := map[string]*string{
		"sub":    set.String("sub", "", "the `SUBJECT`, as the provider calls the person"),
		"issuer": set.String("issuer", "", "the `ISSUER` of the provider (default: every configured one)"),
		"id":     set.String("id", "", "one session by its `ID`, the `sid` of logs and minted tokens"),
	}
	if revoke {
		which["before"] = set.String("before", "", "those that began before this `TIME` (2026-11-25T08:00:00Z); alone: everyone's")
	}
	if code, ok := env.parse(set, args[1:]); !ok {
		return code
	}
	query := url.Values{}
	for name, value := range which {
		if *value != "" {
			query.Set(name, *value)
		}
	}
	if ask.path == "" || len(query) == 0 {
		return env.usage("sessions %s: say %s", args[0], arguments)
	}
	method, show := http.MethodGet, showSessions
	if revoke {
		method, show = http.MethodDelete, showEnded
	}
	return ask.run(env, method, "/admin/sessions", query, show)
}

// run asks and shows the answer.
func (f *adminFlags) run(env Env, method, path string, query url.Values, show func(Env, []byte) error) int {
	client, err := f.connect(env)
	if err != nil {
		return env.fail(err)
	}
	body, err := client.ask(method, path, query)
	if err == nil && f.json {
		env.say("%s", body)
	} else if err == nil {
		err = show(env, body)
	}
	if err != nil {
		return env.fail(fmt.Errorf("%s: %w", client.base, err))
	}
	return exitDone
}

func showSessions(env Env, body []byte) error {
	var answer struct{ Sessions []adminSession }
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	table := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tSUBJECT\tPROVIDER\tCREATED\tLAST SEEN\tEXPIRES\tADDRESS\tDEVICE")
	for _, s := range answer.Sessions {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, printable(s.Subject), s.Provider, s.CreatedAt, s.LastSeenAt, s.ExpiresAt, s.Address, printable(s.UserAgent))
	}
	return table.Flush()
}

// printable keeps what a stranger wrote from steering the terminal.
func printable(s string) string {
	quoted := fmt.Sprintf("%q", s)
	return quoted[1 : len(quoted)-1]
}

func showEnded(env Env, body []byte) error {
	var answer struct{ Ended int }
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	env.say("%s ended\n", count(answer.Ended, "session"))
	return nil
}
