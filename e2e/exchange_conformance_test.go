package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Every number of reference/exchange.md A.2 that applies, over HTTP against the binary.
func TestTheExchangeConforms(t *testing.T) {
	t.Parallel()
	s := newExchangeStack(t, "memory:", nil, exchangePolicy, nil)
	s.alice = s.signIn(t, "alice")
	s.parsesStrictly(t)
	s.takesOnlyGoodSubjects(t)
	s.joinsOnlyWhatBelongsTogether(t)
	s.keepsTheChainOfActors(t)
	s.staysWithinTargetsAndScopes(t)
	s.mintsByTheBook(t)
	s.authenticatesClients(t)
	s.publishesItself(t)
	s.tellsOfItsTokens(t)
	s.leavesNoToken(t) // last: of all that went before
}

// raw is a request as it stands.
type rawCase struct {
	name               string
	method, path, kind string
	body               string
	status             int
	code               string // "" is granted
}

func (s *exchangeStack) parsesStrictly(t *testing.T) {
	const endpoint = "/oauth2/token"
	good := s.form(nil).Encode()
	without := func(name string) string { return s.form(url.Values{name: nil}).Encode() }
	cases := []rawCase{
		{"C-001 GET, with all it takes in the URL", "GET", endpoint + "?" + good, "", "", 405, "invalid_request"},
		{"C-001 PUT", "PUT", endpoint, formKind, good, 405, "invalid_request"},
		{"C-001 DELETE", "DELETE", endpoint, "", "", 405, "invalid_request"},
		{"C-001 the query is never read", "POST", endpoint + "?" + good, formKind, "", 400, "invalid_request"},
		{"C-001 the query adds nothing", "POST", endpoint + "?audience=stock&scope=x", formKind, good, 200, ""},
		{"C-002 JSON", "POST", endpoint, "application/json", text(map[string]string{"grant_type": tokenExchange, "subject_token": s.alice.access, "subject_token_type": typeAccess}), 400, "invalid_request"},
		{"C-002 multipart", "POST", endpoint, "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\n" + tokenExchange + "\r\n--x--\r\n", 400, "invalid_request"},
		{"C-002 no content type", "POST", endpoint, "", good, 400, "invalid_request"},
		{"C-003 unknown parameters, also twice", "POST", endpoint, formKind, good + "&foo=1&foo=2&resource_type=x", 200, ""},
		{"C-004 empty optional parameters", "POST", endpoint, formKind, good + "&actor_token=&actor_token_type=&requested_token_type=&scope=&audience=&resource=&subject_id_token=&subject_issuer=&request_details=", 200, ""},
		{"C-004 an empty mandatory parameter is missing", "POST", endpoint, formKind, s.form(url.Values{"subject_token_type": {""}}).Encode(), 400, "invalid_request"},
		{"C-007 no grant_type", "POST", endpoint, formKind, without("grant_type"), 400, "invalid_request"},
		{"C-007 an empty grant_type", "POST", endpoint, formKind, s.form(url.Values{"grant_type": {""}}).Encode(), 400, "invalid_request"},
		{"C-007 an unknown grant_type", "POST", endpoint, formKind, s.form(url.Values{"grant_type": {"password"}}).Encode(), 400, "unsupported_grant_type"},
		{"C-007 a grant_type in other letters", "POST", endpoint, formKind, s.form(url.Values{"grant_type": {strings.ToUpper(tokenExchange)}}).Encode(), 400, "unsupported_grant_type"},
		{"C-008 a body over 256 KiB", "POST", endpoint, formKind, good + "&x=" + strings.Repeat("y", 256<<10), 413, "invalid_request"},
		{"C-008 ten thousand scopes", "POST", endpoint, formKind, good + "&scope=" + strings.Repeat("a+", 10_000), 400, "invalid_scope"},
		{"C-008 a thousand audiences", "POST", endpoint, formKind, good + strings.Repeat("&audience=orders", 1000), 400, "invalid_request"},
		{"C-008 a subject_token of 200 KiB", "POST", endpoint, formKind, s.form(url.Values{"subject_token": {"eyJ" + strings.Repeat("A", 200<<10)}}).Encode(), 400, "invalid_request"},
		{"C-008 a subject_token of 200 Ki dots", "POST", endpoint, formKind, s.form(url.Values{"subject_token": {strings.Repeat(".", 200<<10)}}).Encode(), 400, "invalid_request"},
		{"C-008 claims nested ten thousand deep", "POST", endpoint, formKind, s.form(url.Values{"subject_token": {s.forge(`{"alg":"RS256","kid":"forge-rsa"}`, strings.Repeat(`{"a":`, 10_000)+"1"+strings.Repeat("}", 10_000))}}).Encode(), 400, "invalid_request"},
		{"C-009 invalid UTF-8", "POST", endpoint, formKind, good + "&scope=%ff%fe", 400, "invalid_request"},
		{"C-009 NUL", "POST", endpoint, formKind, good + "&audience=a%00b", 400, "invalid_request"},
		{"C-009 a line break in a token type", "POST", endpoint, formKind, s.form(url.Values{"subject_token_type": {"a\n{\"msg\":\"audit\"}"}}).Encode(), 400, "invalid_request"},
		{"C-009 broken escapes", "POST", endpoint, formKind, good + "&scope=%zz", 400, "invalid_request"},
		{"C-011 no subject_token", "POST", endpoint, formKind, without("subject_token"), 400, "invalid_request"},
		{"C-012 no subject_token_type", "POST", endpoint, formKind, without("subject_token_type"), 400, "invalid_request"},
		{"C-013 actor_token without actor_token_type", "POST", endpoint, formKind, good + "&actor_token=x", 400, "invalid_request"},
		{"C-014 actor_token_type without actor_token", "POST", endpoint, formKind, good + "&actor_token_type=" + url.QueryEscape(typeAccess), 400, "invalid_request"},
		{"C-015 an unknown subject_token_type", "POST", endpoint, formKind, s.form(url.Values{"subject_token_type": {"urn:example:token"}}).Encode(), 400, "invalid_request"},
		{"C-015 SAML", "POST", endpoint, formKind, s.form(url.Values{"subject_token_type": {"urn:ietf:params:oauth:token-type:saml2"}}).Encode(), 400, "invalid_request"},
		{"C-016 an unknown actor_token_type", "POST", endpoint, formKind, good + "&actor_token=" + s.alice.access + "&actor_token_type=urn:example:token", 400, "invalid_request"},
		{"C-017 an unknown requested_token_type", "POST", endpoint, formKind, good + "&requested_token_type=urn:example:token", 400, "invalid_request"},
		{"C-017 an ID token is not issued", "POST", endpoint, formKind, good + "&requested_token_type=" + typeID, 400, "invalid_request"},
		{"C-017 C-141 an ID-JAG is not issued", "POST", endpoint, formKind, good + "&requested_token_type=urn:ietf:params:oauth:token-type:id-jag", 400, "invalid_request"},
		{"C-020 a refresh token is not issued", "POST", endpoint, formKind, good + "&requested_token_type=" + typeRefresh, 400, "invalid_request"},
		{"C-022 a relative resource", "POST", endpoint, formKind, good + "&resource=/orders", 400, "invalid_target"},
		{"C-022 a resource with a fragment", "POST", endpoint, formKind, good + "&resource=https://orders.internal.example.com%23part", 400, "invalid_target"},
		{"C-022 a resource that is no URI", "POST", endpoint, formKind, good + "&resource=" + url.QueryEscape("http://[broken"), 400, "invalid_target"},
	}
	for _, name := range []string{"grant_type", "subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type", "scope", "client_id"} {
		value := s.form(url.Values{"actor_token": {"x"}, "actor_token_type": {typeAccess}, "requested_token_type": {typeAccess}, "scope": {"orders:read"}, "client_id": {"gateway"}}).Get(name)
		body := s.form(url.Values{name: {value, value}}).Encode()
		cases = append(cases, rawCase{"C-005 " + name + " twice", "POST", endpoint, formKind, body, 400, "invalid_request"})
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			began := time.Now()
			a := s.post(t, tc.method, tc.path, tc.kind, "gateway", tc.body)
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("took %s", took)
			}
			if tc.code == "" {
				if c := s.granted(t, a); c["aud"] != "orders" || c["sub"] != part(s.alice.access, 1)["sub"] || a.text("scope") != "orders:read" {
					t.Errorf("not as without it: %v", c)
				}
				return
			}
			s.refused(t, a, tc.status, tc.code)
			if tc.status == http.StatusMethodNotAllowed && a.header.Get("Allow") != http.MethodPost {
				t.Errorf("Allow: %s", a.header.Get("Allow"))
			}
			for _, name := range []string{"subject_token", "subject_token_type"} {
				if strings.HasSuffix(tc.name, "no "+name) && !strings.Contains(a.text("error_description"), name) {
					t.Errorf("does not name %s: %s", name, a.raw)
				}
			}
		})
	}
	t.Run("C-006 audiences and resources in any order, none dropped", func(t *testing.T) {
		for _, with := range []url.Values{
			{"audience": {"payments", "relay", "long", "brief"}, "resource": {"urn:example:invoices", "https://orders.internal.example.com"}},
			{"audience": {"brief", "long", "orders", "relay", "payments"}, "resource": {"urn:example:invoices"}},
		} {
			c := s.granted(t, s.exchange(t, "gateway", s.form(with)))
			if aud, _ := c["aud"].([]any); !sameTexts(aud, "orders", "payments", "relay", "long", "brief", "invoices") {
				t.Errorf("aud %v", c["aud"])
			}
			if scope, _ := c["scope"].(string); !sameWords(scope, "orders:read payments:read orders-api/read payments-api/read") {
				t.Errorf("scope %v is not the union", c["scope"])
			}
		}
	})
	t.Run("C-018 no type asked for is an access token", func(t *testing.T) {
		if a := s.exchange(t, "gateway", s.form(nil)); s.granted(t, a) == nil || a.text("issued_token_type") != typeAccess {
			t.Error(a.raw)
		}
	})
	t.Run("C-019 a JWT asked for is a JWT", func(t *testing.T) {
		if a := s.exchange(t, "gateway", s.form(url.Values{"requested_token_type": {typeJWT}})); s.granted(t, a) == nil || a.text("issued_token_type") != typeJWT {
			t.Error(a.raw)
		}
	})
}

func sameTexts(got []any, want ...string) bool {
	var texts []string
	for _, one := range got {
		name, _ := one.(string)
		texts = append(texts, name)
	}
	return sameWords(strings.Join(texts, " "), strings.Join(want, " "))
}

func sameWords(got, want string) bool {
	has, wants := map[string]bool{}, strings.Fields(want)
	for word := range strings.FieldsSeq(got) {
		has[word] = true
	}
	for _, word := range wants {
		if !has[word] {
			return false
		}
	}
	return len(has) == len(wants) && len(strings.Fields(got)) == len(wants)
}
