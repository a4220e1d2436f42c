package main

import "cloakroom/secret"

// runSecret is `cloakroom secret`: the one command whose output is a secret, and nothing else.
func runSecret(args []string, env Env) int {
	if code, ok := env.parse(env.flags("secret", ""), args); !ok {
		return code
	}
	env.say("%s\n", secret.NewKey().Encode().Reveal())
	return exitDone
}
