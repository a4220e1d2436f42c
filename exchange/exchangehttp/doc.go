// Package exchangehttp owns the exchange as services meet it over HTTP: the token endpoint, introspection, revocation,
// metadata and keys; it parses requests strictly, authenticates clients, and writes the answers RFC 6749 prescribes.
// Others leave to it all HTTP of the exchange; what is decided, and every token, it leaves to package exchange.
package exchangehttp
