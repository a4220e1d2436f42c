package chart

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
)

// What the chart renders is not only well-formed: the binary starts with it, and answers where the chart says that it does.
func TestEachPodStartsAndAnswersItsProbesFromOutside(t *testing.T) {
	for name, c := range map[string]struct {
		pods   []string
		page   string // a path of the app
		says   string // "" where a session is needed first
		issuer string
	}{
		"minimal":     {[]string{"example-cloakroom"}, "/orders/7", page, "http://example-cloakroom-internal.identity.svc:8081"},
		"apart":       {[]string{"example-cloakroom-browser", "example-cloakroom-services"}, "/", page, "https://example-cloakroom-internal.identity.svc:8081"},
		"everything":  {[]string{"bff-browser", "bff-services"}, "/app/", page, "https://exchange.example.com"},
		"byreference": {[]string{"example-cloakroom"}, "/", "", "https://example-cloakroom-internal.identity.svc:8081"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ports := freePorts(t, 3)
			all := mustRender(t, values(t, name, "drain: {delaySeconds: 0, timeoutSeconds: 5}",
				fmt.Sprintf("ports: {public: %d, internal: %d, admin: %d}", ports[0], ports[1], ports[2])))
			if len(all.deployments) != len(c.pods) {
				t.Fatalf("%d deployments, want %v", len(all.deployments), c.pods)
			}
			for _, deployment := range c.pods {
				t.Run(deployment, func(t *testing.T) {
					p := startPod(t, all, named(t, all.deployments, deployment))
					p.started()
					for kind, probe := range map[string]*core.Probe{"liveness": p.container.LivenessProbe, "readiness": p.container.ReadinessProbe} {
						if ok, answer := p.passes(probe); !ok {
							t.Errorf("the %s probe fails: %s", kind, answer)
						}
					}
					p.guardsItsAdminListener()
					p.servesPages(c.page, c.says, ports[0])
					p.servesServices(c.issuer, ports[1])
				})
			}
		})
	}
}

// The commands for operators of docs/operations.md, as they stand there: they reach what the pod runs.
func TestTheCommandsOfTheDocumentationRunInAPod(t *testing.T) {
	page, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^kubectl exec deploy/(\S+) -- cloakroom (.*)$`).FindAllStringSubmatch(string(page), -1)
	if len(commands) != 3 {
		t.Fatalf("%d commands", len(commands))
	}
	ports := freePorts(t, 3)
	all := mustRender(t, values(t, "minimal", "replicas: 1\ndrain: {delaySeconds: 0}\nconfig: {store: {url: \"memory:\"}}",
		fmt.Sprintf("ports: {public: %d, internal: %d, admin: %d}", ports[0], ports[1], ports[2])))
	p := startPod(t, all, all.deployments[0])
	p.started()
	for i, says := range []string{"SUBJECT", "0 sessions ended", "signs"} {
		if of := strings.Replace(all.deployments[0].Name, release, "app", 1); commands[i][1] != of {
			t.Errorf("a command is for the Deployment %s, want %s", commands[i][1], of)
		}
		command := exec.Command(binary, p.here(strings.Fields(commands[i][2]))...)
		command.Env = p.environment()
		if out, err := command.CombinedOutput(); err != nil || !strings.Contains(string(out), says) {
			t.Errorf("cloakroom %s: %v\n%s", commands[i][2], err, out)
		}
	}
}

// A new configuration that the rollout has not tried yet, and that needs a restart besides, is nothing to pods which it is about
// to replace. Pods that are to take it over do what they can.
func TestRunningPodsKeepTheirConfigurationUntilTheyAreReplaced(t *testing.T) {
	for restart, want := range map[bool]struct {
		current int
		outcome string
	}{true: {1, "applied"}, false: {0, "refused"}} {
		t.Run(fmt.Sprintf("restartOnChange: %v", restart), func(t *testing.T) {
			ports := freePorts(t, 3)
			over := fmt.Sprintf("restartOnChange: %v\ndrain: {delaySeconds: 0}\nports: {public: %d, internal: %d, admin: %d}", restart, ports[0], ports[1], ports[2])
			all := mustRender(t, values(t, "minimal", over))
			p := startPod(t, all, all.deployments[0])
			p.started()
			for _, v := range p.spec.Volumes {
				if v.Name == "config" {
					p.fill(v, mustRender(t, values(t, "minimal", over, "config: {session: {idle: 5m}}")))
				}
			}
			if err := p.process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			var reloaded []string
			metrics := ""
			for end := time.Now().Add(10 * time.Second); reloaded == nil; time.Sleep(50 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("it did not reload")
				}
				_, metrics = p.get("admin", "/metrics", false)
				reloaded = regexp.MustCompile(`cloakroom_config_reloads_total\{outcome="(\w+)"\} [1-9]`).FindStringSubmatch(metrics)
			}
			if current := fmt.Sprintf("\ncloakroom_config_current %d\n", want.current); reloaded[1] != want.outcome || !strings.Contains(metrics, current) {
				t.Errorf("a reload is %s, want %s and%s", reloaded[1], want.outcome, current)
			}
		})
	}
}

// guardsItsAdminListener: open to the cluster's network as it is, only what needs no token answers without it.
func (p *pod) guardsItsAdminListener() {
	p.t.Helper()
	if status, body := p.get("admin", "/metrics", false); status != http.StatusOK || !strings.Contains(body, "cloakroom_signing_key_epoch") {
		p.t.Errorf("/metrics answers %d", status)
	}
	if status, _ := p.get("admin", "/admin/keys", false); status != http.StatusUnauthorized {
		p.t.Errorf("/admin/keys answers %d without the token", status)
	}
	if status, _ := p.get("admin", "/admin/keys", false, "Authorization", "Bearer "+adminToken); status != http.StatusOK {
		p.t.Errorf("/admin/keys answers %d with the token", status)
	}
}

// servesPages: the browser's half shows the app, and the other does not listen there.
func (p *pod) servesPages(path, says string, number int) {
	p.t.Helper()
	if p.port("public") == 0 {
		if p.listens(number) {
			p.t.Error("it listens at the port of the browser's side")
		}
		return
	}
	status, body := p.get("public", path, p.mounts("/etc/cloakroom/tls/public"), "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "none", "Accept", "text/html")
	switch {
	case says == "" && status/100 != 3:
		p.t.Errorf("%s answers %d, where nobody has signed in", path, status)
	case says != "" && (status != http.StatusOK || body != says):
		p.t.Errorf("%s answers %d %q", path, status, body)
	}
}

// servesServices: the services' half says by which name it signs, and the other does not listen there.
func (p *pod) servesServices(issuer string, number int) {
	p.t.Helper()
	if p.port("internal") == 0 {
		if p.listens(number) {
			p.t.Error("it listens at the port of the services' side")
		}
		return
	}
	var metadata struct {
		Issuer        string
		TokenEndpoint string `json:"token_endpoint"`
	}
	_, body := p.get("internal", "/.well-known/oauth-authorization-server", p.mounts("/etc/cloakroom/tls/internal"))
	if err := json.Unmarshal([]byte(body), &metadata); err != nil {
		p.t.Errorf("%v: %q", err, body)
	}
	if metadata.Issuer != issuer || metadata.TokenEndpoint != issuer+"/oauth2/token" {
		p.t.Errorf("its metadata says %+v, want the issuer %s", metadata, issuer)
	}
}

func (p *pod) mounts(path string) bool {
	return slices.ContainsFunc(p.container.VolumeMounts, func(m core.VolumeMount) bool { return m.MountPath == path })
}

// freePorts are ports that nobody listens at on any address.
func freePorts(t *testing.T, count int) []int {
	t.Helper()
	var free []int
	for range count {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		free = append(free, l.Addr().(*net.TCPAddr).Port)
	}
	return free
}
