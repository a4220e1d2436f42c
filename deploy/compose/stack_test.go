//go:build containers

package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// stack is the compose file's, brought up for one test under a project name and on ports of its own.
type stack struct {
	*testing.T
	project string
	files   []string // arguments of `docker compose`
	env     []string
	app     string // Cloakroom's URL
	idp     string // the provider's
}

// bringUp starts everything and waits until it is healthy. tools/containers.sh has built the image.
func bringUp(t *testing.T, project string, files ...string) *stack {
	t.Helper()
	app, idp := freePort(t), freePort(t)
	s := &stack{
		T: t, project: project,
		// What somebody has in .env for an app of their own is not for the tests.
		env: []string{fmt.Sprintf("CLOAKROOM_PORT=%d", app), fmt.Sprintf("PROVIDER_PORT=%d", idp), "PUBLIC_URL=", "TRUSTED_PROXY="},
		app: fmt.Sprintf("http://localhost:%d", app), idp: fmt.Sprintf("http://provider.localhost:%d", idp),
	}
	for _, file := range files {
		s.files = append(s.files, "--file", "../../"+file)
	}
	t.Cleanup(s.takeDown)
	began := time.Now()
	s.compose("up", "--detach", "--no-build", "--pull", "never", "--quiet-pull", "--wait", "--wait-timeout", "120")
	for _, c := range s.containers() {
		if !c.oneShot() && (c.State.Health == nil || c.State.Health.Status != "healthy") {
			t.Errorf("it is said to be up, and %s does not say that it is well", c.Name)
		}
	}
	t.Logf("up and healthy in %v", time.Since(began).Round(time.Second))
	return s
}

// takeDown leaves nothing: no container, no network, no volume. What a failed test's containers said is shown first.
func (s *stack) takeDown() {
	if s.Failed() {
		s.Logf("%s", s.compose("ps", "--all"))
		s.Logf("%s", s.compose("logs", "--no-color", "--tail", "60"))
	}
	s.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
	for what, list := range map[string][]string{
		"container": {"ps", "--all", "--quiet"}, "network": {"network", "ls", "--quiet"}, "volume": {"volume", "ls", "--quiet"},
	} {
		if left := s.docker(append(list, "--filter", "label=com.docker.compose.project="+s.project)...); left != "" {
			s.Errorf("after `docker compose down` there is a %s: %s", what, left)
		}
	}
}

// compose runs `docker compose` on the stack and returns what it printed.
func (s *stack) compose(args ...string) string {
	s.Helper()
	return s.docker(slices.Concat([]string{"compose", "--ansi", "never", "--progress", "quiet", "--project-name", s.project}, s.files, args)...)
}

func (s *stack) docker(args ...string) string {
	s.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// try is docker for what may fail. The test's end does not end it: a cleanup runs after that.
func (s *stack) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(os.Environ(), s.env...)
	out, err := cmd.CombinedOutput()
	return string(bytes.TrimSpace(out)), err
}

// container is what the engine knows of one that runs.
type container struct {
	Name   string
	Image  string
	Config struct{ User string }
	State  struct {
		Status string
		Health *struct{ Status string } // nil without a health check
	}
	NetworkSettings struct {
		Networks map[string]struct {
			IPAddress  string // "" where it does not run
			Gateway    string
			IPAMConfig struct{ IPv4Address string } // the one it asks for
		}
		Ports map[string][]struct{ HostIP string }
	}
	HostConfig struct {
		ReadonlyRootfs bool
		Privileged     bool
		CapAdd         []string
		CapDrop        []string
		SecurityOpt    []string
	}
}

// oneShot tells whether it has ended once it has done its work.
func (c container) oneShot() bool { return strings.Contains(c.Name, "secrets") }

// containers are all of the stack, also those that have ended.
func (s *stack) containers(service ...string) []container {
	s.Helper()
	ids := strings.Fields(s.compose(append([]string{"ps", "--all", "--quiet"}, service...)...))
	if len(ids) == 0 {
		s.Fatalf("no container of %v", service)
	}
	var all []container
	if err := json.Unmarshal([]byte(s.docker(append([]string{"inspect"}, ids...)...)), &all); err != nil {
		s.Fatal(err)
	}
	return all
}

// eventually waits until the condition holds, and fails the test when it does not within the time.
func eventually(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
