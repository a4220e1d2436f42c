// Package span tells of the steps that a traced request leads to: calls to a provider, to the store, to an upstream, and what is
// decided on the way. Where the request is not traced it does nothing, and costs no more than finding that out.
package span
