// Package provider owns an OpenID provider as a client meets it: hardened HTTP, discovery, the key set, the authorization
// request, redemption, refresh, userinfo, introspection, revocation, logout, and what is peculiar about each provider (its
// profile); and, with the same means, whoever else's tokens are trusted (Issuer).
// Others leave every request to them and every judgement of their answers to this package, and get claims that are
// verified and spelled one way whoever issued them.
package provider
