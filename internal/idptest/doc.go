// Package idptest owns a scriptable OpenID provider: two personas (one that behaves like Amazon Cognito, one by the book),
// a real sign-in page, and misbehaviour on demand. Others leave every test's provider to it, and trust none of it: it is
// for tests and for `cloakroom demo`, never for people's real accounts.
package idptest
