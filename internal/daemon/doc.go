// Package daemon owns the life of the process: sockets and their TLS, readiness, and the one path by which everything
// ends. Others hand it handlers and background work; none of them opens a socket or waits for a signal.
package daemon
