package demo

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
)

// ports are those of everything that runs in one process, on loopback.
type ports struct {
	public, internal, admin, provider, orders, payments int
}

// places are the URLs of everything that runs.
type places struct {
	public, internal, provider, issuer, orders, payments string
}

// places tells how everything is reached. The browser knows Cloakroom as localhost and the provider as 127.0.0.1: cookies do
// not tell ports apart, so two names keep each one's cookies to itself. The provider's issuer is on yet another name than its
// endpoints, as a Cognito's is.
func (p ports) places() places {
	at := func(host string, port int) string { return fmt.Sprintf("http://%s:%d", host, port) }
	return places{
		public: at("localhost", p.public), internal: at("127.0.0.1", p.internal),
		provider: at("127.0.0.1", p.provider), issuer: at("localhost", p.provider) + pool,
		orders: at("127.0.0.1", p.orders), payments: at("127.0.0.1", p.payments),
	}
}

// pool is the path of the provider's issuer: a Cognito's is named after its user pool.
const pool = "/eu-west-1_Cloakroom"

// credentials are made for one run; the configuration names them as variables and holds none of them.
type credentials struct{ client, orders string }

func newCredentials() credentials { return credentials{random(), random()} }

func random() string {
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(raw)
}

const (
	clientID             = "1example23456789"
	clientSecretVariable = "DEMO_CLIENT_SECRET" //nolint:gosec // the name of a variable
	ordersSecretVariable = "DEMO_ORDERS_SECRET" //nolint:gosec // the name of a variable
)

func (c credentials) lookup(name string) (string, bool) {
	switch name {
	case clientSecretVariable:
		return c.client, true
	case ordersSecretVariable:
		return c.orders, true
	}
	return "", false
}

// configuration writes the file that Cloakroom is started with: a team's own would look like it.
func configuration(p ports, spa string) string {
	var out strings.Builder
	at := p.places()
	fmt.Fprintf(&out, `# What "cloakroom demo" runs on. The two variables are made anew at every start.
public: {url: %q, listen: "127.0.0.1:%d"}
internal: {url: %q, listen: "127.0.0.1:%d"}
admin: {listen: "127.0.0.1:%d"}
providers:
  demo:
    issuer: %q
    profile: cognito
    client_id: %s
    client_secret: "${%s}"
    scopes: [openid, email, profile, orders-api/read, payments-api/read]
routes:
  - {path: /api/orders, strip_prefix: /api, upstream: %q, token: {audience: orders}}
  - {path: /demo, upstream: %q, token: access}   # the provider's own report to the page
  - {path: /, spa: %q}
exchange:
  audiences:
`,
		at.public, p.public, at.internal, p.internal, p.admin, at.issuer, clientID, clientSecretVariable, at.orders, at.provider, spa)
	for _, audience := range policy() {
		fmt.Fprintf(&out, "    %s:\n      scopes:\n", audience.name)
		writeRules(&out, audience.scopes)
		out.WriteString("      claims:\n")
		writeRules(&out, audience.claims)
	}
	fmt.Fprintf(&out, `  clients:
    %s:
      auth: {secret: "${%s}"}
      audiences: [%s]
      actor: implicit
drain: {delay: 0s, timeout: 2s}   # nobody waits for another replica to take over
`, orders, ordersSecretVariable, payments)
	return out.String()
}

func writeRules(out *strings.Builder, rules []rule) {
	for _, r := range rules {
		fmt.Fprintf(out, "        %s: '%s'\n", r.name, strings.ReplaceAll(r.cel, "'", "''"))
	}
}
