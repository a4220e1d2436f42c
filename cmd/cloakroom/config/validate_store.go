package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// store checks the store's URL, which is never shown: it may hold a password.
func (v *validator) store() {
	const path = "store.url"
	s := v.Store
	if v.broken(path) || v.broken("store") {
		return
	}
	remote := v.Public.URL != "" && !v.Public.Loopback()
	if !v.given(path) && remote {
		v.at(path, "is missing", "name a Redis, such as redis://redis:6379/0; memory: is for one replica, and loses all sessions at a restart")
		return
	}
	if s.InMemory() {
		v.memory(remote)
		return
	}
	u, hosts, ok := splitStoreURL(s.URL.Reveal())
	if !ok {
		v.at(path, "is not the URL of a store", "write memory:, redis://host:6379/0 or rediss://host:6379/0")
		return
	}
	v.storeURL(u, hosts)
	if u.User != nil {
		v.twice("store.username", s.Username, u.User.Username())
		password, _ := u.User.Password()
		v.twice("store.password", s.Password.Reveal(), password)
	}
	v.pair("store", "cert_file", s.CertFile, "key_file", s.KeyFile)
	v.certificate("store.cert_file", s.CertFile, s.KeyFile)
	v.authorities("store.ca_file", s.CAFile)
	if !strings.HasPrefix(u.Scheme, "rediss") {
		for key, value := range map[string]string{"ca_file": s.CAFile, "cert_file": s.CertFile, "key_file": s.KeyFile} {
			if value != "" {
				v.at(child("store", key), "says nothing for a store without TLS", "use rediss://, or take it out")
			}
		}
	}
}

var storeSchemes = []string{"redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"}

// splitStoreURL reads a store's URL. Those of Sentinels and clusters list their hosts with commas, which net/url does not
// take, so it sees the first only.
func splitStoreURL(text string) (u *url.URL, hosts []string, ok bool) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || !slices.Contains(storeSchemes, scheme) {
		return nil, nil, false
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	user := strings.LastIndexByte(rest[:end], '@') + 1
	hosts = strings.Split(rest[user:end], ",")
	for _, host := range hosts {
		one, err := url.Parse(scheme + "://" + host)
		if err != nil || one.Hostname() == "" || badPort(one) {
			return nil, nil, false
		}
	}
	u, err := url.Parse(scheme + "://" + rest[:user] + hosts[0] + rest[end:])
	return u, hosts, err == nil
}

func (v *validator) storeURL(u *url.URL, hosts []string) {
	const path = "store.url"
	sentinel, cluster := strings.HasSuffix(u.Scheme, "-sentinel"), strings.HasSuffix(u.Scheme, "-cluster")
	if len(hosts) > 1 && !sentinel && !cluster {
		v.at(path, "names several hosts", "use redis-sentinel:// or redis-cluster://")
	}
	db := strings.TrimPrefix(u.Path, "/")
	if n, err := strconv.Atoi(db); db != "" && (err != nil || n < 0) {
		v.at(path, "has a path that is not a database's number", "write redis://host:6379/0")
	} else if cluster && n > 0 {
		v.at(path, "names a database, and a cluster has only 0", "take the number off")
	}
	if u.Fragment != "" {
		v.at(path, "has a fragment", "take off what follows the #; a # in a password is written %23")
	}
	for name := range u.Query() {
		if name != "master" || !sentinel {
			v.at(path, "has a parameter that is not known", "only redis-sentinel:// has one: ?master=NAME; the rest are keys of store")
		}
	}
	if sentinel && u.Query().Get("master") == "" {
		v.at(path, "does not say which master the Sentinels watch", "add ?master=NAME")
	}
	if !sentinel && (v.Store.SentinelUsername != "" || v.Store.SentinelPassword != "") {
		v.at("store.sentinel_username", "or sentinel_password says nothing without Sentinels", "take them out, or use redis-sentinel://")
	}
}

// twice reports a value that is in the URL as well, and differs.
func (v *validator) twice(path, value, inURL string) {
	if value != "" && inURL != "" && value != inURL {
		v.at(path, "differs from what store.url says", "keep it in one place")
	}
}

func (v *validator) memory(remote bool) {
	const path = "store.url"
	if v.Public.Listen == Off || v.Internal.Listen == Off {
		v.at(path, "is memory:, which the other half of a split deployment cannot see", "use Redis")
	}
	if remote && len(v.File.Secrets) > 0 {
		v.warn(path, "is memory: at a public URL: sessions are lost at a restart, and there can be one replica only", "use Redis")
	}
	fresh := defaults().Store
	given := map[string]bool{
		"username": v.Store.Username != "", "password": v.Store.Password != "", "sentinel_username": v.Store.SentinelUsername != "",
		"sentinel_password": v.Store.SentinelPassword != "", "ca_file": v.Store.CAFile != "", "cert_file": v.Store.CertFile != "", "key_file": v.Store.KeyFile != "",
		"prefix": v.Store.Prefix != fresh.Prefix, "timeout": v.Store.Timeout != fresh.Timeout,
	}
	for key, set := range given {
		if set {
			v.at(child("store", key), "says nothing for the memory store", "set store.url to a Redis, or take it out")
		}
	}
}
