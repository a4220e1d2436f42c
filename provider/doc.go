// Package provider owns an OpenID provider as a client meets it: hardened HTTP, discovery, the key set, the authorization
// request, redemption, refresh, userinfo, revocation, logout, and what is peculiar about each provider (its profile).
// Others leave every request to a provider and every judgement of its answers to this package, and get claims that are
// verified and spelled one way whoever issued them.
package provider
