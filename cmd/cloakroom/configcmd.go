package main

import "cloakroom/cmd/cloakroom/config"

// runConfig is `cloakroom config schema|example`.
func runConfig(args []string, env Env) int {
	text := map[string]string{"schema": config.Schema, "example": config.Example}
	if len(args) != 1 || text[args[0]] == "" {
		return env.usage("config: say `config schema` (JSON Schema) or `config example` (commented YAML)")
	}
	env.say("%s", text[args[0]])
	return exitDone
}
