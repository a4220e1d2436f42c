package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/idptest"
	"cloakroom/session/sessiontest"
)

// query is a PromQL expression that is looked at or waited for.
type query struct {
	of, expr string
	legend   []string // labels that its text names
}

// The dashboard and the alerts, asked of a real Prometheus that scrapes the real binary, after it has met with all that they
// look at: a misspelt metric, label or value is a query that never finds anything. Then what it measured and told, compared with
// the contract.
func TestTheDashboardAndTheAlertsNameWhatIsMeasured(t *testing.T) {
	t.Parallel()
	server := ofPrometheus(t, "prometheus")
	redis := sessiontest.StartRedis(t)
	f := newFleet(t, plan{
		store: "redis://" + redis.Addr, inMain: `allow: 'id.email.startsWith("alice")'`,
		settings: "session: {refresh_every: 1s, refresh_before: 1s}\nlimits: {login_per_minute: 20}",
	})
	app := f.replicas[0]
	listen := fmt.Sprintf("127.0.0.1:%d", app.admin)
	app.reconfigure(t, fmt.Sprintf("admin: {listen: %q}", listen), fmt.Sprintf("admin: {listen: %q, token: operator}", listen))
	f.serve(t)
	p := startPrometheus(t, server, listen)
	f.meetsEverything(t, redis)

	p.answers(t, query{of: "what was met with at last", expr: `rate(cloakroom_http_requests_total{code="429"}[1m])`})

	dashboard := dashboardQueries(t)
	for _, q := range dashboard {
		p.answers(t, q)
	}
	for _, q := range append(dashboard, alertQueries(t)...) {
		p.knowsItsSelectors(t, q)
	}
	p.evaluatesAlerts(t)
	app.isTheContracts(t)
}

// meetsEverything leads Cloakroom through what the dashboard and the alerts look at.
func (f *fleet) meetsEverything(t *testing.T, redis *sessiontest.Redis) {
	t.Helper()
	app := f.replicas[0]
	cookie := f.signIn(t)
	minted := want(t, 5*time.Second, "a token is minted", app, "/api/orders", cookie, works).body
	token := app.issuer() + "/oauth2/token"
	exchange := func(client, password, scope string) int {
		form := url.Values{"grant_type": {tokenExchange}, "subject_token": {minted}, "subject_token_type": {typeAccess}, "audience": {"orders"}}
		if scope != "" {
			form.Set("scope", scope)
		}
		status, _ := app.form(t, token, client, password, form)
		return status
	}
	for status, got := range map[int]int{
		http.StatusOK:           exchange("gateway", gatewaySecret, ""),
		http.StatusBadRequest:   exchange("gateway", gatewaySecret, "nothing:such"),
		http.StatusUnauthorized: exchange("nobody", "knows", ""),
	} {
		if got != status {
			t.Errorf("an exchange that should end with %d ends with %d", status, got)
		}
	}
	for path, status := range map[string]int{"/bff/callback/main?code=a&state=b": http.StatusBadRequest, "/bff/user": http.StatusUnauthorized} {
		if a := app.try(t.Context(), http.MethodGet, path, ""); a.status != status {
			t.Errorf("%s", a)
		}
	}
	if _, err := f.enter(t.Context(), app, newBrowser(t), "sam"); err == nil {
		t.Error("sam was let in")
	}
	if out := app.try(t.Context(), http.MethodPost, "/bff/logout", f.signIn(t)); !works(out) {
		t.Error(out)
	}
	if status := app.signOut(t, f.provider.LogoutToken(clientID, "nobody", "", nil)); status != http.StatusOK {
		t.Errorf("back-channel logout: %d", status)
	}
	if status, _ := askAdmin(t, app, "/admin/keys"); status != http.StatusUnauthorized {
		t.Errorf("/admin/keys answers %d", status)
	}
	measured := func(what, series string) {
		t.Helper()
		eventually(t, 15*time.Second, what, func() bool {
			_ = app.try(t.Context(), http.MethodGet, "/api/orders", cookie)
			_, metrics := askAdmin(t, app, "/metrics")
			return strings.Contains(metrics, series)
		})
	}

	// The provider: well, without an answer, with one that makes no sense.
	measured("tokens are refreshed", `cloakroom_refresh_total{outcome="ok",provider="main"}`)
	f.provider.Set(idptest.Misbehave{Answer: idptest.At(idptest.Status(http.StatusServiceUnavailable, "later"), idptest.Token)})
	measured("a refresh gets no answer", `cloakroom_refresh_total{outcome="unavailable",provider="main"}`)
	if _, err := f.enter(t.Context(), app, newBrowser(t), "alice"); err == nil {
		t.Error("a sign-in succeeds without the provider")
	}
	f.provider.Set(idptest.Misbehave{Answer: idptest.At(idptest.Status(http.StatusOK, "<html>"), idptest.Token)})
	measured("a refresh gets nonsense", `cloakroom_refresh_total{outcome="failed",provider="main"}`)
	f.provider.Set(idptest.Misbehave{Answer: idptest.At(idptest.HangUp, idptest.Token)})
	measured("a refresh gets half an answer", `cloakroom_refresh_total{outcome="uncertain",provider="main"}`)
	f.provider.Set(idptest.Misbehave{Answer: idptest.At(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		idptest.Status(http.StatusTooManyRequests, "slowly")(w, r)
	}, idptest.Token)})
	measured("the provider asks for patience", `cloakroom_refresh_total{outcome="throttled",provider="main"}`)

	// The store, away; what begins now cannot be told.
	redis.Kill()
	want(t, 5*time.Second, "the replica cannot tell", app, "/api/orders", cookie, reply.cannotTell)
	if status := exchange("gateway", gatewaySecret, ""); status != http.StatusServiceUnavailable {
		t.Errorf("an exchange without the store: %d", status)
	}
	redis.Restart(t)

	// The store, written to by somebody else. The replica finds out when it asks again what it has in memory.
	cookie = f.signInWell(t)
	redis.Do(t, "SETRANGE", keyInRedis(t, app, cookie), "100", "not of Cloakroom") // within what is sealed
	measured("a record does not open", `cloakroom_store_operations_total{op="open",outcome="tampered"} 1`)

	cookie = f.signInWell(t)
	f.provider.Set(idptest.Misbehave{Answer: idptest.At(idptest.Status(http.StatusBadRequest, `{"error":"invalid_grant"}`), idptest.Token)})
	measured("a refresh is refused", `cloakroom_refresh_total{outcome="refused",provider="main"}`)
	for range 40 {
		if a := app.try(t.Context(), http.MethodGet, "/bff/login", "", "Accept", "text/html"); a.status == http.StatusTooManyRequests {
			return
		}
	}
	t.Error("sign-ins are not limited")
}

// signInWell signs alice in at a provider with good manners again, and with the store back.
func (f *fleet) signInWell(t *testing.T) (cookie string) {
	t.Helper()
	f.provider.Set(idptest.Misbehave{})
	eventually(t, 10*time.Second, "alice signs in again", func() bool {
		var err error
		cookie, err = f.enter(t.Context(), f.replicas[0], newBrowser(t), "alice")
		return err == nil
	})
	return cookie
}

// prom is a Prometheus that scrapes one replica twice a second and evaluates the alerts.
type prom struct{ url string }

func startPrometheus(t *testing.T, program, target string) prom {
	t.Helper()
	rules, err := filepath.Abs("../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir, listen := t.TempDir(), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	configuration := fmt.Sprintf(`
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: [%q]
scrape_configs: [{job_name: cloakroom, static_configs: [{targets: [%q]}]}]
`, rules, target)
	if err := os.WriteFile(dir+"/prometheus.yaml", []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, nil, program, "--config.file="+dir+"/prometheus.yaml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+listen, "--log.level=warn")
	p := prom{"http://" + listen}
	eventually(t, 20*time.Second, "Prometheus is ready", func() bool { return answers(http.DefaultClient, p.url+"/-/ready") })
	return p
}

// ask asks its API, and tells what that says is wrong.
func (p prom) ask(t *testing.T, path string, parameters url.Values, into any) (problem string) {
	t.Helper()
	var answer struct {
		Error string
		Data  json.RawMessage
	}
	_, body := fetch(t, p.url+path+"?"+parameters.Encode())
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%s: %v in %.300s", path, err, body)
	}
	if answer.Error == "" {
		if err := json.Unmarshal(answer.Data, into); err != nil {
			t.Fatalf("%s: %v in %s", path, err, answer.Data)
		}
	}
	return answer.Error
}

// series are the labels of what a selector finds.
func (p prom) series(t *testing.T, selector string) []map[string]string {
	t.Helper()
	var found []map[string]string
	if problem := p.ask(t, "/api/v1/series", url.Values{"match[]": {selector}}, &found); problem != "" {
		t.Errorf("%s: %s", selector, problem)
	}
	return found
}

var (
	metricName = regexp.MustCompile(`\b(?:cloakroom|process|go)_\w+\b`)
	selection  = regexp.MustCompile(`\b((?:cloakroom|process|go)_\w+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)(=~|!~|!=|=)"([^"]*)"`)
	legendary  = regexp.MustCompile(`\{\{(\w+)\}\}`)
)

// unprovoked are values that no test of this room can bring about, and the source that has them.
var unprovoked = map[string]string{"server_error": "../exchange/error.go", "expired": "../exchange/error.go"}

// ofTheScrape are labels that are not the binary's: Prometheus or the cluster sets them.
var ofTheScrape = []string{"job", "instance", "namespace"}

// knowsItsSelectors: each metric is there, with each label that the query asks of it or groups by, and each value occurs.
func (p prom) knowsItsSelectors(t *testing.T, q query) {
	t.Helper()
	labels := slices.Clone(ofTheScrape)
	for _, name := range metricName.FindAllString(q.expr, -1) {
		found := p.series(t, name)
		if len(found) == 0 {
			t.Errorf("%s: nothing measures %s", q.of, name)
		}
		for _, one := range found {
			labels = append(labels, slices.Collect(maps.Keys(one))...)
		}
	}
	for _, group := range grouping.FindAllStringSubmatch(q.expr, -1) {
		for label := range strings.SplitSeq(group[1], ", ") {
			if !slices.Contains(labels, label) {
				t.Errorf("%s: it groups by %s, which none of its metrics has", q.of, label)
			}
		}
	}
	for _, one := range selection.FindAllStringSubmatch(q.expr, -1) {
		for _, m := range matcher.FindAllStringSubmatch(one[2], -1) {
			label, operator, values := m[1], m[2], []string{m[3]}
			if strings.HasSuffix(operator, "~") {
				values = strings.Split(m[3], "|")
			}
			for _, value := range values {
				if file, ok := unprovoked[value]; ok {
					if !strings.Contains(contentOf(t, file), fmt.Sprintf("%q", value)) {
						t.Errorf("%s: %s does not speak of %s", q.of, file, value)
					}
				} else if len(p.series(t, fmt.Sprintf("%s{%s=~%q}", one[1], label, value))) == 0 {
					t.Errorf("%s: no %s has %s=%q", q.of, one[1], label, value)
				}
			}
		}
	}
	kept := slices.Clone(labels)
	if strings.Contains(q.expr, "by (") {
		kept = labelsKept(q.expr)
	}
	for _, label := range q.legend {
		if !slices.Contains(kept, label) {
			t.Errorf("%s: its legend has %s, which the query does not keep", q.of, label)
		}
	}
}

// answers: the query finds something, once what it looks at has been scraped twice.
func (p prom) answers(t *testing.T, q query) {
	t.Helper()
	// What it would find in any case, and what it finds only where GOMEMLIMIT is set, is not asked for.
	expr := strings.NewReplacer(" or vector(0)", "", " < 1e15", "").Replace(q.expr)
	var found struct{ Result []json.RawMessage }
	for deadline := time.Now().Add(15 * time.Second); len(found.Result) == 0; time.Sleep(200 * time.Millisecond) {
		if problem := p.ask(t, "/api/v1/query", url.Values{"query": {expr}}, &found); problem != "" {
			t.Errorf("%s: %s", q.of, problem)
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s finds nothing: %s", q.of, expr)
			return
		}
	}
}

// evaluatesAlerts: every alert is evaluated without an error.
func (p prom) evaluatesAlerts(t *testing.T) {
	t.Helper()
	var loaded struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	all := alerts(t)
	eventually(t, 10*time.Second, "every alert has been evaluated", func() bool {
		if problem := p.ask(t, "/api/v1/rules", nil, &loaded); problem != "" || len(loaded.Groups) != 1 || len(loaded.Groups[0].Rules) != len(all) {
			t.Fatalf("%s; of %d alerts Prometheus has %+v", problem, len(all), loaded)
		}
		for _, r := range loaded.Groups[0].Rules {
			if r.Health == "err" {
				t.Errorf("%s: %s", r.Name, r.LastError)
			}
			if r.Health == "unknown" {
				return false
			}
		}
		return true
	})
}

func alertQueries(t *testing.T) []query {
	t.Helper()
	var all []query
	for _, a := range alerts(t) {
		all = append(all, query{of: "alert " + a.Alert, expr: a.Expr})
	}
	return all
}

// dashboardQueries are those of deploy/grafana, with Grafana's variables filled in.
func dashboardQueries(t *testing.T) []query {
	t.Helper()
	var file struct {
		Annotations struct{ List []struct{ Name, Expr string } }
		Templating  struct {
			List []struct{ Name, Type, Definition string }
		}
		Panels []struct {
			ID          int
			Type, Title string
			Datasource  struct{ UID string }
			GridPos     struct{ X, Y, W, H int }
			Targets     []struct{ Expr, LegendFormat string }
			FieldConfig struct{ Defaults struct{ Unit string } }
		}
	}
	if err := json.Unmarshal([]byte(contentOf(t, "../deploy/grafana/cloakroom.json")), &file); err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$instance", ".*")
	var all []query
	seen, taken := map[int]bool{}, map[[2]int]string{}
	for _, panel := range file.Panels {
		if seen[panel.ID] {
			t.Errorf("two panels have the id %d", panel.ID)
		}
		seen[panel.ID] = true
		for x := panel.GridPos.X; x < panel.GridPos.X+panel.GridPos.W; x++ {
			for y := panel.GridPos.Y; y < panel.GridPos.Y+panel.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s stands where %q stands", panel.Title, other)
				}
				taken[[2]int{x, y}] = panel.Title
			}
		}
		if panel.Type == "row" {
			continue
		}
		if panel.Datasource.UID != "${datasource}" || len(panel.Targets) == 0 || panel.FieldConfig.Defaults.Unit == "" {
			t.Errorf("panel %s: data source %q, %d queries, unit %q", panel.Title, panel.Datasource.UID, len(panel.Targets), panel.FieldConfig.Defaults.Unit)
		}
		for _, target := range panel.Targets {
			q := query{of: "panel " + panel.Title, expr: filled.Replace(target.Expr)}
			for _, label := range legendary.FindAllStringSubmatch(target.LegendFormat, -1) {
				q.legend = append(q.legend, label[1])
			}
			all = append(all, q)
		}
	}
	for _, v := range file.Templating.List {
		if v.Type == "query" {
			values, _, _ := strings.Cut(strings.TrimPrefix(v.Definition, "label_values("), ", ")
			all = append(all, query{of: "variable " + v.Name, expr: filled.Replace(values)})
		}
	}
	if len(all) < 30 || len(file.Annotations.List) != 1 {
		t.Fatalf("%d queries, %d annotations", len(all), len(file.Annotations.List))
	}
	return all
}
