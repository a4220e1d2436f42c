package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"text/tabwriter"
)

// runKeys is `cloakroom keys list`: it asks the admin listener which keys are published and which ones sign.
func runKeys(args []string, env Env) int {
	if len(args) == 0 || args[0] != "list" {
		return env.usage("keys: say `keys list`")
	}
	set := env.flags("keys list", "--config FILE [--json]")
	var ask adminFlags
	ask.register(set)
	if code, ok := env.parse(set, args[1:]); !ok {
		return code
	}
	if ask.path == "" {
		return env.usage("keys list: which file? --config FILE")
	}
	return ask.run(env, http.MethodGet, "/admin/keys", nil, showKeys)
}

func showKeys(env Env, body []byte) error {
	var answer struct {
		Epoch int64
		Keys  []adminKey
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	table := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "KID\tALGORITHM\tSTATE\tEPOCH\tSECRET")
	for _, k := range answer.Keys {
		epoch, state := fmt.Sprint(k.Epoch), "verifies"
		switch {
		case k.Signs:
			state = "signs"
		case k.Secret != "" && k.Epoch > answer.Epoch:
			state = "next"
		case k.Secret != "" && k.Epoch < answer.Epoch:
			state = "previous"
		}
		if k.Secret == "" {
			epoch, k.Secret = "-", "file"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Algorithm, state, epoch, k.Secret)
	}
	return table.Flush()
}
