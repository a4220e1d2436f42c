// Package rule owns the small language that policy is written in: CEL over a fixed context (contract/names.md "CEL
// context"), checked for types and bounded in cost before anything depends on it. Others leave to it what a rule may
// see and what its result may be, and hand it values; it does no I/O and reads no clock.
package rule
