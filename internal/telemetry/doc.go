// Package telemetry owns how Cloakroom speaks to operators: the structured log, the request id in it, the audit line and
// the metrics of HTTP. Others hand it values; none of them formats a log line or decides which of their fields are safe.
package telemetry
