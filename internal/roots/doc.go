// Package roots owns how the authorities that a TLS client believes are read from a file. Whose authorities they are, and which
// file that is, is for others to say.
package roots
