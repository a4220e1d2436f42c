package sessiontest

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Redis is a redis-server that a test started on a free port, and that ends with it.
type Redis struct {
	Addr string

	binary string
	args   []string
	ready  string   // what it says once it takes connections
	cli    []string // how redis-cli reaches it
	cmd    *exec.Cmd
}

const (
	portTries = 5                // another process may take the free port first
	readyTime = 30 * time.Second // on a busy machine
	pollEvery = 20 * time.Millisecond
)

// StartRedis starts a redis-server that keeps nothing on disk. The arguments are added to its command line; PORT in
// them is its port, which goes to --port unless one of them has it.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	return Security{}.StartRedis(t, args...)
}

// StartRedis starts one that is secured.
func (s Security) StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	dir := t.TempDir()
	args = append(s.args(t, dir), args...)
	return launch(t, "Ready to accept connections", s.cli(), func(port string) []string {
		all := []string{"--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir}
		placed := false
		for _, arg := range args {
			placed = placed || arg == "PORT"
			all = append(all, strings.ReplaceAll(arg, "PORT", port))
		}
		if !placed {
			all = append(all, "--port", port)
		}
		return all
	})
}

func launch(t testing.TB, ready string, cli []string, args func(port string) []string) *Redis {
	t.Helper()
	var err error
	for range portTries {
		port := FreePort(t)
		r := newRedis(t, port, ready, cli, args(port))
		if err = r.start(); err == nil {
			t.Cleanup(r.Kill)
			return r
		}
	}
	t.Fatalf("redis-server does not start: %v", err)
	return nil
}

func launchAt(t testing.TB, port, ready string, cli, args []string) *Redis {
	t.Helper()
	r := newRedis(t, port, ready, cli, args)
	r.Restart(t)
	t.Cleanup(r.Kill)
	return r
}

func newRedis(t testing.TB, port, ready string, cli, args []string) *Redis {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is missing; on Debian and Ubuntu: apt-get install redis-server")
	}
	return &Redis{
		Addr: net.JoinHostPort("127.0.0.1", port), binary: binary, args: args, ready: ready,
		cli: append([]string{"-h", "127.0.0.1", "-p", port, "--no-auth-warning"}, cli...),
	}
}

// Port is the number in its address.
func (r *Redis) Port() string {
	_, port, _ := net.SplitHostPort(r.Addr)
	return port
}

// Do has it carry out a command, by redis-cli and as the user who may do everything, and returns what that says.
func (r *Redis) Do(t testing.TB, args ...string) string {
	t.Helper()
	out, err := r.try(args...)
	if err != nil {
		t.Fatalf("redis-cli %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

func (r *Redis) try(args ...string) (string, error) {
	out, err := exec.Command("redis-cli", append(append([]string{"-e"}, r.cli...), args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// await asks until what the command says will do.
func (r *Redis) await(t testing.TB, done func(said string) bool, args ...string) {
	t.Helper()
	var said string
	for end := time.Now().Add(readyTime); time.Now().Before(end); time.Sleep(pollEvery) {
		if said, _ = r.try(args...); done(said) {
			return
		}
	}
	t.Fatalf("%s at %s still says:\n%s", strings.Join(args, " "), r.Addr, said)
}

func says(parts ...string) func(string) bool {
	return func(said string) bool {
		for _, part := range parts {
			if !strings.Contains(said, part) {
				return false
			}
		}
		return true
	}
}

// Restart starts it again on its port, empty, after Kill.
func (r *Redis) Restart(t testing.TB) {
	t.Helper()
	if err := r.start(); err != nil {
		t.Fatalf("redis-server does not start again: %v", err)
	}
}

// Kill ends it the hard way.
func (r *Redis) Kill() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	r.cmd = nil
}

// Suspend makes it hang: connections stay open, and nothing answers.
func (r *Redis) Suspend(t testing.TB) { t.Helper(); r.signal(t, syscall.SIGSTOP) }

// Resume ends Suspend.
func (r *Redis) Resume(t testing.TB) { t.Helper(); r.signal(t, syscall.SIGCONT) }

func (r *Redis) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// start returns once the server says that it takes connections.
func (r *Redis) start() error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command(r.binary, r.args...)
	cmd.Stdout, cmd.Stderr = write, write
	err = spawn(cmd)
	_ = write.Close()
	if err != nil {
		_ = read.Close()
		return err
	}
	r.cmd = cmd
	ready := make(chan error, 1)
	go func() {
		defer read.Close()
		var said []string
		lines := bufio.NewScanner(read)
		for lines.Scan() {
			if strings.Contains(lines.Text(), r.ready) {
				ready <- nil
				_, _ = io.Copy(io.Discard, read) // or it would stop at a full pipe
				return
			}
			said = append(said, lines.Text())
		}
		ready <- fmt.Errorf("it ended: %s", strings.Join(said, "\n"))
	}()
	select {
	case err = <-ready:
	case <-time.After(readyTime):
		err = fmt.Errorf("not ready after %v", readyTime)
	}
	if err != nil {
		r.Kill()
	}
	return err
}

// ports are handed out once each, from below those that the system gives to outgoing connections: a server that is ended
// and started again must find its port free.
var ports = func() *atomic.Int32 {
	var next atomic.Int32
	next.Store(10000 + rand.Int32N(8000)) //nolint:gosec // no secret
	return &next
}()

// FreePort returns a port of 127.0.0.1 that nobody listens on, and that no other test is given.
func FreePort(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(int(ports.Add(1)))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}
