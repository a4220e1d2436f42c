// Package bff owns the browser's side of Cloakroom: signing in and out, the session's cookie, the guard in front of
// every request, and the routes behind it. Others leave to it everything that a browser can send or see; what a session
// is, how a token is minted and how a provider is spoken to it leaves to session, exchange and provider.
package bff
