// Package exchange owns the decision and the minting: which token of Cloakroom's own a client or a route gets for a
// subject (RFC 8693), what stands in it, how long it lives, and why (Policy.Decide). Others leave every minted token to
// Service, authenticate the client before they ask, and translate Error to their protocol; what the exchange needs from
// outside (other issuers' tokens, sessions, revocations) are the small interfaces it declares.
//
// It speaks no HTTP, knows no store, writes no log, and is handed its clock.
package exchange
