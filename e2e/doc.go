// Package e2e owns the black-box tests: the built binary, configured by a file as an operator would, between parties that
// nobody here wrote (OpenID providers, Redis, a browser, JOSE libraries). Of the house it imports only internal/idptest, the
// scriptable provider, where a real one cannot be made to do what is asked.
package e2e
