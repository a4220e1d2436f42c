// Package token owns JOSE at the border: claims as they are read, scopes, verification of signed tokens, and the keys
// Cloakroom signs with. Others leave every parse and every signature of a JWT to it, and never look into an unverified
// token except through Inspect.
package token
