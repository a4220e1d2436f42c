package redisstore

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// address is what a store's URL says.
type address struct {
	kind     kind
	hosts    []string // host:port
	secure   bool
	database int
	master   string // the name that the Sentinels watch it under
	username string
	password string
}

type kind int

const (
	single kind = iota
	sentinel
	cluster
)

// schemes with their kind and the port that goes without saying.
var schemes = map[string]struct {
	kind kind
	port string
}{
	"redis": {single, "6379"}, "redis-sentinel": {sentinel, "26379"}, "redis-cluster": {cluster, "6379"},
}

var errURL = errors.New("URL is not redis://host:port/database, nor one of Sentinels or a cluster")

// parse reads a store's URL. Those of Sentinels and clusters list their hosts with commas, which net/url does not take. The
// errors repeat nothing of it: it may hold a password.
func parse(text string) (address, error) {
	name, rest, ok := strings.Cut(text, "://")
	plain, secure := strings.CutPrefix(name, "rediss")
	if secure {
		name = "redis" + plain
	}
	scheme, known := schemes[name]
	if !ok || !known {
		return address{}, errURL
	}
	a := address{kind: scheme.kind, secure: secure}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	user := strings.LastIndexByte(rest[:end], '@') + 1
	for host := range strings.SplitSeq(rest[user:end], ",") {
		u, err := url.Parse("redis://" + host)
		if err != nil || u.Hostname() == "" || u.User != nil {
			return address{}, errURL
		}
		port := u.Port()
		if port == "" {
			port = scheme.port
		}
		a.hosts = append(a.hosts, net.JoinHostPort(u.Hostname(), port))
	}
	if a.kind == single && len(a.hosts) > 1 {
		return address{}, errors.New("URL names several hosts, and is neither redis-sentinel:// nor redis-cluster://")
	}
	u, err := url.Parse("redis://" + rest[:user] + "host" + rest[end:])
	if err != nil || u.Fragment != "" {
		return address{}, errURL
	}
	if u.User != nil {
		a.username = u.User.Username()
		a.password, _ = u.User.Password()
	}
	if number := strings.TrimPrefix(u.Path, "/"); number != "" {
		if a.database, err = strconv.Atoi(number); err != nil || a.database < 0 || a.kind == cluster && a.database > 0 {
			return address{}, errors.New("URL has a path that is not the number of a database")
		}
	}
	query := u.Query()
	a.master = query.Get("master")
	query.Del("master")
	if len(query) > 0 || (a.master != "") != (a.kind == sentinel) {
		return address{}, errors.New("URL must have ?master=NAME if it names Sentinels, and no other parameter")
	}
	return a, nil
}
