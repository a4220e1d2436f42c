package chart

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// pod is a Deployment's pod run as a process of this machine: the real binary with the rendered arguments, the rendered
// environment and nothing else of it, and every volume laid under a folder that stands for the root.
type pod struct {
	t         *testing.T
	spec      core.PodSpec
	container core.Container
	root      string
	address   string // of this machine, as the kubelet or another pod would call it: not a loopback one
	world     world
	process   *os.Process
	exited    chan error

	mu      sync.Mutex
	printed bytes.Buffer
}

func startPod(t *testing.T, all objects, d *apps.Deployment) *pod {
	t.Helper()
	p := &pod{t: t, spec: d.Spec.Template.Spec, root: t.TempDir(), address: outsideAddress(t), world: theWorld(), exited: make(chan error, 1)}
	if len(p.spec.Containers) != 1 {
		t.Fatalf("%d containers", len(p.spec.Containers))
	}
	p.container = p.spec.Containers[0]
	for _, v := range p.spec.Volumes {
		p.fill(v, all)
	}
	for _, init := range p.spec.InitContainers {
		p.mount(init)
		p.initialize(init)
	}
	p.mount(p.container)

	command := exec.Command(binary, p.here(p.container.Args)...)
	command.Env = p.environment() // the container's, not this process's
	command.Stdout, command.Stderr = p, p
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	p.process = command.Process
	go func() { p.exited <- command.Wait() }()
	t.Cleanup(func() {
		_ = p.process.Signal(syscall.SIGTERM)
		select {
		case err := <-p.exited:
			if err != nil {
				t.Errorf("the pod ended with %v", err)
			}
		case <-time.After(20 * time.Second):
			_ = p.process.Kill()
			t.Errorf("the pod did not end within 20 s of SIGTERM")
		}
		if t.Failed() {
			t.Logf("it printed:\n%s", p.output())
		}
	})
	return p
}

func (p *pod) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.printed.Write(b)
}

func (p *pod) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.printed.String()
}

// volume is where a volume's content lies.
func (p *pod) volume(name string) string { return filepath.Join(p.root, "volumes", name) }

// here turns paths of the container into those below the folder that stands for its root.
func (p *pod) here(texts []string) []string {
	below := strings.NewReplacer("/etc/cloakroom/", p.root+"/etc/cloakroom/", "/srv/spa", p.root+"/srv/spa", "/usr/share", p.root+"/image/usr/share")
	var out []string
	for _, text := range texts {
		out = append(out, below.Replace(text))
	}
	return out
}

// fill lays the content of a volume.
func (p *pod) fill(v core.Volume, all objects) {
	p.t.Helper()
	files := map[string]string{}
	switch {
	case v.Secret != nil:
		files = selected(p.t, p.world.secret(p.t, v.Secret.SecretName), v.Secret.Items)
	case v.ConfigMap != nil && v.Name == "config":
		for name, content := range named(p.t, all.configMaps, v.ConfigMap.Name).Data {
			files[name] = p.here([]string{content})[0]
		}
	case v.ConfigMap != nil:
		files = selected(p.t, p.world.configMap(p.t, v.ConfigMap.Name), v.ConfigMap.Items)
	case v.EmptyDir != nil:
		if err := os.MkdirAll(p.volume(v.Name), 0o755); err != nil {
			p.t.Fatal(err)
		}
		return
	case v.Image != nil:
		p.unpack(p.volume(v.Name))
		return
	default:
		p.t.Fatalf("a volume of a kind that this test does not know: %+v", v)
	}
	write(p.t, p.volume(v.Name), files)
}

// unpack makes the file system of the app's image.
func (p *pod) unpack(folder string) {
	p.t.Helper()
	for name, content := range p.world.image {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			p.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
}

// selected are the keys that a volume takes; every one it names must be there.
func selected(t *testing.T, data map[string]string, items []core.KeyToPath) map[string]string {
	t.Helper()
	if len(items) == 0 {
		return data
	}
	files := map[string]string{}
	for _, item := range items {
		files[item.Path] = found(t, data, "key", item.Key)
	}
	return files
}

func (p *pod) mount(c core.Container) {
	p.t.Helper()
	for _, m := range c.VolumeMounts {
		at := filepath.Join(p.root, m.MountPath)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			p.t.Fatal(err)
		}
		if _, err := os.Lstat(at); err == nil {
			continue
		}
		from, err := filepath.EvalSymlinks(filepath.Join(p.volume(m.Name), m.SubPath))
		if err != nil {
			p.t.Fatal(err)
		}
		join := os.Symlink
		if info, err := os.Stat(from); err == nil && info.Mode().IsRegular() {
			join = os.Link // a file mounted by itself stays, whatever the volume holds later
		}
		if err := join(from, at); err != nil {
			p.t.Fatal(err)
		}
	}
}

// initialize runs an init container's command on the files of the app's image.
func (p *pod) initialize(c core.Container) {
	p.t.Helper()
	p.unpack(filepath.Join(p.root, "image"))
	command := p.here(c.Command)
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		p.t.Fatalf("init container %s: %v\n%s", c.Name, err, out)
	}
}

func (p *pod) environment() []string {
	p.t.Helper()
	var all []string
	for _, e := range p.container.Env {
		value := e.Value
		if from := e.ValueFrom; from != nil {
			switch {
			case from.SecretKeyRef != nil:
				value = found(p.t, p.world.secret(p.t, from.SecretKeyRef.Name), "key", from.SecretKeyRef.Key)
			case from.ConfigMapKeyRef != nil:
				value = found(p.t, p.world.configMap(p.t, from.ConfigMapKeyRef.Name), "key", from.ConfigMapKeyRef.Key)
			default:
				p.t.Fatalf("a variable from what this test does not know: %+v", e)
			}
		}
		all = append(all, e.Name+"="+value)
	}
	return all
}

// port is the number of a port of the container, 0 where it has none of that name.
func (p *pod) port(name string) int {
	for _, one := range p.container.Ports {
		if one.Name == name {
			return int(one.ContainerPort)
		}
	}
	return 0
}

// url addresses a port from outside the pod.
func (p *pod) url(scheme, path string, port int) string {
	return fmt.Sprintf("%s://%s%s", scheme, net.JoinHostPort(p.address, fmt.Sprint(port)), path)
}

// passes tells whether a probe passes, asked as the kubelet asks it: from another address than loopback, within its time.
func (p *pod) passes(probe *core.Probe) (bool, string) {
	p.t.Helper()
	if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Port.Type != intstr.String {
		p.t.Fatalf("not a probe by HTTP of a named port: %+v", probe)
	}
	client := &http.Client{Timeout: time.Duration(max(1, probe.TimeoutSeconds)) * time.Second}
	defer client.CloseIdleConnections()
	answer, err := client.Get(p.url("http", probe.HTTPGet.Path, p.port(probe.HTTPGet.Port.StrVal)))
	if err != nil {
		return false, err.Error()
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return answer.StatusCode >= 200 && answer.StatusCode < 400, fmt.Sprintf("%d %s", answer.StatusCode, body)
}

// started waits as the kubelet does for the startup probe.
func (p *pod) started() {
	p.t.Helper()
	probe := p.container.StartupProbe
	for range probe.FailureThreshold * 20 {
		if ok, _ := p.passes(probe); ok {
			return
		}
		select {
		case err := <-p.exited:
			p.exited <- err
			p.t.Fatalf("the process ended (%v) before its startup probe passed:\n%s", err, p.output())
		case <-time.After(time.Duration(probe.PeriodSeconds) * time.Second / 20):
		}
	}
	_, last := p.passes(probe)
	p.t.Fatalf("the startup probe never passed; at last: %s", last)
}

// get asks a port for a path, over TLS where certified, as the browser does for a page.
func (p *pod) get(port, path string, certified bool, header ...string) (status int, body string) {
	p.t.Helper()
	scheme, transport := "http", &http.Transport{}
	defer transport.CloseIdleConnections()
	if certified {
		scheme = "https"
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(p.world.authority))
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, ServerName: "app.example.com"}
	}
	request, err := http.NewRequest(http.MethodGet, p.url(scheme, path, p.port(port)), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	request.Host = "app.example.com"
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{
		Transport: transport, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		p.t.Errorf("%s of port %s: %v", path, port, err)
		return 0, ""
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Error(err)
	}
	return answer.StatusCode, string(content)
}

// listens tells whether anybody takes connections there.
func (p *pod) listens(port int) bool {
	connection, err := net.DialTimeout("tcp", net.JoinHostPort(p.address, fmt.Sprint(port)), time.Second)
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

// outsideAddress is one of this machine's addresses that is not a loopback one.
func outsideAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			return network.IP.String()
		}
	}
	t.Fatal("this machine has loopback addresses only; probes must be asked from another one: add it, such as `ip addr add 192.0.2.1/32 dev lo`")
	return ""
}
