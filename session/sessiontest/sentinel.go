package sessiontest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Replicated is a master with two replicas, watched by three Sentinels.
type Replicated struct {
	URL       string // of a store
	Servers   []*Redis
	Sentinels []*Redis
}

const (
	masterName = "main"
	quorum     = 2
	// downAfter is how many ms a master may be silent. A busy machine must not look like a master that is down.
	downAfter = 5000
)

// StartReplicated starts one whose Sentinels know each other already, and look often.
func (s Security) StartReplicated(t testing.TB) *Replicated {
	t.Helper()
	g := &Replicated{}
	for i := range 3 {
		args := []string{"--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"}
		if i > 0 {
			args = append(args, "--replicaof", "127.0.0.1 "+g.Servers[0].Port())
		}
		g.Servers = append(g.Servers, s.StartRedis(t, args...))
	}
	g.Servers[0].await(t, func(said string) bool { return strings.Count(said, "state=online") == 2 }, "INFO", "replication")
	ports := []string{FreePort(t), FreePort(t), FreePort(t)}
	var addrs []string
	for i := range ports {
		sentinel := s.startSentinel(t, g, ports, i)
		g.Sentinels = append(g.Sentinels, sentinel)
		addrs = append(addrs, sentinel.Addr)
	}
	for _, sentinel := range g.Sentinels {
		sentinel.Do(t, "SENTINEL", "DEBUG", "info-period", "200", "ping-period", "100", "ask-period", "100", "publish-period", "200")
		sentinel.await(t, says("OK 3 usable Sentinels"), "SENTINEL", "CKQUORUM", masterName)
		sentinel.await(t, func(said string) bool { return strings.Count(said, "master-link-status\nok") == 2 }, "SENTINEL", "REPLICAS", masterName)
	}
	g.URL = s.scheme("-sentinel") + strings.Join(addrs, ",") + "/0?master=" + masterName
	return g
}

func sentinelID(i int) string { return strings.Repeat(fmt.Sprint(i+1), 40) }

func (s Security) startSentinel(t testing.TB, g *Replicated, ports []string, i int) *Redis {
	t.Helper()
	dir := t.TempDir()
	lines := []string{"bind 127.0.0.1", "dir " + dir, "sentinel myid " + sentinelID(i)}
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	say("sentinel monitor %s 127.0.0.1 %s %d", masterName, g.Servers[0].Port(), quorum)
	say("sentinel down-after-milliseconds %s %d", masterName, downAfter)
	say("sentinel failover-timeout %s 10000", masterName)
	say("sentinel parallel-syncs %s 2", masterName)
	for _, replica := range g.Servers[1:] {
		say("sentinel known-replica %s 127.0.0.1 %s", masterName, replica.Port())
	}
	for j, port := range ports {
		if j != i {
			say("sentinel known-sentinel %s 127.0.0.1 %s %s", masterName, port, sentinelID(j))
		}
	}
	if len(s.Users) > 0 {
		say("sentinel auth-user %s %s", masterName, Admin)
		say("sentinel auth-pass %s %s", masterName, AdminPassword)
		say("sentinel sentinel-user %s", Admin)
		say("sentinel sentinel-pass %s", AdminPassword)
		lines = append(lines, withAdmin(s.SentinelUsers)...)
	}
	if s.PKI == nil {
		say("port %s", ports[i])
	} else {
		say("port 0\ntls-port %s\ntls-replication yes\ntls-auth-clients yes", ports[i])
		say("tls-cert-file %s\ntls-key-file %s\ntls-ca-cert-file %s", s.PKI.File("server.crt"), s.PKI.File("server.key"), s.PKI.File("ca.crt"))
	}
	file := filepath.Join(dir, "sentinel.conf")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return launchAt(t, ports[i], "+monitor", s.cli(), []string{file, "--sentinel"})
}

// Master is the server that the Sentinels say is it.
func (g *Replicated) Master(t testing.TB) *Redis {
	t.Helper()
	said := strings.Fields(g.Sentinels[0].Do(t, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName))
	for _, server := range g.Servers {
		if len(said) == 2 && server.Addr == net.JoinHostPort(said[0], said[1]) {
			return server
		}
	}
	t.Fatalf("the Sentinels' master is none of ours: %v", said)
	return nil
}

// Failover has another server made the master, and returns when it is.
func (g *Replicated) Failover(t testing.TB) {
	t.Helper()
	g.replace(t, g.Master(t))
}

// KillMaster ends the master the hard way, and returns when the Sentinels have made another one. They are told to: how long
// they would need to notice, and to agree, is theirs.
func (g *Replicated) KillMaster(t testing.TB) {
	t.Helper()
	old := g.Master(t)
	old.Kill()
	g.replace(t, old)
}

func (g *Replicated) replace(t testing.TB, old *Redis) {
	t.Helper()
	g.Sentinels[0].await(t, says("OK"), "SENTINEL", "FAILOVER", masterName) // there may be one going on
	g.Sentinels[0].await(t, func(said string) bool { return !strings.Contains(said, old.Port()) }, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName)
}
