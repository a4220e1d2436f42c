//go:build containers

package compose

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestReplicas kills a replica, and the Redis that is master, while two people work. Neither may be signed out at any moment: an
// answer may fail for a while, but it may never say that there is no session.
func TestReplicas(t *testing.T) {
	s := bringUp(t, "cloakroom-replicas", "docker-compose.yml", "deploy/compose.replicas.yml")
	if both := s.containers("cloakroom"); len(both) != 2 {
		t.Fatalf("there are %d replicas", len(both))
	}
	people := []*visitor{s.visitor("alice"), s.visitor("sam")}
	served := work(t, people)

	served.again(30*time.Second, "before anything happens")
	s.servesFromEach()

	s.docker("kill", s.containers("cloakroom")[0].Name)
	served.again(15*time.Second, "after a replica died")

	master := s.master()
	s.docker("kill", s.containers(master)[0].Name)
	served.again(60*time.Second, "after the master of Redis died")
	if now := s.master(); now == master {
		t.Errorf("%s is still master", now)
	}
	for _, v := range people {
		v.stays()
	}
	s.visitor("alice") // somebody new is let in, too

	s.compose("up", "--detach", "--no-build", "--pull", "never", "--wait", "--wait-timeout", "120")
	eventually(t, 60*time.Second, "the old master is a replica of the new one", func() bool {
		return strings.Contains(s.redis(master, "role"), "slave") && strings.Contains(s.redis(master, "info", "replication"), "master_link_status:up")
	})
	served.again(30*time.Second, "after both came back")
	served.stop()
	for _, v := range people {
		v.stays()
	}
	s.within(t).confined()
	s.balancesBehindAnother()
}

// balancesBehindAnother gives the balancer a TLS terminator before it, which speaks of callers from the network's gateway.
func (s *stack) balancesBehindAnother() {
	s.Helper()
	if at := s.visitor("alice").address(); at == elsewhere {
		s.Errorf("who says to be at %s is taken to be there", at)
	}
	gateway := s.containers("balancer")[0].NetworkSettings.Networks[s.project+"_balanced"].Gateway
	s.env = append(s.env, "TRUSTED_PROXY="+gateway+"/32")
	s.compose("up", "--detach", "--no-build", "--pull", "never", "--wait", "--wait-timeout", "120")
	if at := s.visitor("alice").address(); at != elsewhere {
		s.Errorf("the TLS terminator at %s says %s of a caller; Cloakroom takes it for %s", gateway, elsewhere, at)
	}
}

// servesFromEach checks that the balancer uses both.
func (s *stack) servesFromEach() {
	s.Helper()
	for _, c := range s.containers("cloakroom") {
		if !strings.Contains(s.docker("logs", c.Name), `"event":"exchange"`) {
			s.Errorf("%s never minted a token", c.Name)
		}
	}
}

// master is the service of the Redis that a Sentinel names.
func (s *stack) master() string {
	s.Helper()
	at := strings.Fields(s.compose("exec", "--no-TTY", "sentinel-1", "redis-cli", "-p", "26379", "sentinel", "get-master-addr-by-name", "cloakroom"))[0]
	for _, name := range []string{"redis", "redis-2", "redis-3"} {
		if s.containers(name)[0].NetworkSettings.Networks[s.project+"_store"].IPAMConfig.IPv4Address == at {
			return name
		}
	}
	s.Fatalf("the Sentinels name %s", at)
	return ""
}

func (s *stack) redis(name string, command ...string) string {
	out, _ := s.try("compose", "--project-name", s.project, "exec", "--no-TTY", name, "sh", "-c",
		"REDISCLI_AUTH=$(cat /run/secrets/password) redis-cli "+strings.Join(command, " "))
	return out
}

// worker is what goes on all the time: everybody asks for their orders, which takes the session, the exchange and both services.
type worker struct {
	*testing.T
	stop func()

	mu   sync.Mutex
	good int // rounds without a failure, in a row
}

func work(t *testing.T, people []*visitor) *worker {
	t.Helper()
	w := &worker{T: t}
	done, ended := make(chan struct{}), make(chan struct{})
	w.stop = sync.OnceFunc(func() { close(done); <-ended })
	t.Cleanup(w.stop)
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
			w.round(people)
		}
	}()
	return w
}

func (w *worker) round(people []*visitor) {
	good := true
	for _, v := range people {
		status, actor, _ := v.orders()
		if status == http.StatusUnauthorized || status == http.StatusForbidden {
			w.Errorf("somebody who is signed in was answered %d", status)
		}
		good = good && status == http.StatusOK && actor == "orders"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.good++; !good {
		w.good = 0
	}
}

// again waits until everybody is served twenty times in a row, counted from now.
func (w *worker) again(within time.Duration, when string) {
	w.Helper()
	w.mu.Lock()
	w.good = 0
	w.mu.Unlock()
	began := time.Now()
	eventually(w.T, within, "everybody is served twenty times in a row, "+when, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.good >= 20
	})
	w.Logf("%s: served again within %v", when, time.Since(began).Round(100*time.Millisecond))
}
