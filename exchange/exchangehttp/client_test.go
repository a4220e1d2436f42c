package exchangehttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/exchange"
	"cloakroom/exchange/exchangehttp"
	"cloakroom/secret"
	"cloakroom/token"
)

// through answers requests in this process, without a network.
type through func(*http.Request) (*http.Response, error)

func (f through) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// exchanger is an exchange that grants everybody a token that names whom it is for.
type exchanger struct {
	asked   atomic.Int64
	answer  func(n int64, r *http.Request) (status int, header http.Header, body string) // nil: grants
	expires int64
}

func (x *exchanger) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	n := x.asked.Add(1)
	status, header, body := http.StatusOK, http.Header{}, ""
	if x.answer != nil {
		status, header, body = x.answer(n, r)
	}
	if status == http.StatusOK && body == "" {
		body = grant(fmt.Sprintf("%d for %s", n, r.PostForm.Get("subject_token")), x.expires)
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func grant(value string, expires int64) string {
	body, _ := json.Marshal(map[string]any{
		"access_token": value, "issued_token_type": exchange.AccessToken, "token_type": "Bearer", "expires_in": expires, "scope": "a b",
	})
	return string(body)
}

func clientAt(t testing.TB, base http.RoundTripper, change ...func(*exchangehttp.ClientConfig)) *exchangehttp.Client {
	t.Helper()
	cfg := exchangehttp.ClientConfig{
		Endpoint: "https://cloakroom:8081/oauth2/token", ID: "orders", Secret: "orders-secret", HTTP: &http.Client{Transport: base},
	}
	for _, c := range change {
		c(&cfg)
	}
	client, err := exchangehttp.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (w *world) client(id string, clientSecret secret.Text) *exchangehttp.Client {
	w.t.Helper()
	return clientAt(w.t, through(func(r *http.Request) (*http.Response, error) {
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, r)
		return rec.Result(), nil
	}), func(c *exchangehttp.ClientConfig) { c.ID, c.Secret = id, clientSecret })
}

func TestClientAtTheRealExchange(t *testing.T) {
	w := newWorld(t)
	orders := w.client("orders", "orders-secret")
	got, err := orders.Exchange(t.Context(), exchangehttp.Request{Subject: w.signIn("alice", "orders"), Audience: []string{"payments"}})
	if err != nil {
		t.Fatal(err)
	}
	_, claims, err := token.Verify(t.Context(), got.Value.Reveal(), token.Rules{Issuer: us, Algorithms: w.keys.Algorithms(), Types: []string{"at+jwt"}, Audiences: []string{"payments"}}, w.keys, w.now)
	if err != nil || claims["sub"] != "alice" || claims["email"] != "alice@example.com" || !reflect.DeepEqual(claims["act"], map[string]any{"iss": us, "sub": "orders"}) {
		t.Errorf("%v, %v", claims, err)
	}
	if left := time.Until(got.Expires); got.Type != exchange.AccessToken || !slices.Equal(got.Scope, token.Scope{"payments:read"}) || left < 4*time.Minute || left > 5*time.Minute {
		t.Errorf("%+v", got)
	}
	if printed := fmt.Sprintf("%v %+v", got, got); strings.Contains(printed, got.Value.Reveal()) {
		t.Errorf("it prints its token: %s", printed)
	}

	everything := exchangehttp.Request{
		Subject: w.access(nil), SubjectType: exchange.AccessToken, SubjectIDToken: w.id(nil), SubjectIssuer: "main",
		Actor: w.access(token.Claims{"sub": "sam", "groups": []string{"support"}}), Resource: nil, Audience: []string{"payments"},
		Scope: token.Scope{"payments:read"}, Details: map[string]any{"ticket": "T1"}, Type: exchange.JWT,
	}
	if got, err = w.client("support", "support-secret").Exchange(t.Context(), everything); err != nil || got.Type != exchange.JWT {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestClientTellsWhatTheExchangeRefused(t *testing.T) {
	for name, c := range map[string]struct {
		request exchangehttp.Request
		secret  secret.Text
		down    bool
		want    exchangehttp.Error
	}{
		"a target that is not the client's": {
			request: exchangehttp.Request{Audience: []string{"ledger"}},
			want:    exchangehttp.Error{Status: 400, Code: exchange.InvalidTarget, Description: "audience and resource must name targets this client may ask for"},
		},
		"more scope than is granted": {
			request: exchangehttp.Request{Audience: []string{"payments"}, Scope: token.Scope{"payments:write"}},
			want:    exchangehttp.Error{Status: 400, Code: exchange.InvalidScope, Description: "scope asks for more than is granted"},
		},
		"a subject of nobody's": {
			request: exchangehttp.Request{Subject: "abc", Audience: []string{"payments"}},
			want:    exchangehttp.Error{Status: 400, Code: exchange.InvalidRequest, Description: "subject_token is not acceptable"},
		},
		"a wrong secret": {
			request: exchangehttp.Request{Audience: []string{"payments"}}, secret: "wrong",
			want: exchangehttp.Error{Status: 401, Code: exchange.InvalidClient, Description: "client authentication failed"},
		},
		"a store that is down": {
			request: exchangehttp.Request{Audience: []string{"payments"}}, down: true,
			want: exchangehttp.Error{Status: 503, Code: exchange.TemporarilyUnavailable, Description: "try again", RetryAfter: 2 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.secret == "" {
				c.secret = "orders-secret"
			}
			if c.request.Subject == "" {
				c.request.Subject = w.signIn("alice", "orders")
			}
			w.sessions.down = c.down
			_, err := w.client("orders", c.secret).Exchange(t.Context(), c.request)
			var refused *exchangehttp.Error
			if !errors.As(err, &refused) || *refused != c.want {
				t.Fatalf("%v, want %v", err, &c.want)
			}
			if refused.Temporary() != c.down {
				t.Errorf("temporary: %v", refused.Temporary())
			}
			if text := err.Error(); strings.Contains(text, c.request.Subject.Reveal()) || strings.Contains(text, c.secret.Reveal()) {
				t.Errorf("the error tells a secret: %s", text)
			}
		})
	}
}

func TestClientBelievesNoNonsense(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header http.Header
		body   string
		want   string
	}{
		"no JSON":                      {200, nil, "<html>", "exchange: the answer is not the JSON it must be"},
		"no token":                     {200, nil, `{"token_type":"Bearer","issued_token_type":"x"}`, "exchange: an answer without a token, or with one that is too long"},
		"a token that is too long":     {200, nil, grant(strings.Repeat("a", token.MaxSize+1), 60), "exchange: an answer without a token, or with one that is too long"},
		"a token bound to a key":       {200, nil, strings.Replace(grant("t", 60), "Bearer", "DPoP", 1), "exchange: token_type is not Bearer: the token cannot be used by who bears it"},
		"a token that is none":         {200, nil, strings.Replace(grant("t", 60), "Bearer", "N_A", 1), "exchange: token_type is not Bearer: the token cannot be used by who bears it"},
		"no issued_token_type":         {200, nil, `{"access_token":"t","token_type":"bearer"}`, "exchange: an answer without issued_token_type"},
		"an answer without end":        {200, nil, strings.Repeat(" ", 1<<20), "exchange: the answer is too large"},
		"an error page of a proxy":     {502, nil, "<html>", "exchange answered 502"},
		"an error that is no code":     {400, nil, `{"error":"two words","error_description":"x"}`, "exchange answered 400"},
		"a code that is too long":      {400, nil, `{"error":"` + strings.Repeat("x", 65) + `"}`, "exchange answered 400"},
		"a code just as long":          {400, nil, `{"error":"` + strings.Repeat("x", 64) + `"}`, "exchange answered 400 " + strings.Repeat("x", 64)},
		"an error cut off":             {400, nil, `{"error":"invalid_scope"`, "exchange answered 400"},
		"a description that is long":   {400, nil, `{"error":"invalid_scope","error_description":"` + strings.Repeat("x", 513) + `"}`, "exchange answered 400 invalid_scope"},
		"a description just as long":   {400, nil, `{"error":"invalid_scope","error_description":"` + strings.Repeat("x", 512) + `"}`, "exchange answered 400 invalid_scope: " + strings.Repeat("x", 512)},
		"all that may be printed":      {400, nil, `{"error":"invalid_scope","error_description":" ~\u007f"}`, "exchange answered 400 invalid_scope:  ~?"},
		"a description for a terminal": {400, nil, `{"error":"invalid_scope","error_description":"a\u001b[2Jb\nc"}`, "exchange answered 400 invalid_scope: a?[2Jb?c"},
		"a redirect":                   {307, http.Header{"Location": {"https://evil.example.com/"}}, "", "exchange answered 307"},
	} {
		t.Run(name, func(t *testing.T) {
			x := &exchanger{answer: func(int64, *http.Request) (int, http.Header, string) { return c.status, c.header, c.body }}
			_, err := clientAt(t, x).Exchange(t.Context(), exchangehttp.Request{Subject: "s"})
			if err == nil || err.Error() != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
			if n := x.asked.Load(); n != 1 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
}

// What is just within a bound is believed.
func TestClientReadsAnswersJustWithinTheirBounds(t *testing.T) {
	longest := strings.Repeat("a", token.MaxSize)
	for name, body := range map[string]string{
		"a token of just the most":  grant(longest, 60),
		"an answer of just 256 KiB": grant("t", 60) + strings.Repeat(" ", 256<<10-len(grant("t", 60))),
	} {
		x := &exchanger{answer: func(int64, *http.Request) (int, http.Header, string) { return 200, nil, body }}
		if _, err := clientAt(t, x).Exchange(t.Context(), exchangehttp.Request{Subject: "s"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := clientAt(t, &exchanger{}).Exchange(t.Context(), exchangehttp.Request{Subject: "s"}); err != nil || !got.Expires.IsZero() {
		t.Errorf("expires_in 0: %v, %v", got.Expires, err)
	}
}

func TestClientKeepsAsManyAsItIsTold(t *testing.T) {
	for most, asked := range map[int]int64{0: 2, 1: 3, 2: 2} {
		x := &exchanger{expires: 300}
		client := clientAt(t, x, func(c *exchangehttp.ClientConfig) { c.Cached = most })
		for _, subject := range []secret.Text{"a", "b", "a"} {
			if _, err := client.Exchange(t.Context(), exchangehttp.Request{Subject: subject}); err != nil {
				t.Fatal(err)
			}
		}
		if n := x.asked.Load(); n != asked {
			t.Errorf("of a, b and a, with %d kept, %d were asked for, want %d", most, n, asked)
		}
	}
}

func TestClientWaitsAsItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for value, want := range map[string]time.Duration{
			"7": 7 * time.Second, "": 0, "-1": 0, "soon": 0, "999999999": time.Hour,
			time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat): 30 * time.Second,
			time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat):     0,
		} {
			x := &exchanger{answer: func(int64, *http.Request) (int, http.Header, string) {
				return 429, http.Header{"Retry-After": {value}}, `{"error":"temporarily_unavailable"}`
			}}
			_, err := clientAt(t, x).Exchange(t.Context(), exchangehttp.Request{Subject: "s"})
			var refused *exchangehttp.Error
			if !errors.As(err, &refused) || refused.RetryAfter != want || !refused.Temporary() {
				t.Errorf("Retry-After %q: %+v, want %v", value, err, want)
			}
		}
	})
}

func TestClientIsConfiguredSafely(t *testing.T) {
	sound := exchangehttp.ClientConfig{Endpoint: "https://cloakroom:8081/oauth2/token", ID: "orders", Secret: "s"}
	for name, c := range map[string]struct {
		change func(*exchangehttp.ClientConfig)
		ok     bool
	}{
		"https":                    {func(*exchangehttp.ClientConfig) {}, true},
		"http on this machine":     {func(c *exchangehttp.ClientConfig) { c.Endpoint = "http://127.0.0.1:8081/oauth2/token" }, true},
		"http on this machine, v6": {func(c *exchangehttp.ClientConfig) { c.Endpoint = "http://[::1]:8081/oauth2/token" }, true},
		"http where that is accepted": {func(c *exchangehttp.ClientConfig) {
			c.Endpoint, c.PlainHTTP = "http://cloakroom:8081/oauth2/token", true
		}, true},
		"http to elsewhere":        {func(c *exchangehttp.ClientConfig) { c.Endpoint = "http://cloakroom:8081/oauth2/token" }, false},
		"http to a deceptive name": {func(c *exchangehttp.ClientConfig) { c.Endpoint = "http://localhost.evil.example.com/oauth2/token" }, false},
		"http to another address":  {func(c *exchangehttp.ClientConfig) { c.Endpoint = "http://192.0.2.1:8081/oauth2/token" }, false},
		"http to localhost":        {func(c *exchangehttp.ClientConfig) { c.Endpoint = "http://localhost:8081/oauth2/token" }, true},
		"no URL at all":            {func(c *exchangehttp.ClientConfig) { c.Endpoint = "https://[cloakroom/oauth2/token" }, false},
		"another scheme":           {func(c *exchangehttp.ClientConfig) { c.Endpoint = "file:///oauth2/token" }, false},
		"a relative URL":           {func(c *exchangehttp.ClientConfig) { c.Endpoint = "/oauth2/token" }, false},
		"credentials in the URL":   {func(c *exchangehttp.ClientConfig) { c.Endpoint = "https://a:b@cloakroom/oauth2/token" }, false},
		"a query":                  {func(c *exchangehttp.ClientConfig) { c.Endpoint += "?a=b" }, false},
		"no id":                    {func(c *exchangehttp.ClientConfig) { c.ID = "" }, false},
		"no secret":                {func(c *exchangehttp.ClientConfig) { c.Secret = "" }, false},
	} {
		cfg := sound
		c.change(&cfg)
		if _, err := exchangehttp.NewClient(cfg); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	client := clientAt(t, &exchanger{})
	for name, r := range map[string]exchangehttp.Request{
		"no subject": {}, "an actor's type alone": {Subject: "s", ActorType: exchange.JWT}, "details that are no JSON": {Subject: "s", Details: map[string]any{"f": func() {}}},
	} {
		if _, err := client.Exchange(t.Context(), r); err == nil {
			t.Errorf("%s is sent", name)
		}
	}
}

func TestClientKeepsATokenWhileItIsGood(t *testing.T) {
	for name, c := range map[string]struct {
		expires      int64
		hit, expired time.Duration // since it was granted
	}{
		"of five minutes, until 10 s before the end":    {300, 289 * time.Second, 290 * time.Second},
		"of ten seconds, until a fifth before the end":  {10, 7999 * time.Millisecond, 8 * time.Second},
		"of no known end, not at all":                   {0, -1, 0},
		"that is over already, not at all":              {-5, -1, 0},
		"of an end that is beyond belief, for one year": {1 << 62, 364 * 24 * time.Hour, 365 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := &exchanger{expires: c.expires}
				client, ask := clientAt(t, x), exchangehttp.Request{Subject: "alice", Audience: []string{"payments"}}
				first, err := client.Exchange(t.Context(), ask)
				if err != nil {
					t.Fatal(err)
				}
				if c.hit >= 0 {
					time.Sleep(c.hit)
					if again, err := client.Exchange(t.Context(), ask); err != nil || again.Value != first.Value || x.asked.Load() != 1 {
						t.Errorf("after %v it was asked for again: %v", c.hit, err)
					}
					time.Sleep(c.expired - c.hit)
				}
				if again, err := client.Exchange(t.Context(), ask); err != nil || again.Value == first.Value || x.asked.Load() != 2 {
					t.Errorf("after %v it is still used: %v", c.expired, err)
				}
			})
		})
	}
}

// A slow answer is not good for longer: its life began no later than it was asked for.
func TestClientCountsFromTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &exchanger{expires: 60, answer: func(int64, *http.Request) (int, http.Header, string) {
			time.Sleep(4 * time.Second)
			return 200, nil, ""
		}}
		began := time.Now()
		got, err := clientAt(t, x).Exchange(t.Context(), exchangehttp.Request{Subject: "alice"})
		if err != nil || !got.Expires.Equal(began.Add(time.Minute)) {
			t.Errorf("expires %v after it was asked for, %v", got.Expires.Sub(began), err)
		}
	})
}

func TestClientRemembersARefusalForAMoment(t *testing.T) {
	for status, remembered := range map[int]bool{400: true, 401: true, 403: true, 408: false, 429: false, 500: false, 503: false} {
		synctest.Test(t, func(t *testing.T) {
			x := &exchanger{expires: 60, answer: func(n int64, _ *http.Request) (int, http.Header, string) {
				if n == 1 {
					return status, nil, `{"error":"invalid_scope"}`
				}
				return 200, nil, ""
			}}
			client, ask := clientAt(t, x), exchangehttp.Request{Subject: "alice"}
			_, first := client.Exchange(t.Context(), ask)
			time.Sleep(1999 * time.Millisecond)
			_, second := client.Exchange(t.Context(), ask)
			if first == nil || (second != nil) != remembered {
				t.Errorf("%d: %v, then %v", status, first, second)
			}
			if _, err := client.Exchange(t.Context(), exchangehttp.Request{Subject: "bob"}); err != nil {
				t.Errorf("%d: another's request fails too: %v", status, err)
			}
			time.Sleep(time.Millisecond)
			if _, err := client.Exchange(t.Context(), ask); err != nil {
				t.Errorf("%d: still refused: %v", status, err)
			}
		})
	}
}

// TestClientKeyIsTheWholeRequest: whatever differs, the answer is another one. A field that is added to Request without
// coming into the key fails here.
func TestClientKeyIsTheWholeRequest(t *testing.T) {
	base := exchangehttp.Request{
		Subject: "s", SubjectType: exchange.AccessToken, SubjectIDToken: "i", SubjectIssuer: "main", Actor: "a", ActorType: exchange.AccessToken,
		Audience: []string{"one", "two"}, Resource: []string{"https://r"}, Scope: token.Scope{"x", "y"}, Details: map[string]any{"k": "v"}, Type: exchange.AccessToken,
	}
	x := &exchanger{expires: 60}
	client := clientAt(t, x)
	ask := func(what string, r exchangehttp.Request, fresh bool) {
		t.Helper()
		before := x.asked.Load()
		if _, err := client.Exchange(t.Context(), r); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if (x.asked.Load() != before) != fresh {
			t.Errorf("%s: asked anew: %v, want %v", what, !fresh, fresh)
		}
	}
	ask("the first", base, true)
	ask("the same again", base, false)
	reordered := base
	reordered.Audience, reordered.Scope = []string{"two", "one"}, token.Scope{"y", "x"}
	ask("the same in another order", reordered, false)
	defaults := base
	defaults.SubjectType, defaults.ActorType = "", ""
	ask("the same with its defaults left out", defaults, false)

	for field := range reflect.TypeFor[exchangehttp.Request]().Fields() {
		changed := base
		value := reflect.ValueOf(&changed).Elem().FieldByIndex(field.Index)
		switch value.Kind() {
		case reflect.String:
			value.SetString(value.String() + "2")
		case reflect.Slice:
			value.Set(reflect.Append(reflect.MakeSlice(value.Type(), 0, 1), reflect.ValueOf("another")))
		case reflect.Map:
			value.Set(reflect.ValueOf(map[string]any{"k": "w"}))
		default:
			t.Fatalf("%s is of a kind this test does not know", field.Name)
		}
		ask("another "+field.Name, changed, true)
	}
	// What joins to the same text must not be the same question.
	ask("a target with a separator in it", exchangehttp.Request{Subject: "s", Audience: []string{"a&audience=b"}}, true)
	ask("two targets", exchangehttp.Request{Subject: "s", Audience: []string{"a", "b"}}, true)
	ask("a scope of two", exchangehttp.Request{Subject: "s", Audience: []string{"a"}, Scope: token.Scope{"b"}}, true)
	ask("as an audience and as a resource", exchangehttp.Request{Subject: "s", Resource: []string{"a", "b"}}, true)
}

func TestClientAsksOnceForTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &exchanger{expires: 60, answer: func(int64, *http.Request) (int, http.Header, string) {
			time.Sleep(time.Second)
			return 200, nil, ""
		}}
		client := clientAt(t, x)
		var all sync.WaitGroup
		for i := range 60 {
			subject := secret.Text(fmt.Sprintf("person-%d", i%3))
			all.Go(func() {
				got, err := client.Exchange(t.Context(), exchangehttp.Request{Subject: subject})
				if err != nil || !strings.HasSuffix(got.Value.Reveal(), " for "+subject.Reveal()) {
					t.Errorf("%s got %q, %v", subject.Reveal(), got.Value.Reveal(), err)
				}
			})
		}
		all.Wait()
		if n := x.asked.Load(); n != 3 {
			t.Errorf("%d requests for three questions", n)
		}
	})
}

func TestClientGivesUpAloneAndNotForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &exchanger{expires: 60}
		slow := through(func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(3 * time.Second):
				return x.RoundTrip(r)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		client, ask := clientAt(t, slow), exchangehttp.Request{Subject: "alice"}
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := client.Exchange(hasty, ask); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the hasty one got %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if _, err := client.Exchange(t.Context(), ask); err != nil {
				t.Errorf("the patient one got %v", err)
			}
		})
		all.Wait()
		if n := x.asked.Load(); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestClientWaitsOnlySoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := through(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		began := time.Now()
		_, err := clientAt(t, hangs).Exchange(t.Context(), exchangehttp.Request{Subject: "alice"})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
