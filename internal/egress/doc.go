// Package egress owns what a host and its address are to a process that calls out: how far inside it lies, and whether it is one
// that nothing may call by accident. Others decide what they do about it, at the moment of dialling, when the name has been
// resolved (security.md D9).
package egress
