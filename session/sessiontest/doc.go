// Package sessiontest owns the contract of session.Store as a test suite, a store that fails on demand, and real Redis
// servers for tests. Engines leave to it what their contract means, and only add what is theirs alone.
package sessiontest
