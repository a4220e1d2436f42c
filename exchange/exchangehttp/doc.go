// Package exchangehttp owns the exchange as services meet it over HTTP. Server is Cloakroom's side: the token endpoint,
// introspection, revocation, metadata and keys; it parses requests strictly, authenticates callers, and writes the answers
// RFC 6749 prescribes. Client and Transport are a service's side: they ask for tokens, keep them safely, and send them along.
// Others leave to it all HTTP of the exchange; what is decided, and every token, it leaves to package exchange.
package exchangehttp
