package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/exchange"
	"cloakroom/token"
)

// runExplain is `cloakroom explain`: what would be minted, and why, by the code that mints. Exit 0: granted, 1: refused, 2:
// the question was not understood.
func runExplain(args []string, env Env) int {
	set := env.flags("explain", "--config FILE --audience NAME --access FILE --id FILE [--method METHOD] [--path PATH]   the token of a route"+
		"\n       cloakroom explain --config FILE --client ID --audience NAME …   what a service gets")
	x := explaining{}
	path := set.String("config", "", "the configuration `FILE`")
	set.Func("audience", "`NAME` of who the token is for; may be repeated", appendTo(&x.audience))
	set.Func("resource", "`URI` of who the token is for; may be repeated", appendTo(&x.resource))
	scope := set.String("scope", "", "the `SCOPE` that the client asks for; a route has its own")
	set.StringVar(&x.client, "client", "", "the `ID` of the client that asks; without it, it is the token of the route that has one for the audience")
	set.StringVar(&x.access, "access", "", "a `FILE` with the claims of the provider's access token, as JSON, or the token itself")
	set.StringVar(&x.id, "id", "", "a `FILE` with those of its ID token (and of userinfo)")
	set.BoolVar(&x.session, "session", false, "--access and --id are a session's, and its cookie is the subject")
	set.StringVar(&x.minted, "minted", "", "a `FILE` with those of a token of our own, the subject; --access and --id are then of the session behind it")
	set.StringVar(&x.ticket, "jwt", "", "a `FILE` with those of a further issuer's JWT, the subject")
	set.StringVar(&x.actor, "actor", "", "a `FILE` with those of the actor token")
	details := set.String("details", "", "a `FILE` with request_details")
	set.StringVar(&x.method, "method", "", "the `METHOD` of the browser's request, where the route's token is per request")
	set.StringVar(&x.path, "path", "", "the `PATH` of the browser's request, where that is so, or where several routes have a token for the audience")
	kind := set.String("type", "", "the requested_token_type")
	at := set.String("at", "", "the `TIME` to ask as of, such as 2026-11-25T09:00:00Z; now, unless said")
	asJSON := set.Bool("json", false, "print JSON")
	if code, ok := env.parse(set, args); !ok {
		return code
	}
	x.scope, x.kind, x.now = token.ParseScope(*scope), exchange.TokenType(*kind), time.Now()
	if *path == "" {
		return env.usage("explain: which file? --config FILE")
	}
	if *at != "" {
		var err error
		if x.now, err = time.Parse(time.RFC3339, *at); err != nil {
			return env.usage("explain: --at: %q is not a time such as 2026-11-25T09:00:00Z", *at)
		}
	}
	if *details != "" {
		claims, err := claimsIn(*details)
		if err != nil {
			return env.usage("explain: --details: %v", err)
		}
		x.details = claims
	}
	if err := x.load(*path, env); err != nil {
		return env.usage("explain: %v", err)
	}
	d, err := x.decide()
	if err != nil {
		return env.usage("explain: %v", err)
	}
	if err := x.print(env, d, *asJSON); err != nil {
		return env.usage("explain: %v", err)
	}
	if !d.Granted() {
		return exitFailed
	}
	return exitDone
}

func appendTo(all *[]string) func(string) error {
	return func(one string) error {
		*all = append(*all, one)
		return nil
	}
}

// explaining is a question to be explained.
type explaining struct {
	house  *house // as far as a decision needs it: nothing is opened
	policy *exchange.Policy

	client                            string
	audience, resource                []string
	scope                             token.Scope
	kind                              exchange.TokenType
	details                           map[string]any
	access, id, minted, ticket, actor string // files; "" none
	session                           bool
	method, path                      string
	now                               time.Time
	notes                             []exchange.Step // what comes before the decision, and what could not be examined, claims being no tokens
}

func (x *explaining) note(rule, outcome, because string) {
	x.notes = append(x.notes, exchange.Step{Rule: rule, Outcome: outcome, Because: because})
}

func (x *explaining) load(path string, env Env) error {
	file, err := config.Load(path, env.Lookup)
	if faults, ok := errors.AsType[config.Faults](err); ok {
		return fmt.Errorf("%s: %s; `cloakroom check` tells them", path, count(len(faults), "fault"))
	}
	if err != nil {
		return err
	}
	x.house = &house{file: file, grounds: &grounds{
		opened: file, log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry(), now: func() time.Time { return x.now },
	}}
	if err := x.house.meetProviders(); err != nil {
		return err
	}
	if err := x.house.meetIssuers(); err != nil {
		return err
	}
	x.policy, err = x.house.policy()
	return err
}

// decide asks what the token endpoint would be asked, or the browser's side for its route.
func (x *explaining) decide() (exchange.Decision, error) {
	behind := &sessionBehind{}
	var err error
	if (x.client == "" || x.session || x.minted != "") && (x.access != "" || x.id != "") {
		if behind.evidence, err = x.evidence(); err != nil {
			return exchange.Decision{}, err
		}
		behind.is = true
	}
	service, sign, err := x.service(behind)
	if err != nil {
		return exchange.Decision{}, err
	}
	if x.client == "" {
		return x.forRoute(service, behind)
	}
	if x.method != "" || x.path != "" {
		return exchange.Decision{}, errors.New("--method and --path are for a route, without --client")
	}
	r, err := x.request(behind, sign)
	if err != nil {
		return exchange.Decision{}, err
	}
	return service.Explain(context.Background(), r), nil
}

func (x *explaining) print(env Env, d exchange.Decision, asJSON bool) error {
	d.Trace = append(x.notes, d.Trace...)
	if asJSON {
		text, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			return err
		}
		env.say("%s\n", text)
		return nil
	}
	if d.Granted() {
		env.say("granted\n\n")
	} else {
		env.say("refused: %s: %s\n\n", d.Err.Code, d.Err.Description)
	}
	table := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	for _, step := range d.Trace {
		_, _ = fmt.Fprintf(table, "  %s\t%s\t%s\n", step.Rule, step.Outcome, step.Because)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if !d.Granted() {
		if last := d.Trace[len(d.Trace)-1]; last.Rule == "lifetime" {
			env.say("\nWhat is in the files may be of yesterday: --at TIME asks as of then.\n")
		}
		return nil
	}
	claims, err := json.MarshalIndent(d.Claims, "  ", "  ")
	if err != nil {
		return err
	}
	env.say("\n  %s\n", claims)
	return nil
}

// claimsIn reads a file that holds claims as JSON, or the JWT they are in. Nothing of it is verified.
func claimsIn(path string) (token.Claims, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(string(content))
	if strings.HasPrefix(text, "{") {
		claims, err := token.DecodeClaims([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return claims, nil
	}
	_, claims, err := token.Inspect(text)
	if err != nil {
		return nil, fmt.Errorf("%s: neither one JSON object nor a signed JWT", path)
	}
	return claims, nil
}
