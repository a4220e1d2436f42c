package telemetry

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
)

// request is what every log line of one HTTP request carries.
type request struct{ id, parent string }

type requestKey struct{}

// Begin gives a request its id, and the trace it belongs to: the caller's where the caller is trusted and its
// traceparent is well-formed (W3C Trace Context section 3.2), a new one otherwise. An id that came in is never believed:
// it would let a caller write into another request's log lines.
func Begin(r *http.Request, trustCaller bool) *http.Request {
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	trace := hex.EncodeToString(raw[:16])
	if trustCaller {
		if theirs, ok := parseTraceparent(r.Header.Get("Traceparent")); ok {
			trace = theirs
		}
	}
	ids := &request{
		id:     hex.EncodeToString(raw[16:24]),
		parent: "00-" + trace + "-" + hex.EncodeToString(raw[24:32]) + "-00",
	}
	return r.WithContext(context.WithValue(r.Context(), requestKey{}, ids))
}

// RequestID returns the id Begin gave, "" outside a request.
func RequestID(ctx context.Context) string {
	if ids, ok := ctx.Value(requestKey{}).(*request); ok {
		return ids.id
	}
	return ""
}

// Traceparent returns the header value for calls made on behalf of the request, "" outside one.
func Traceparent(ctx context.Context) string {
	if ids, ok := ctx.Value(requestKey{}).(*request); ok {
		return ids.parent
	}
	return ""
}

func traceID(ctx context.Context) string {
	if ids, ok := ctx.Value(requestKey{}).(*request); ok {
		return ids.parent[3:35]
	}
	return ""
}

func parseTraceparent(value string) (trace string, ok bool) {
	if len(value) != 55 || !strings.HasPrefix(value, "00-") || value[35] != '-' || value[52] != '-' {
		return "", false
	}
	trace = value[3:35]
	for _, part := range []string{trace, value[36:52], value[53:]} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return "", false
		}
	}
	return trace, strings.Trim(trace, "0") != "" && strings.Trim(value[36:52], "0") != ""
}
