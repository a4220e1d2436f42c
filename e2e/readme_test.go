package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the README shows a service's developer is run as it stands, but for the address.
func TestREADMEExchangesInNode(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(readme), "## In a service")
	_, block, _ := strings.Cut(after, "\n```js\n")
	code, _, found := strings.Cut(block, "\n```\n")
	if !found || !strings.Contains(code, "genericGrantRequest") {
		t.Fatal("the README has no such example")
	}
	s := newExchangeStack(t, "memory:", nil, exchangePolicy, nil)
	alice := s.signIn(t, "alice")
	code = "const subject_token = process.env.SUBJECT;\n" + strings.ReplaceAll(code, "http://cloakroom:8081", s.issuer()) + "\nconsole.log(access_token);\n"
	script := exec.CommandContext(t.Context(), "node", "--input-type=module", "--eval", code)
	script.Env = append(os.Environ(), "SUBJECT="+alice.minted, "ORDERS_SECRET="+secretsOf["orders"], "NODE_EXTRA_CA_CERTS="+filepath.Join(s.dir, "tls.crt"))
	var stderr bytes.Buffer
	script.Stderr = &stderr
	out, err := script.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, stderr.String())
	}
	claims := part(strings.TrimSpace(string(out)), 1)
	act, _ := claims["act"].(map[string]any)
	if claims["aud"] != "payments" || claims["sub"] != part(alice.minted, 1)["sub"] || act["sub"] != "orders" {
		t.Errorf("%v", claims)
	}
}
