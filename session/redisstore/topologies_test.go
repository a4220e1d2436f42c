package redisstore

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

// keepsTheContract runs the suite on servers whose keys it makes older all together.
func keepsTheContract(t *testing.T, cfg Config, guarded sessiontest.Security, servers ...*sessiontest.Redis) {
	t.Helper()
	var admins []*redis.Client
	for _, server := range servers {
		o := &redis.Options{Addr: server.Addr}
		if guarded.PKI != nil {
			o.TLSConfig, o.Username, o.Password = guarded.PKI.Client(t), sessiontest.Admin, sessiontest.AdminPassword
		}
		admin := redis.NewClient(o)
		t.Cleanup(func() { _ = admin.Close() })
		admins = append(admins, admin)
	}
	sessiontest.Run(t, sessiontest.Engine{
		Open: func(t *testing.T, now func() time.Time) session.Store {
			cfg := cfg
			cfg.Prefix, cfg.Now = "cloakroom:"+t.Name()+":", now
			return open(t, cfg)
		},
		Age: func(t *testing.T, d time.Duration) { age(t, d, admins...) },
	})
}

// ageScript takes ARGV[1] ms off the life of every key, which is what waiting would do, and returns the keys that have none.
var ageScript = redis.NewScript(`
local eternal = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left == -1 then table.insert(eternal, key) else redis.call('PEXPIRE', key, left - ARGV[1]) end
end
return eternal
`)

// age is quick, because Redis's own clock goes on meanwhile, and the suite looks at single seconds.
func age(t *testing.T, d time.Duration, admins ...*redis.Client) {
	t.Helper()
	for _, admin := range admins {
		eternal, err := ageScript.Run(t.Context(), admin, nil, d.Milliseconds()).Slice()
		if err != nil {
			t.Fatal(err)
		}
		if len(eternal) > 0 {
			t.Errorf("keys that never expire: %v", eternal)
		}
	}
}

func TestStoreKeepsTheContractOnSentinel(t *testing.T) {
	g := sessiontest.Security{}.StartReplicated(t)
	keepsTheContract(t, Config{URL: g.URL}, sessiontest.Security{}, g.Servers[0])
}

func TestStoreKeepsTheContractOnCluster(t *testing.T) {
	t.Parallel()
	c := sessiontest.Security{}.StartCluster(t, 3, 0)
	keepsTheContract(t, Config{URL: c.URL}, sessiontest.Security{}, c.Nodes...)
}

func TestStoreKeepsTheContractOverTLSWithTheLeastRights(t *testing.T) {
	pki := sessiontest.NewPKI(t)
	cfg := Config{
		Username: "cloakroom", Password: "pass:w@rd/%20", SentinelUsername: "cloakroom", SentinelPassword: "pass:w@rd/%20",
		CAFile: pki.File("ca.crt"), CertFile: pki.File("client.crt"), KeyFile: pki.File("client.key"),
	}
	users := documentedUsers(t)
	nothingElse := func(t *testing.T, servers ...*sessiontest.Redis) {
		t.Helper()
		for _, server := range servers {
			if refused := server.Do(t, "ACL", "LOG"); refused != "" {
				t.Errorf("the store tried what it may not:\n%s", refused)
			}
		}
	}
	alone := sessiontest.Security{PKI: pki, Users: users[:1], SentinelUsers: users[2:]}
	clustered := sessiontest.Security{PKI: pki, Users: users[1:2]}
	t.Run("one server", func(t *testing.T) {
		server := alone.StartRedis(t)
		cfg := cfg
		cfg.URL = "rediss://" + server.Addr
		keepsTheContract(t, cfg, alone, server)
		nothingElse(t, server)
	})
	t.Run("Sentinel", func(t *testing.T) {
		g := alone.StartReplicated(t)
		cfg := cfg
		cfg.URL = g.URL
		keepsTheContract(t, cfg, alone, g.Servers[0])
		nothingElse(t, append(g.Servers, g.Sentinels...)...)
	})
	t.Run("Cluster", func(t *testing.T) {
		t.Parallel()
		c := clustered.StartCluster(t, 3, 0)
		cfg := cfg
		cfg.URL = c.URL
		keepsTheContract(t, cfg, clustered, c.Nodes...)
		nothingElse(t, c.Nodes...)
	})
}

// documentedUsers are the lines that docs/operations.md tells an operator to copy: for one server and Sentinels, for a
// cluster, and for the Sentinels themselves.
func documentedUsers(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "user cloakroom on >PASSWORD ") {
			users = append(users, strings.TrimSpace(strings.Replace(line, "PASSWORD", "pass:w@rd/%20", 1)))
		}
	}
	if len(users) != 3 {
		t.Fatalf("the page has %d users, want 3", len(users))
	}
	return users
}

// Each right of the documented user is taken away in turn: what is not missed has no place there.
func TestEveryDocumentedRightIsNeeded(t *testing.T) {
	user := documentedUsers(t)[0]
	server := sessiontest.Security{Users: []string{user}}.StartRedis(t)
	words := strings.Fields(user)
	for _, right := range words[1:] {
		if !strings.HasPrefix(right, "+") && !strings.HasPrefix(right, "~") && !strings.HasPrefix(right, "&") {
			continue
		}
		rest := append([]string{"ACL", "SETUSER", "cloakroom", "reset"}, slices.DeleteFunc(slices.Clone(words[2:]), func(w string) bool { return w == right })...)
		server.Do(t, rest...)
		server.Do(t, "SCRIPT", "FLUSH")
		if everythingAllowed(t, server.Addr) {
			t.Errorf("nobody misses %s", right)
		}
	}
	server.Do(t, append([]string{"ACL", "SETUSER", "cloakroom", "reset"}, words[2:]...)...)
	if !everythingAllowed(t, server.Addr) {
		t.Error("the documented user may not do everything that is needed")
	}
	for name, cfg := range map[string]Config{
		"a wrong password": {URL: "redis://" + server.Addr, Username: "cloakroom", Password: "hunter2", Prefix: "cloakroom:"},
		"no user":          {URL: "redis://" + server.Addr, Prefix: "cloakroom:"},
		"another prefix":   {URL: "redis://" + server.Addr, Username: "cloakroom", Password: "pass:w@rd/%20", Prefix: "other:"},
	} {
		err := open(t, cfg).Create(t.Context(), session.Key{1}, record(time.Hour), nil)
		if !errors.Is(err, session.ErrUnavailable) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// everythingAllowed does everything that a store does, at new keys, and tells whether it might.
func everythingAllowed(t *testing.T, addr string) bool {
	t.Helper()
	s := open(t, Config{URL: "redis://cloakroom:pass%3Aw%40rd%2F%2520@" + addr + "/1", Prefix: "cloakroom:"})
	if life(t.Context(), s) != nil {
		return false
	}
	if _, err := listen(t, s); err != nil {
		return false
	}
	problem, _, err := s.advice(t.Context())
	return problem == "" && err == nil
}

func TestAPolicyThatDropsSessionsIsWarnedOf(t *testing.T) {
	server := sessiontest.StartRedis(t)
	server.Do(t, "ACL", "SETUSER", "blind", "on", ">p", "~*", "+ping")
	advice := func(url string) (said string) {
		open(t, Config{URL: url}).Advise(t.Context(), func(problem, remedy string) { said = problem + "; " + remedy })
		return said
	}
	url := "redis://" + server.Addr
	if said := advice(url); said != "" {
		t.Errorf("noeviction: %s", said)
	}
	if said := advice("redis://blind:p@" + server.Addr); !strings.Contains(said, "NOPERM") || !strings.Contains(said, "INFO") {
		t.Errorf("a user that may not ask: %q", said)
	}
	server.Do(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	if said := advice(url); !strings.Contains(said, "allkeys-lru") || !strings.Contains(said, "noeviction") {
		t.Errorf("allkeys-lru: %q", said)
	}
}
