package sessiontest

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// Cluster is a Redis Cluster.
type Cluster struct {
	URL   string // of a store
	Nodes []*Redis

	cli []string
}

const slots = 16384

// StartCluster starts one of so many masters, each with a share of the slots, and of replicas, the first master's first. It
// takes two seconds: that long a node that starts waits before it answers.
func (s Security) StartCluster(t testing.TB, masters, replicas int) *Cluster {
	t.Helper()
	c := &Cluster{cli: s.cli()}
	var buses, addrs []string
	for range masters + replicas {
		bus := FreePort(t)
		buses = append(buses, bus)
		node := s.StartRedis(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0")
		c.Nodes = append(c.Nodes, node)
		addrs = append(addrs, node.Addr)
	}
	for i, node := range c.Nodes {
		if i < masters {
			node.Do(t, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/masters), strconv.Itoa((i+1)*slots/masters-1))
		}
		node.Do(t, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		if i > 0 {
			c.Nodes[0].Do(t, "CLUSTER", "MEET", "127.0.0.1", node.Port(), buses[i])
		}
	}
	for i, node := range c.Nodes {
		node.await(t, says(fmt.Sprintf("cluster_known_nodes:%d", len(c.Nodes))), "CLUSTER", "INFO")
		if i >= masters {
			node.Do(t, "CLUSTER", "REPLICATE", c.id(t, i%masters))
			node.await(t, says("master_link_status:up"), "INFO", "replication")
		}
	}
	for _, node := range c.Nodes {
		node.await(t, says("cluster_state:ok", fmt.Sprintf("cluster_slots_ok:%d", slots)), "CLUSTER", "INFO")
	}
	c.URL = s.scheme("-cluster") + strings.Join(addrs, ",")
	return c
}

func (c *Cluster) id(t testing.TB, i int) string {
	t.Helper()
	return c.Nodes[i].Do(t, "CLUSTER", "MYID")
}

// Reshard moves so many slots, with what is in them, from one node to another, and returns when that is done.
func (c *Cluster) Reshard(t testing.TB, from, to, many int) {
	t.Helper()
	args := append([]string{"--no-auth-warning"}, c.cli...)
	args = append(args, "--cluster", "reshard", c.Nodes[from].Addr, "--cluster-from", c.id(t, from), "--cluster-to", c.id(t, to),
		"--cluster-slots", strconv.Itoa(many), "--cluster-yes")
	if out, err := exec.Command("redis-cli", args...).CombinedOutput(); err != nil {
		t.Errorf("redis-cli --cluster reshard: %v: %s", err, out)
	}
}
