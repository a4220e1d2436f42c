package sessiontest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Redis is a redis-server that a test started on a free port, and that ends with it.
type Redis struct {
	Addr string

	binary string
	args   []string
	cmd    *exec.Cmd
}

const (
	portTries = 5                // another process may take the free port first
	readyTime = 20 * time.Second // on a busy machine
)

// StartRedis starts a redis-server that keeps nothing on disk. The arguments are added to its command line; PORT in
// them is its port, which goes to --port unless one of them has it.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is missing; on Debian and Ubuntu: apt-get install redis-server")
	}
	dir := t.TempDir()
	for range portTries {
		port := freePort(t)
		r := &Redis{Addr: net.JoinHostPort("127.0.0.1", port), binary: binary}
		r.args = []string{"--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir}
		placed := false
		for _, arg := range args {
			placed = placed || arg == "PORT"
			r.args = append(r.args, strings.ReplaceAll(arg, "PORT", port))
		}
		if !placed {
			r.args = append(r.args, "--port", port)
		}
		if err = r.start(); err == nil {
			t.Cleanup(r.Kill)
			return r
		}
	}
	t.Fatalf("redis-server does not start: %v", err)
	return nil
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
	err = cmd.Start()
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
			if strings.Contains(lines.Text(), "Ready to accept connections") {
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

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
