//go:build containers

package compose

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestComposeFile(t *testing.T) {
	s := bringUp(t, "cloakroom-test", "docker-compose.yml")
	// One after the other: they share the stack.
	t.Run("a person signs in, and orders calls payments through the exchange", func(t *testing.T) {
		v := s.within(t).visitor("alice")
		if status, actor, audience := v.orders(); status != http.StatusOK || actor != "orders" || audience != "payments" {
			t.Errorf("orders answers %d; payments was called by %v with a token for %v", status, actor, audience)
		}
	})
	t.Run("a browser reads the demo", func(t *testing.T) { s.within(t).readsTheDemo() })
	t.Run("a restart keeps the sessions", func(t *testing.T) {
		s := s.within(t)
		v := s.visitor("sam")
		s.compose("restart", "redis", "cloakroom")
		s.compose("up", "--detach", "--no-build", "--pull", "never", "--wait", "--wait-timeout", "60")
		v.stays()
	})
	t.Run("nobody's word is taken about an address", func(t *testing.T) {
		if at := s.within(t).visitor("alice").address(); at == elsewhere {
			t.Errorf("who says to be at %s is taken to be there", at)
		}
	})
	t.Run("an app has its own URL and TLS terminator", func(t *testing.T) { s.within(t).isAnotherApp() })
	t.Run("every container is confined", func(t *testing.T) { s.within(t).confined() })
	t.Run("nobody reaches what is not for them", func(t *testing.T) { s.within(t).apart() })
	t.Run("no secret stands in a log, an image or a container's settings", func(t *testing.T) { s.within(t).tellsNoSecret() })
}

// within is the stack in a subtest.
func (s *stack) within(t *testing.T) *stack {
	same := *s
	same.T = t
	return &same
}

// readsTheDemo opens the page in Chromium, under whose rules the provider's name must lead to its container.
func (s *stack) readsTheDemo() {
	s.Helper()
	file := filepath.Join(s.TempDir(), "report.json")
	browser := exec.CommandContext(s.Context(), "node", "node/demo.mjs")
	browser.Dir = "../../e2e"
	browser.Env = append(os.Environ(), "APP="+s.app, "REPORT="+file)
	if out, err := browser.CombinedOutput(); err != nil {
		s.Fatalf("the browser: %v\n%s", err, out)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		s.Fatal(err)
	}
	var seen struct {
		Boxes, Tries map[string]string
		Errors       []string
	}
	if err := json.Unmarshal(raw, &seen); err != nil {
		s.Fatal(err)
	}
	for box, words := range map[string][]string{
		"provider": {"no e-mail", "alice@example.com"}, "orders": {"orders:read", "alice@example.com"}, "payments": {"act", "payments:read"},
	} {
		for _, word := range words {
			if !strings.Contains(seen.Boxes[box], word) {
				s.Errorf("the box of %s does not say %q:\n%s", box, word, seen.Boxes[box])
			}
		}
	}
	if len(seen.Tries) == 0 || len(seen.Errors) > 0 {
		s.Errorf("%d things were tried; the page complained: %v", len(seen.Tries), seen.Errors)
	}
	for button, told := range seen.Tries {
		if !strings.Contains(told, "Refused") {
			s.Errorf("%s is not refused:\n%s", button, told)
		}
	}
}

// confined looks at what the engine was really asked for.
func (s *stack) confined() {
	s.Helper()
	for _, c := range s.containers() {
		h := c.HostConfig
		if !h.ReadonlyRootfs || h.Privileged || len(h.CapAdd) > 0 || !slices.Equal(h.CapDrop, []string{"ALL"}) ||
			!slices.Contains(h.SecurityOpt, "no-new-privileges:true") {
			s.Errorf("%s may do more than it must: %+v", c.Name, h)
		}
		if c.Config.User == "" || !c.oneShot() && (c.Config.User == "root" || strings.HasPrefix(c.Config.User, "0")) {
			s.Errorf("%s runs as %q", c.Name, c.Config.User)
		}
		if c.oneShot() == (c.State.Status == "running") {
			s.Errorf("%s is %s", c.Name, c.State.Status)
		}
		for port, at := range c.NetworkSettings.Ports {
			for _, host := range at {
				if host.HostIP != "127.0.0.1" {
					s.Errorf("%s publishes %s at %q", c.Name, port, host.HostIP)
				}
			}
		}
	}
}

// isAnotherApp sets what docs/operations.md says to set for an app of one's own.
func (s *stack) isAnotherApp() {
	s.Helper()
	s.env = append(slices.Clone(s.env), "PUBLIC_URL=https://app.example.com", "TRUSTED_PROXY=192.0.2.0/24")
	var file struct {
		Services map[string]struct{ Environment map[string]string }
	}
	if err := json.Unmarshal([]byte(s.compose("config", "--format", "json")), &file); err != nil {
		s.Fatal(err)
	}
	is := file.Services["cloakroom"].Environment
	if is["PUBLIC_URL"] != "https://app.example.com" || is["TRUSTED_PROXY"] != "192.0.2.0/24" {
		s.Errorf("Cloakroom is told %v", is)
	}
}

// apart tries to reach, from a container on the browser's network, what only Cloakroom may, and from that and the services'
// what is the container's own.
func (s *stack) apart() {
	s.Helper()
	knock := func(network, host, port string) (string, error) {
		return s.try("run", "--rm", "--network", s.project+"_"+network, "--entrypoint", "timeout", "redis:8", "1", "redis-cli", "-h", host, "-p", port, "ping")
	}
	for _, from := range []string{"front", "services"} {
		// It can knock at all: something answers at Cloakroom's doors, though not as Redis does.
		for _, port := range []string{"8080", "8081"} {
			if out, err := knock(from, "cloakroom", port); err == nil || !strings.Contains(out, "HTTP") && !strings.Contains(out, "Protocol error") {
				s.Errorf("from %s cloakroom says %q at %s: what is not reached proves nothing", from, out, port)
			}
		}
		if out, err := knock(from, "cloakroom", "9090"); err == nil || !strings.Contains(out, "Could not connect") {
			s.Errorf("from %s cloakroom's admin listener answers: %q, %v", from, out, err)
		}
	}
	front := s.project + "_front"
	for service, port := range map[string]string{"redis": "6379", "orders": "8091", "payments": "8092"} {
		c := s.containers(service)[0]
		hosts := []string{service}
		for name, network := range c.NetworkSettings.Networks {
			if name == front {
				s.Errorf("%s is on the browser's network", service)
			}
			hosts = append(hosts, network.IPAddress)
		}
		for _, host := range hosts {
			if out, err := knock("front", host, port); err == nil || !strings.Contains(out, "Could not connect") && out != "" {
				s.Errorf("from the browser's network %s answers at %s: %q, %v", service, host, out, err)
			}
		}
	}
}

// tellsNoSecret looks for each secret in whatever an operator prints or ships.
func (s *stack) tellsNoSecret() {
	s.Helper()
	s.visitor("sam")
	told := s.compose("logs", "--no-color")
	if !strings.Contains(told, `"audit"`) {
		s.Error("the logs have no audit line: what they do not hold proves nothing")
	}
	told += s.compose("config") + s.docker("history", "--no-trunc", image(s.T)) + s.docker("inspect", image(s.T))
	for _, c := range s.containers() {
		told += s.docker("inspect", c.Name)
	}
	files := s.docker("run", "--rm", "--volume", s.project+"_cloakroom-secrets:/s:ro", "--entrypoint", "sh", "redis:8", "-c", "cat /s/*")
	secrets := strings.Fields(files)
	if len(secrets) != 5 {
		s.Fatalf("%d secrets were made", len(secrets))
	}
	for _, secret := range secrets {
		if len(secret) != 44 {
			s.Errorf("a secret is %d characters long, not 32 bytes in base64", len(secret))
		}
		if strings.Contains(told, secret) {
			s.Errorf("%.4s… is told", secret)
		}
	}
}
