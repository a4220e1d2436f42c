package e2e

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"cloakroom/docs"
)

// description is docs/openapi.yaml, which every answer of Cloakroom's own endpoints in these tests is held against.
var description = &openAPI{answered: map[string]int{}, ours: map[string]bool{}}

type openAPI struct {
	mu       sync.Mutex
	is       validator.Validator
	ours     map[string]bool // host:port of the listeners under test; providers have endpoints of the same names
	answered map[string]int  // by method, path without what differs from call to call, and status
	faults   []string
}

// perKind is how many answers of one kind are looked at: under load there are thousands of the same.
const perKind = 25

func (o *openAPI) read() error {
	document, err := libopenapi.NewDocument(docs.OpenAPI)
	if err != nil {
		return err
	}
	made, faults := validator.NewValidator(document)
	if len(faults) > 0 {
		return fmt.Errorf("%v", faults)
	}
	o.is = made
	return nil
}

// watch holds the answers of a Cloakroom that listens there against the description.
func (o *openAPI) watch(listeners ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range listeners {
		o.ours[l] = true
	}
}

// documented looks at the answers that pass through.
type documented struct{ *http.Transport }

func (d documented) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.Transport.RoundTrip(r)
	if err == nil {
		description.look(r, answer)
	}
	return answer, err
}

var ownPaths = []string{"/bff/", "/oauth2/", "/.well-known/", "/healthz", "/readyz", "/metrics", "/admin/"}

func (o *openAPI) look(r *http.Request, answer *http.Response) {
	path := r.URL.Path
	if kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); kind == "text/event-stream" || answer.StatusCode == http.StatusSwitchingProtocols {
		return
	}
	own := false
	for _, prefix := range ownPaths {
		own = own || strings.HasPrefix(path, prefix)
	}
	for _, with := range []string{"/bff/callback/", "/bff/sessions/", "/bff/backchannel-logout/"} {
		if strings.HasPrefix(path, with) {
			path = with
		}
	}
	kind := fmt.Sprintf("%s %s %d", r.Method, path, answer.StatusCode)
	o.mu.Lock()
	own = own && o.ours[r.URL.Host] && o.answered[kind] < perKind
	if own {
		o.answered[kind]++
	}
	o.mu.Unlock()
	if !own {
		return
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4<<20))
	_ = answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(body))
	canary.watch(r, answer, string(body))
	// What is no endpoint, or not its method, is the guard's to refuse: the description has nothing on it.
	if r.Method == http.MethodHead || r.Method == http.MethodOptions || answer.StatusCode == http.StatusMethodNotAllowed || answer.StatusCode == http.StatusNotFound {
		return
	}
	if err != nil {
		return // the connection broke, as some tests mean it to
	}
	seen := *answer
	seen.Body = io.NopCloser(bytes.NewReader(body))
	o.mu.Lock()
	defer o.mu.Unlock()
	if ok, faults := o.is.ValidateHttpResponse(r, &seen); !ok {
		for _, f := range faults {
			o.faults = append(o.faults, fmt.Sprintf("%s: %s %s %v", kind, f.Message, f.Reason, f.SchemaValidationErrors))
		}
	}
}

// verdict says what was not as described, and whether anything was looked at.
func (o *openAPI) verdict() (faults []string, kinds int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.faults, len(o.answered)
}
