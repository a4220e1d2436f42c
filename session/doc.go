// Package session owns what a session is and its whole life: starting, loading, sliding, renewing, ending, the cookie's
// encoding and what is sealed into the store. Others leave tickets, records and the decision whether a session still is
// one to the Manager; engines only keep bytes by the contract of [Store], and how tokens are renewed is a function that
// is handed in.
package session
