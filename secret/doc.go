// Package secret owns the server's secrets: what a configured secret may look like, its public id, the keys derived from
// it, and sealing under it. Others leave every derivation and every AEAD to this package, and carry anything that must
// never be printed as a [Text].
package secret
