package demo

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
)

// places are the addresses of everything that runs. The browser knows Cloakroom as localhost and the provider as 127.0.0.1:
// cookies do not tell ports apart, so two names keep each one's cookies to itself. The provider's issuer is on yet another
// name than its endpoints, as a Cognito's is.
type places struct {
	public, internal, admin, provider, orders, payments int // ports on loopback
}

func (p places) publicURL() string   { return fmt.Sprintf("http://localhost:%d", p.public) }
func (p places) internalURL() string { return fmt.Sprintf("http://127.0.0.1:%d", p.internal) }
func (p places) providerURL() string { return fmt.Sprintf("http://127.0.0.1:%d", p.provider) }
func (p places) issuer() string {
	return fmt.Sprintf("http://localhost:%d/eu-west-1_Cloakroom", p.provider)
}
func (p places) ordersURL() string   { return fmt.Sprintf("http://127.0.0.1:%d", p.orders) }
func (p places) paymentsURL() string { return fmt.Sprintf("http://127.0.0.1:%d", p.payments) }

// credentials are made for one run; the configuration names them as variables and holds none of them.
type credentials struct{ client, orders string }

func newCredentials() credentials { return credentials{random(), random()} }

func random() string {
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(raw)
}

const (
	clientID       = "1example23456789"
	clientVariable = "DEMO_CLIENT_SECRET"
	ordersVariable = "DEMO_ORDERS_SECRET"
)

func (c credentials) lookup(name string) (string, bool) {
	switch name {
	case clientVariable:
		return c.client, true
	case ordersVariable:
		return c.orders, true
	}
	return "", false
}

// configuration writes the file that Cloakroom is started with: a team's own would look like it.
func configuration(p places, spa string) string {
	var out strings.Builder
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
		p.publicURL(), p.public, p.internalURL(), p.internal, p.admin, p.issuer(), clientID, clientVariable,
		p.ordersURL(), p.providerURL(), spa)
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
`, orders, ordersVariable, payments)
	return out.String()
}

func writeRules(out *strings.Builder, rules []rule) {
	for _, r := range rules {
		fmt.Fprintf(out, "        %s: '%s'\n", r.name, strings.ReplaceAll(r.cel, "'", "''"))
	}
}
