// Package e2e owns the black-box tests: the built binary, configured by a file as an operator would, between parties that
// nobody here wrote (OpenID providers, Redis, a browser, JOSE libraries). Nothing in it imports a room of the house.
package e2e
