package config

import (
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"cloakroom/internal/certtest"
)

// sound is a configuration without faults, by top-level key; a case replaces some of its keys.
var sound = map[string]string{
	"public":    `public: {url: "https://app.example.com"}`,
	"internal":  `internal: {url: "https://cloakroom:8081"}`,
	"store":     `store: {url: "redis://redis:6379/0"}`,
	"secrets":   `secrets: ["${K1}"]`,
	"providers": `providers: {main: {issuer: "https://idp.example.com", client_id: app, client_secret: "${S1}"}}`,
	"routes":    `routes: [{path: /api, upstream: "http://api:9001", audience: api}]`,
	"exchange":  `exchange: {audiences: {api: {scopes: [api:read]}}}`,
}

// with is the sound configuration with these top-level keys instead; `-key` leaves one out.
func with(replacements ...string) string {
	parts := map[string]string{}
	maps.Copy(parts, sound)
	for _, text := range replacements {
		if name, ok := strings.CutPrefix(text, "-"); ok {
			delete(parts, name)
			continue
		}
		key, _, _ := strings.Cut(text, ":")
		parts[key] = text
	}
	var b strings.Builder
	for _, key := range keysOfFile() {
		if text, ok := parts[key]; ok {
			b.WriteString(text + "\n")
		}
	}
	return b.String()
}

func keysOfFile() []string {
	return []string{"public", "internal", "admin", "store", "secrets", "session", "providers", "issuers", "routes", "exchange", "limits", "drain", "log", "telemetry", "extra"}
}

// provider, route, audience and client are the sound configuration with one of them changed.
func provider(keys string) string {
	return with(`providers: {main: {issuer: "https://idp.example.com", client_id: app, client_secret: "${S1}", ` + keys + `}}`)
}
func route(keys string) string { return with(`routes: [{` + keys + `}]`) }
func loopbackRoute(keys string) string {
	return with(`public: {url: "http://localhost:8080"}`, `routes: [{`+keys+`}]`)
}
func audience(keys string) string { return with(`exchange: {audiences: {api: {` + keys + `}}}`) }
func client(keys string) string {
	return with(`exchange: {audiences: {api: {scopes: [api:read]}}, clients: {caller: {` + keys + `}}}`)
}

func TestEveryRuleRefuses(t *testing.T) {
	const upstream = `path: /api, upstream: "http://api:9001", `
	const caller = `auth: {secret: "${S2}"}, audiences: [api], `
	otherKey := string(certtest.Issue(t, certtest.Named("another"), nil).Key)
	rsaKey := rsaPEM(t)
	dir := folder(t, map[string]string{
		"logo": "<svg/>", "large": "<svg>" + strings.Repeat(" ", 64<<10), "cert": "cert", "key": "key", "rsa": rsaKey, "rsa2": rsaKey, "text": "no certificate", "dist/index.html": "<p>", "empty/x": "x", "otherkey": otherKey, "jwks": `{"keys":[]}`, "keyset": "keyset",
		"german": "language: de\ntry-again: Nochmals\n", "json": `{"one-moment": "Moment"}`, "misspelt": "try-agian: x\n", "twice": "try-again: x\ntry-again: y\n", "nested": "try-again: {x: y}\n",
	})
	cases := []struct {
		name, file string
		want       []string // "path: part of the problem or remedy", in the file's order
	}{
		{"a sound configuration", with(), nil},
		{"no keys at all", "", []string{"providers: are missing", "public.url: is missing"}},
		// syntax and structure
		{"an unknown key", with(`log: {levle: info}`), []string{`log.levle: did you mean "level"?`}},
		{"an unknown key at the top", with(`extra: 1`), []string{`extra: is not a key`}},
		{"a colon without a space in flow style", with(`log: {level:info}`), []string{`log["level:info"]: put a space after the colon`}},
		{"a duplicate key", with("log: {level: info, level: debug}"), []string{"log.level: is set twice"}},
		{"a duplicate top-level key", with("log: {level: info}\nlog: {level: debug}"), []string{"log: is set twice"}},
		{"a key without a value", with("log:"), []string{"log: has no value"}},
		{"a number where a text is wanted", with(`public: {url: 7}`), []string{"public.url: a number where a text"}},
		{"a list where a text is wanted", with(`store: {url: [a]}`), []string{"store.url: a list where a text"}},
		{"a text where a list is wanted", with(`secrets: "${K1}"`), []string{"secrets: a text where a list"}},
		{"a text where a map is wanted", with(`log: info`), []string{"log: a text where a map"}},
		{"a text where a boolean is wanted", provider(`require_pkce: "yes"`), []string{"providers.main.require_pkce: where true or false"}},
		{"a text where a number is wanted", with(`limits: {login_per_minute: "many"}`), []string{"limits.login_per_minute: where a whole number"}},
		{"a negative number", with(`limits: {login_per_minute: -1}`), []string{"limits.login_per_minute: is not a whole number"}},
		{"an octal number", with(`limits: {login_per_minute: 010}`), []string{"limits.login_per_minute: is not a whole number"}},
		{"an unset variable", with(`store: {url: "${NOT_SET}"}`), []string{"store.url: variable NOT_SET is not set"}},
		{"a missing file", with(`admin: {token: "${file:none}"}`), []string{"admin.token: there is no file none"}},
		{"a reference that is none", with(`admin: {token: "${a b}"}`), []string{"admin.token: neither ${NAME} nor"}},
		{"a reference without an end", with(`admin: {token: "${S1"}`), []string{"admin.token: without its }"}},
		{"an unquoted reference in flow style", with(`store: {url: ${REDIS_URL}}`), []string{`: put it in quotes`}},
		{"an unquoted reference in a list", with(`secrets: [${K1}]`), []string{`: put it in quotes`}},
		{"a duration without a unit", with(`session: {idle: 30}`), []string{"session.idle: has no unit"}},
		{"a duration that is none", with(`session: {idle: 1 day}`), []string{`session.idle: "1 day" is not a duration`}},
		{"a negative duration", with(`drain: {delay: -1s}`), []string{"drain.delay: is negative"}},
		{"a duration of nothing", with(`store: {url: "redis://r", timeout: 0s}`), []string{"store.timeout: is 0"}},
		{"a size with a decimal unit", route(upstream + `audience: api, max_body: 10MB`), []string{"routes[0].max_body: is not a size"}},
		{"a size of nothing", route(upstream + `audience: api, max_body: 0`), []string{"routes[0].max_body: is 0"}},
		{"an address where a range is wanted", with(`limits: {egress_allow: [10.1.2.3]}`), []string{"limits.egress_allow[0]: write 10.1.2.3/32"}},
		{"a range with bits after its prefix", with(`limits: {egress_allow: [10.1.2.3/8]}`), []string{"limits.egress_allow[0]: write 10.0.0.0/8"}},
		{"a value that is not one of the key's", with(`log: {level: inof}`), []string{`log.level: did you mean "info"?`}},
		{"the same item twice", provider(`scopes: [openid, email, email]`), []string{"providers.main.scopes[2]: is listed twice"}},
		{"an empty item", provider(`scopes: [openid, ""]`), []string{"providers.main.scopes[1]: is empty"}},
		{"a level from a variable", with(`log: {level: "${S1}"}`), []string{"log.level: its value is not one of"}},
		{"a duration from a variable", with(`session: {idle: "${S1}"}`), []string{"session.idle: its value is not a duration"}},
		{"a number from a variable", with(`limits: {login_per_minute: "${S1}"}`), []string{"limits.login_per_minute: its value is not a whole number"}},
		{"a boolean from a variable", provider(`require_pkce: "${S1}"`), []string{"providers.main.require_pkce: where true or false"}},
		{"a range from a variable", with(`limits: {egress_allow: ["${S1}"]}`), []string{"limits.egress_allow[0]: its value is not a range"}},
		{"a URL from a variable", with(`public: {url: "${S1}"}`), []string{"public.url: its value is not an http(s) URL"}},
		{"an upstream from a variable", route(upstream[:12] + `upstream: "${S1}", audience: api`), []string{"routes[0].upstream: its value is not an http(s) URL"}},
		{"a size from a variable", route(upstream + `audience: api, max_body: "${S1}"`), []string{"routes[0].max_body: its value is not a size"}},
		{"a scope from a variable", route(upstream + `token: {audience: api, scope: "${S1}"}`), []string{"routes[0].token.scope: which its audience cannot grant"}},
		{"a file from a variable", with(`public: {url: "https://a.example", pages: {logo_file: "${S1}"}}`), []string{"public.pages.logo_file: there is no file of the name"}},
		{"a folder from a variable", route(`path: /, spa: "${S1}"`), []string{"routes[0].spa: there is no folder of the name"}},
		{"a scope of a client from a variable", client(caller + `scopes: ["${S1}"]`), []string{"exchange.clients.caller.scopes[0]: which its audience cannot grant"}},
		{"an audience of a client from a variable", client(`auth: {secret: "${S2}"}, audiences: ["${S1}"]`), []string{"exchange.clients.caller.audiences[0]: which there is not"}},
		{"an audience of a route from a variable", route(upstream + `audience: "${S1}"`), nil},
		// public
		{"no public URL", with(`public: {listen: ":1"}`), []string{"public.url: is missing"}},
		{"a public URL with a path", with(`public: {url: "https://a.example/app"}`), []string{"public.url: has a path"}},
		{"a public URL in capitals", with(`public: {url: "https://App.example"}`), []string{"public.url: write https://app.example"}},
		{"a public URL with its default port", with(`public: {url: "https://app.example:443"}`), []string{"public.url: write https://app.example"}},
		{"a public URL that is none", with(`public: {url: "app.example.com"}`), []string{"public.url: is not an http(s) URL"}},
		{"http at a host that is not loopback", with(`public: {url: "http://app.example.com"}`), []string{"public.url: is http for a host that is not a loopback"}},
		{"a certificate at an http URL", with(`public: {url: "http://localhost:8080", tls: {cert_file: cert, key_file: key}}`), []string{"public.tls.cert_file: contradicts public.url"}},
		{"a certificate without its key", with(`public: {url: "https://a.example", tls: {cert_file: cert}}`), []string{"public.tls.cert_file: has no public.tls.key_file"}},
		{"a key without its certificate", with(`public: {url: "https://a.example", tls: {key_file: key}}`), []string{"public.tls.key_file: has no public.tls.cert_file"}},
		{"a certificate with another key", with(`public: {url: "https://a.example", tls: {cert_file: cert, key_file: otherkey}}`), []string{"public.tls.cert_file: are not a certificate and its key"}},
		{"a missing certificate", with(`public: {url: "https://a.example", tls: {cert_file: none, key_file: key}}`), []string{"public.tls.cert_file: there is no file none"}},
		{"a listener without a port", with(`public: {url: "https://a.example", listen: localhost}`), []string{"public.listen: is not host:port"}},
		{"a listener with no possible port", with(`public: {url: "https://a.example", listen: ":99999"}`), []string{"public.listen: has no port"}},
		{"two listeners at one address", with(`public: {url: "https://a.example", listen: ":8081"}`), []string{"public.listen: is the address of internal.listen too"}},
		{"a content-security-policy directive that is none", with(`public: {url: "https://a.example", content_security_policy: {add: {Img Src: ["https:"]}}}`), []string{`public.content_security_policy.add["Img Src"]: is no directive that can be widened: there are base-uri, `}},
		{"two content-security-policy sources in one", with(`public: {url: "https://a.example", content_security_policy: {add: {img-src: ["https: data:"]}}}`), []string{"public.content_security_policy.add.img-src[0]: is not one source"}},
		{"texts of one's own", with(`public: {url: "https://a.example", pages: {strings_file: german}}`), nil},
		{"texts in JSON", with(`public: {url: "https://a.example", pages: {strings_file: json}}`), nil},
		{"a text that nobody says", with(`public: {url: "https://a.example", pages: {strings_file: misspelt}}`), []string{`public.pages.strings_file: is not a map of texts: "try-agian" is no name of a text: there are another-account, continue, draining.text`}},
		{"a text twice", with(`public: {url: "https://a.example", pages: {strings_file: twice}}`), []string{`public.pages.strings_file: is not a map of texts: [2:1]`}},
		{"a text that is none", with(`public: {url: "https://a.example", pages: {strings_file: nested}}`), []string{`public.pages.strings_file: is not a map of texts: [1:`}},
		{"a colour that is none", with(`public: {url: "https://a.example", pages: {color: green}}`), []string{"public.pages.color: is not a hex colour"}},
		{"nobody may sign in", with(`limits: {login_per_minute: 0}`), []string{"limits.login_per_minute: is 0"}},
		{"a SPA with methods", route(`path: /, spa: dist, methods: [GET]`), []string{"routes[0].methods: says nothing for a SPA's folder"}},
		{"a dev server with methods", loopbackRoute(`path: /, spa_dev: "http://localhost:5173", methods: [GET]`), []string{"routes[0].methods: says nothing for a SPA's dev server"}},
		{"a dev server where people are", route(`path: /, spa_dev: "http://localhost:5173"`), []string{"routes[0].spa_dev: is for development"}},
		{"a dev server with a token", loopbackRoute(`path: /, spa_dev: "http://localhost:5173", token: access`), []string{"routes[0].token: says nothing for a SPA"}},
		{"a clock that may not differ", provider(`clock_skew: 0s`), []string{"providers.main.clock_skew: is 0"}},
		{"a content-security-policy directive without sources", with(`public: {url: "https://a.example", content_security_policy: {add: {upgrade-insecure-requests: []}}}`), []string{"public.content_security_policy.add.upgrade-insecure-requests: is no directive that can be widened"}},
		{"a content-security-policy directive that widens nothing", with(`public: {url: "https://a.example", content_security_policy: {add: {report-uri: ["/x"], img-src: ["https:"], sandbox: [allow-forms]}}}`), []string{"public.content_security_policy.add.report-uri: is no directive", "public.content_security_policy.add.sandbox: is no directive"}},
		{"a content-security-policy source beyond ASCII", with(`public: {url: "https://a.example", content_security_policy: {add: {img-src: ["https://münchen.example"]}}}`), []string{"public.content_security_policy.add.img-src[0]: is not one source"}},
		{"a logo that is no image", with(`public: {url: "https://a.example", pages: {logo_file: text}}`), []string{"public.pages.logo_file: is not an SVG"}},
		{"a logo of a megabyte", with(`public: {url: "https://a.example", pages: {logo_file: large}}`), []string{"public.pages.logo_file: is over 64 KiB"}},
		{"a logo", with(`public: {url: "https://a.example", pages: {logo_file: logo}}`), nil},
		{"HSTS at an http URL", with(`public: {url: "http://localhost:8080", hsts: 60}`), []string{"public.hsts: says nothing for an http URL"}},
		{"no HSTS at an http URL", with(`public: {url: "http://localhost:8080", hsts: 0}`), nil},
		{"a loopback origin over http beside a loopback URL", with(`public: {url: "http://localhost:8080", allowed_origins: ["http://localhost:5173"]}`), nil},
		{"another origin over http beside a loopback URL", with(`public: {url: "http://localhost:8080", allowed_origins: ["http://spa.example"]}`), []string{"public.allowed_origins[0]: is not https"}},
		{"keys published below a path that is Cloakroom's own", with(`public: {url: "https://a.example", publish_keys: true}`, `internal: {url: "https://c/bff/x"}`), []string{"internal.url: has a path below which public.publish_keys"}},
		{"keys published below a path that must be escaped", with(`public: {url: "https://a.example", publish_keys: true}`, `exchange: {issuer: "https://c/a b"}`), []string{"exchange.issuer: has a path below which public.publish_keys"}},
		{"keys published below a path", with(`public: {url: "https://a.example", publish_keys: true}`, `exchange: {issuer: "https://c/a/b"}`), nil},
		// internal, admin
		{"a certificate header that nobody may set", with(`internal: {url: "https://c", tls: {client_cert_header: Client-Cert}}`), []string{"internal.tls.client_cert_header: is not built yet"}},
		{"an admin listener for all without a token", with(`admin: {listen: ":9090"}`), []string{"admin.listen: there is no admin.token"}},
		{"an admin listener that is off", with(`admin: {listen: off}`), []string{"admin.listen: is not host:port"}},
		// store and secrets
		{"no store at a public URL", with("-store"), []string{"store.url: is missing"}},
		{"no secrets at a public URL", with("-secrets"), []string{"secrets: are missing"}},
		{"the memory store at a public URL without secrets", with(`store: {url: "memory:"}`, "-secrets"), []string{"secrets: are missing"}},
		{"Redis at a loopback URL without secrets", with(`public: {url: "http://localhost:8080"}`, "-secrets"), []string{"secrets: are missing"}},
		{"a password for the memory store", with(`store: {url: "memory:", password: "${S1}"}`), []string{"store.password: says nothing for the memory store"}},
		{"a prefix for the memory store", with(`store: {url: "memory:", prefix: "a:", timeout: 1s}`), []string{"store.prefix: says nothing for the memory store", "store.timeout: says nothing for the memory store"}},
		{"the memory store with Redis's defaults", with(`store: {url: "memory:", prefix: "cloakroom:", timeout: 250ms}`), nil},
		{"a store URL with a fragment", with(`store: {url: "redis://r:6379/0#1"}`), []string{"store.url: has a fragment"}},
		{"a store of another kind", with(`store: {url: "postgres://app:s3cr3t@db/x"}`), []string{"store.url: is not the URL of a store"}},
		{"a store URL with an option", with(`store: {url: "redis://r:6379/0?db=1"}`), []string{"store.url: has a parameter"}},
		{"a store URL with a path", with(`store: {url: "redis://r:6379/zero"}`), []string{"store.url: not a database's number"}},
		{"several hosts of a plain Redis", with(`store: {url: "redis://a:1,b:2"}`), []string{"store.url: names several hosts"}},
		{"another password than the URL's", with(`store: {url: "redis://app:s3cr3t-a@r", password: "${S1}"}`), []string{"store.password: differs from what store.url says"}},
		{"authorities for a store without TLS", with(`store: {url: "redis://r", ca_file: cert}`), []string{"store.ca_file: says nothing for a store without TLS"}},
		{"authorities that are none", with(`store: {url: "rediss://r", ca_file: text}`), []string{"store.ca_file: holds no certificate"}},
		{"a secret that is not base64", with(`secrets: ["${S1}"]`), []string{"secrets[0]: is not base64 of 32 random bytes"}},
		{"a secret that is too short", with(`secrets: ["AAAA"]`), []string{"secrets[0]: make one with `cloakroom secret`"}},
		{"a secret that is not random", with(`secrets: ["` + strings.Repeat("A", 43) + `="]`), []string{"secrets[0]: too regular"}},
		{"a secret twice", with(`secrets: ["${K1}", "${K2}", "${K1}"]`), []string{"secrets[2]: is the same secret"}},
		{"four secrets", with(`secrets: ["${K1}", "${K2}", "${K3}", "${K4}"]`), []string{"secrets: at most 3"}},
		// session
		{"an idle time over the absolute one", with(`session: {idle: 2h, absolute: 1h}`), []string{"session.idle: is longer than session.absolute"}},
		{"an idle time of nothing", with(`session: {idle: 0s}`), []string{"session.idle: is 0"}},
		{"a cookie named like the login cookie", with(`session: {cookie: {name: login}}`), []string{"session.cookie.name: is the name of the login cookie"}},
		{"a cookie with the prefix", with(`session: {cookie: {name: __Host-Http-session}}`), []string{"session.cookie.name: leave the prefix out"}},
		{"a cookie's name that is none", with(`session: {cookie: {name: "my session"}}`), []string{"session.cookie.name: is not a cookie's name"}},
		{"a cookie for all sites", with(`session: {cookie: {same_site: none}}`), []string{"session.cookie.same_site: is not one of its values"}},
		{"the claim `session` in the list", with(`session: {user_claims: [sub, session]}`), []string{"session.user_claims[1]: is reserved"}},
		{"the claim `session` in the map", with(`session: {user_claims: {session: id.sub}}`), []string{"session.user_claims.session: is reserved"}},
		{"the claim `sub` in the map", with(`session: {user_claims: {sub: id.email}}`), []string{"session.user_claims.sub: is reserved"}},
		{"the claim `sub` in the list", with(`session: {user_claims: [sub]}`), nil},
		{"a user claim whose rule is none", with(`session: {user_claims: {email: id.}}`), []string{"session.user_claims.email: is no CEL rule"}},
		// providers
		{"no provider", with("-providers"), []string{"providers: are missing"}},
		{"a provider without issuer and client id", with(`providers: {main: {client_secret: "${S1}"}}`), []string{"providers.main.client_id: is missing", "providers.main.issuer: is missing"}},
		{"a provider without a secret", with(`providers: {main: {issuer: "https://idp.example.com", client_id: app}}`), []string{"providers.main.client_secret: is missing"}},
		{"a provider with an empty secret", with(`providers: {main: {issuer: "https://idp.example.com", client_id: app, client_secret: "${EMPTY}"}}`), []string{"providers.main.client_secret: is missing"}},
		{"a provider's name that cannot stand in a URL", with(`providers: {Main Pool: {issuer: "https://idp.example.com", client_id: app, client_secret: "${S1}"}}`), []string{`providers["Main Pool"]: is not a name`}},
		{"an issuer over http", with(`providers: {main: {issuer: "http://idp.example.com", client_id: app, client_secret: "${S1}"}}`), []string{"providers.main.issuer: is not https"}},
		{"an issuer with a query", with(`providers: {main: {issuer: "https://idp.example.com?x", client_id: app, client_secret: "${S1}"}}`), []string{"providers.main.issuer: has a query"}},
		{"an issuer at the metadata address", with(`providers: {main: {issuer: "https://169.254.169.254", client_id: app, client_secret: "${S1}"}}`), []string{"providers.main.issuer: list it in limits.egress_allow"}},
		{"a provider that is the exchange itself", with(`providers: {main: {issuer: "https://cloakroom:8081", client_id: app, client_secret: "${S1}"}}`), []string{"providers.main.issuer: is the exchange's own issuer"}},
		{"a provider that is Cloakroom's public side, where nothing else is its issuer", with("-internal", "-routes", "-exchange", `providers: {main: {issuer: "https://app.example.com", client_id: app, client_secret: "${S1}"}}`), []string{"providers.main.issuer: is the exchange's own issuer"}},
		{"two providers of one issuer", with(`providers: {main: {issuer: "https://idp.example.com", client_id: app, client_secret: "${S1}"}, staff: {issuer: "https://idp.example.com", client_id: staff, client_secret: "${S1}"}}`), []string{"providers.staff.issuer: is that of the provider main already"}},
		{"a secret for a public client", provider(`token_endpoint_auth_method: none`), []string{"providers.main.client_secret: contradicts token_endpoint_auth_method"}},
		{"scopes without openid", provider(`scopes: [email]`), []string{"providers.main.scopes: lack openid"}},
		{"two scopes in one item", provider(`scopes: [openid, "a b"]`), []string{"providers.main.scopes[1]: is not a scope"}},
		{"a fixed parameter that is Cloakroom's", provider(`authorization_params: {state: x}`), []string{"providers.main.authorization_params.state: is set by Cloakroom itself"}},
		{"a fixed parameter that has a key", provider(`authorization_params: {audience: x}`), []string{"providers.main.authorization_params.audience: has a key of its own"}},
		{"a login parameter that is Cloakroom's", provider(`login_params: [nonce]`), []string{"providers.main.login_params[0]: is not for a browser to choose"}},
		{"a login parameter that is fixed", provider(`authorization_params: {prompt: login}, login_params: [prompt]`), []string{"providers.main.login_params[0]: is fixed by authorization_params"}},
		{"an algorithm without a signature", provider(`algorithms: [none]`), []string{"providers.main.algorithms[0]: is not one of its values"}},
		{"an algorithm with a shared key", provider(`algorithms: [HS256]`), []string{`providers.main.algorithms[0]: did you mean "RS256"?`}},
		{"no algorithm", provider(`algorithms: []`), []string{"providers.main.algorithms: is an empty list"}},
		{"an endpoint that there is not", provider(`endpoints: {tokens: "https://idp.example.com/t"}`), []string{`providers.main.endpoints.tokens: did you mean "token"?`}},
		{"an endpoint over http", provider(`endpoints: {token: "http://idp.example.com/t"}`), []string{"providers.main.endpoints.token: is not https"}},
		{"a proxy that is none", provider(`proxy: "proxy:3128"`), []string{"providers.main.proxy: is not the URL of a proxy"}},
		{"a sign-in rule that is none", provider(`allow: id.email_verified &&`), []string{"providers.main.allow: is no CEL rule"}},
		{"a sign-in rule that is no condition", provider(`allow: '"text"'`), []string{"providers.main.allow: not a bool"}},
		{"a rule from a variable", provider(`allow: "${BAD}"`), []string{"providers.main.allow: what is wrong is not shown"}},
		// routes
		{"a route without a path", route(`upstream: "http://api:9001", audience: api`), []string{"routes[0].path: is missing"}},
		{"a route without a target", route(`path: /api`), []string{"routes[0]: has no target"}},
		{"a route with two targets", route(`path: /api, upstream: "http://api:9001", spa: dist, audience: api`), []string{"routes[0].spa: is a second target"}},
		{"an upstream without a token", route(`path: /api, upstream: "http://api:9001"`), []string{"routes[0].token: is missing"}},
		{"an upstream that is no URL", route(`path: /api, upstream: "api:9001", audience: api`), []string{"routes[0].upstream: is not an http(s) URL"}},
		{"an upstream with a password", route(`path: /api, upstream: "http://u:s3cr3t@api:9001", audience: api`), []string{"routes[0].upstream: has a user or password"}},
		{"an upstream at the metadata address", route(`path: /api, upstream: "http://169.254.169.254", audience: api`), []string{"routes[0].upstream: list it in limits.egress_allow"}},
		{"a path that ends with a slash", route(`path: /api/, upstream: "http://api:9001", audience: api`), []string{"routes[0].path: ends with /"}},
		{"a path that is not absolute", route(`path: api, upstream: "http://api:9001", audience: api`), []string{"routes[0].path: does not begin with /"}},
		{"a path with a pattern", route(`path: "/api/*", upstream: "http://api:9001", audience: api`), []string{"routes[0].path: without a pattern"}},
		{"a path with a character that has two spellings", route(`path: /api/@v1, upstream: "http://api:9001", audience: api`), []string{"routes[0].path: has a character other than letters"}},
		{"an upstream's path with dots", route(`path: /api, upstream: "http://api:9001/a/../b", audience: api`), []string{"routes[0].upstream: has a path that has a dot segment"}},
		{"an upstream's path with an encoded slash", route(`path: /api, upstream: "http://api:9001/a%2Fb", audience: api`), []string{"routes[0].upstream: has a path that has an encoded slash"}},
		{"an upstream with a path", route(`path: /api, upstream: "http://api:9001/@v1/x%20y/", audience: api`), nil},
		{"a dev server's path with dots", loopbackRoute(`path: /, spa_dev: "http://localhost:5173/./"`), []string{"routes[0].spa_dev: has a path that has a dot segment"}},
		{"a path with dots", route(`path: /a/../b, upstream: "http://api:9001", audience: api`), []string{"routes[0].path: has a dot segment"}},
		{"a path of Cloakroom's own", route(`path: /bff/x, upstream: "http://api:9001", audience: api`), []string{"routes[0].path: is Cloakroom's own"}},
		{"a path twice", with(`routes: [{path: /a, upstream: "http://a", token: none}, {path: /a, upstream: "http://b", token: none}]`), []string{"routes[1].path: is that of routes[0] too"}},
		{"a token and an audience", route(upstream + `audience: api, token: none`), []string{"routes[0].audience: contradicts token"}},
		{"a token without an audience", route(upstream + `token: {per: request}`), []string{"routes[0].token.audience: is missing"}},
		{"a token of another kind", route(upstream + `token: id`), []string{"routes[0].token: is none of"}},
		{"a scope that the audience cannot grant", route(upstream + `token: {audience: api, scope: "api:reed"}`), []string{`routes[0].token.scope: did you mean "api:read"?`}},
		{"an audience without an issuer", with("-internal"), []string{"routes[0].audience: there is no issuer to mint it"}},
		{"a SPA with a token", route(`path: /, spa: dist, token: access`), []string{"routes[0].token: says nothing for a SPA"}},
		{"a SPA with an audience", route(`path: /, spa: dist, audience: api`), []string{"routes[0].audience: says nothing for a SPA"}},
		{"a SPA without a folder", route(`path: /, spa: none`), []string{"routes[0].spa: there is no folder none"}},
		{"a SPA without an index.html", route(`path: /, spa: empty`), []string{"routes[0].spa: there is no file index.html in empty"}},
		{"a SPA with a prefix to strip", route(`path: /app, spa: dist, strip_prefix: /app`), []string{"routes[0].strip_prefix: says nothing for a SPA's folder"}},
		{"a prefix to strip that is none of the path", route(upstream + `audience: api, strip_prefix: /ap`), []string{"routes[0].strip_prefix: is not a prefix of the route's path"}},
		{"a minted token without a session", route(upstream + `audience: api, session: none`), []string{"routes[0].session: there is nobody to mint a token for"}},
		{"an access token without a session", route(upstream + `token: access, session: none`), []string{"routes[0].session: there is no access token"}},
		{"proof by Fetch Metadata where no session is needed", route(upstream + `token: none, session: none, csrf: fetch-metadata`), []string{"routes[0].csrf: says nothing where session is none"}},
		{"proof by Fetch Metadata for a SPA", route(`path: /, spa: dist, csrf: fetch-metadata`), []string{"routes[0].csrf: says nothing where session is none"}},
		{"a sign-in where no session is needed", route(upstream + `token: none, session: none, no_session: login`), []string{"routes[0].no_session: says nothing where session is none"}},
		{"a no_session that is neither", route(upstream + `audience: api, no_session: 403`), []string{"routes[0].no_session: is neither 401 nor login"}},
		{"a method in small letters", route(upstream + `audience: api, methods: [get]`), []string{"routes[0].methods[0]: write GET"}},
		{"a method that never passes", route(upstream + `audience: api, methods: [TRACE]`), []string{"routes[0].methods[0]: is not a method that passes"}},
		{"no methods", route(upstream + `audience: api, methods: []`), []string{"routes[0].methods: is an empty list"}},
		{"TLS keys for an http upstream", route(upstream + `audience: api, tls: {server_name: api}`), []string{"routes[0].tls: says nothing for an upstream over http"}},
		{"an upstream's authorities that are none", route(`path: /api, upstream: "https://api", audience: api, tls: {ca_file: text}`), []string{"routes[0].tls.ca_file: holds no certificate"}},
		{"a route's rule that is none", route(upstream + `audience: api, allow: nobody`), []string{"routes[0].allow: is no CEL rule"}},
		// exchange
		{"an issuer of the exchange with a fragment", with(`exchange: {issuer: "https://cloakroom#x"}`), []string{"exchange.issuer: has a query or a fragment"}},
		{"keys that rotate too soon", with(`exchange: {signing: {rotate: 10s}, defaults: {lifetime: 5s}}`), []string{"exchange.signing.rotate: is under 30s"}},
		{"keys that rotate before their tokens end", with(`exchange: {signing: {rotate: 1h}, audiences: {api: {lifetime: 31m}}}`), []string{"exchange.signing.rotate: is under twice the longest lifetime"}},
		{"RS256 without a key", with(`exchange: {signing: {algorithm: RS256}}`), []string{"exchange.signing.rsa_key_files: are missing"}},
		{"RS256 of an audience without a key", audience(`algorithm: RS256`), []string{"exchange.signing.rsa_key_files: are missing"}},
		{"an RSA key that is none", with(`exchange: {signing: {rsa_key_files: [key]}}`), []string{"exchange.signing.rsa_key_files[0]: holds no RSA key"}},
		{"a signing secret twice", with(`exchange: {signing: {secrets: ["${K1}", "${K1}"]}}`), []string{"exchange.signing.secrets[1]: is the same secret"}},
		{"a lifetime too short to mint", audience(`lifetime: 1s`), []string{"exchange.audiences.api.lifetime: is under 5s"}},
		{"a lifetime of nothing", audience(`lifetime: 0s`), []string{"exchange.audiences.api.lifetime: is 0"}},
		{"a protected claim mapped", audience(`claims: {sub: id.email}`), []string{"exchange.audiences.api.claims.sub: cannot be mapped"}},
		{"a protected claim mapped for all", with(`exchange: {defaults: {claims: {aud: id.email}}}`), []string{"exchange.defaults.claims.aud: cannot be mapped"}},
		{"a claim with an empty rule", audience(`claims: {email: ""}`), []string{"exchange.audiences.api.claims.email: has an empty rule"}},
		{"a claim whose rule is none", audience(`claims: {email: ids.email}`), []string{"exchange.audiences.api.claims.email: is no CEL rule"}},
		{"a scope whose rule is none", audience(`scopes: {a: 'granted()'}`), []string{"exchange.audiences.api.scopes.a: is no CEL rule"}},
		{"a scope that is none", audience(`scopes: ["a b"]`), []string{"exchange.audiences.api.scopes[0]: is not a scope"}},
		{"scopes of an empty map", audience(`scopes: {}`), []string{"exchange.audiences.api.scopes: is an empty map"}},
		{"scopes of another word", audience(`scopes: all`), []string{"exchange.audiences.api.scopes: that is not `subject`"}},
		{"an audience's rule that is none", audience(`allow: 'id.email +'`), []string{"exchange.audiences.api.allow: is no CEL rule"}},
		{"a subject whose rule is none", audience(`subject: private`), []string{"exchange.audiences.api.subject: is no CEL rule"}},
		{"a resource that is no URI", audience(`resource: orders`), []string{"exchange.audiences.api.resource: is not an absolute URI"}},
		{"a resource twice", with(`exchange: {audiences: {api: {resource: "https://r"}, b: {resource: "https://r"}}}`), []string{"exchange.audiences.b.resource: is that of the audience api too"}},
		{"an audience's name with a space", with(`exchange: {audiences: {"a b": {}}}`), []string{`exchange.audiences["a b"]: is not the name of an audience`}},
		{"a pairwise subject without a key", audience(`subject: pairwise`), []string{"exchange.audiences.api.subject: is not built yet"}},
		{"how to encrypt without keys", audience(`encrypt: {algorithm: RSA-OAEP-256, encryption: A128GCM}`), []string{"exchange.audiences.api.encrypt.algorithm: says nothing without", "exchange.audiences.api.encrypt.encryption: says nothing without"}},
		{"how to encrypt for keys that are not built yet", audience(`encrypt: {jwks_file: keyset, algorithm: RSA-OAEP-256}`), []string{"exchange.audiences.api.encrypt.jwks_file: is not built yet"}},
		{"how long a decision may take without who decides", audience(`decide: {timeout: 1s}`), []string{"exchange.audiences.api.decide.timeout: says nothing without url"}},
		{"an audience without a name", with(`exchange: {audiences: {"": {}}}`, "-routes"), []string{`exchange.audiences[""]: is not the name of an audience`}},
		{"a client without a name", with(`exchange: {audiences: {api: {}}, clients: {"": {` + caller + `}}}`), []string{`exchange.clients[""]: is not the name of an audience`}},
		{"an RSA key twice", with(`exchange: {signing: {algorithm: RS256, rsa_key_files: [rsa, rsa2]}}`), []string{"exchange.signing.rsa_key_files[1]: holds an RSA key that was named already"}},
		{"a client named like the browser's side", with(`exchange: {clients: {bff: {` + caller + `}}}`), []string{"exchange.clients.bff: is the name of the browser's side"}},
		{"a client without authentication", client(`audiences: [api]`), []string{"exchange.clients.caller.auth: is missing"}},
		{"a client with two ways to authenticate", client(`auth: {secret: "${S2}", tls_san: a.example}, audiences: [api]`), []string{"exchange.clients.caller.auth.tls_san: is not built yet"}},
		{"a client with a secret and keys", client(`auth: {secret: "${S2}", jwks_file: keyset}, audiences: [api]`), []string{"exchange.clients.caller.auth.jwks_file: is a second way beside secret"}},
		{"a client with two key sets", client(`auth: {jwks_file: keyset, jwks_uri: "https://caller/j"}, audiences: [api]`), []string{"exchange.clients.caller.auth.jwks_uri: is a second way beside jwks_file"}},
		{"a client without a usable key", client(`auth: {jwks_file: jwks}, audiences: [api]`), []string{"exchange.clients.caller.auth.jwks_file: holds no usable public key"}},
		{"a client whose key file is no key set", client(`auth: {jwks_file: text}, audiences: [api]`), []string{"exchange.clients.caller.auth.jwks_file: holds no usable public key"}},
		{"an upstream at the metadata address, behind NAT64", with(`routes: [{path: /a, upstream: "http://[64:ff9b::a9fe:a9fe]", token: none}]`), []string{"routes[0].upstream: is a link-local"}},
		{"a client's keys at the metadata address", client(`auth: {jwks_uri: "http://169.254.169.254/j"}, audiences: [api]`), []string{"exchange.clients.caller.auth.jwks_uri: is a link-local"}},
		{"a client's keys by file", client(`auth: {jwks_file: keyset}, audiences: [api]`), nil},
		{"a client's keys by address", client(`auth: {jwks_uri: "https://caller/j"}, audiences: [api]`), nil},
		{"a client with an empty secret", client(`auth: {secret: "${EMPTY}"}, audiences: [api]`), []string{"exchange.clients.caller.auth.secret: is empty"}},
		{"a client with a secret twice", client(`auth: {secret: ["${S2}", "${S2}"]}, audiences: [api]`), []string{"exchange.clients.caller.auth.secret[1]: is listed twice"}},
		{"a client without audiences", client(`auth: {secret: "${S2}"}`), []string{"exchange.clients.caller.audiences: are missing"}},
		{"a client of an audience that there is not", client(`auth: {secret: "${S2}"}, audiences: [apy]`), []string{`exchange.clients.caller.audiences[0]: did you mean "api"?`}},
		{"a client presenting tokens of an audience that there is not", client(caller + `subject_audiences: [apu]`), []string{`exchange.clients.caller.subject_audiences[0]: did you mean "api"?`}},
		{"a client's scope that its audiences cannot grant", client(caller + `scopes: [api:write]`), []string{`exchange.clients.caller.scopes[0]: cannot grant`}},
		{"a grant that there is not", client(caller + `grants: [password]`), []string{"exchange.clients.caller.grants[0]: is not one of its values"}},
		{"no grant", client(caller + `grants: []`), []string{"exchange.clients.caller.grants: is an empty list"}},
		{"a client without an issuer to mint", with("-internal", "-routes", `exchange: {audiences: {api: {}}, clients: {caller: {`+caller+`}}}`), []string{"exchange.clients.caller: there is no issuer to mint it"}},
		{"a further issuer without audiences", with(`issuers: {desk: {issuer: "https://desk.example"}}`), []string{"issuers.desk.audiences: are missing"}},
		{"a further issuer with two key sets", with(`issuers: {desk: {issuer: "https://desk.example", audiences: [c], jwks_uri: "https://desk.example/j", jwks_file: jwks}}`), []string{"issuers.desk.jwks_file: contradicts jwks_uri"}},
		{"a further issuer that is a provider", with(`issuers: {desk: {issuer: "https://idp.example.com", audiences: [c]}}`), []string{"issuers.desk.issuer: is the provider main already"}},
		{"a further issuer twice", with(`issuers: {a: {issuer: "https://desk.example", audiences: [c]}, b: {issuer: "https://desk.example", audiences: [c]}}`), []string{"issuers.b.issuer: is that of a already"}},
		{"a further issuer that is the exchange", with(`issuers: {a: {issuer: "https://cloakroom:8081", audiences: [c]}}`), []string{"issuers.a.issuer: is the exchange's own"}},
		{"a further issuer of unknown people", with(`issuers: {a: {issuer: "https://desk.example", audiences: [c], subject_issuer: mian}}`), []string{`issuers.a.subject_issuer: did you mean "main"?`}},
		{"a further issuer called like a provider", with(`issuers: {main: {issuer: "https://desk.example", audiences: [c]}}`), []string{"issuers.main: is the name of a provider already"}},
		{"a further issuer whose name cannot stand in metrics", with(`issuers: {Support Desk: {issuer: "https://desk.example", audiences: [c]}}`), []string{`issuers["Support Desk"]: is not a name`}},
		{"a further issuer without a usable key", with(`issuers: {desk: {issuer: "https://desk.example", audiences: [c], jwks_file: jwks}}`), []string{"issuers.desk.jwks_file: holds no usable public key"}},
		{"a further issuer whose keys are at the metadata address", with(`issuers: {desk: {issuer: "https://desk.example", audiences: [c], jwks_uri: "https://169.254.169.254/j"}}`), []string{"issuers.desk.jwks_uri: list it in limits.egress_allow"}},
		{"a further issuer", with(`issuers: {desk: {issuer: "https://desk.example", audiences: [c], subject_issuer: main}}`), nil},
		{"introspection", provider(`access_token_validation: introspection`), nil},
		{"introspection by a public client", with(`providers: {main: {issuer: "https://idp.example.com", client_id: app, token_endpoint_auth_method: none, access_token_validation: introspection}}`), []string{"providers.main.access_token_validation: a client without a secret may not ask for"}},
		{"an OTLP endpoint that is no URL", with(`telemetry: {otlp_endpoint: "collector:4318"}`), []string{"telemetry.otlp_endpoint: write it as https://host:port"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { refuses(t, dir, c.file, c.want) })
	}
}

// The rules of settings that are not built yet are in force already, behind the refusal.
func TestRulesOfWhatIsNotBuiltRefuse(t *testing.T) {
	table := notBuilt
	notBuilt = nil
	t.Cleanup(func() { notBuilt = table })
	const caller = `audiences: [api], `
	dir := folder(t, map[string]string{"cert": "cert", "key": "key", "jwks": `{"keys":[]}`})
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"both halves off", with(`public: {url: "https://a.example", listen: off}`, `internal: {url: "https://c", listen: off}`), []string{"public.listen: nothing is left to do"}},
		{"the memory store with a split half", with(`store: {url: "memory:"}`, `internal: {url: "https://c", listen: off}`), []string{"store.url: the other half"}},
		{"a further origin over http", with(`public: {url: "https://a.example", allowed_origins: ["http://b.example"]}`), []string{"public.allowed_origins[0]: is not https"}},
		{"a further origin that is the one", with(`public: {url: "https://a.example", allowed_origins: ["https://a.example"]}`), []string{"public.allowed_origins[0]: is public.url itself"}},
		{"client certificates without one's own", with(`internal: {url: "https://c", tls: {client_ca_file: cert}}`), []string{"internal.tls.client_ca_file: needs the listener's own"}},
		{"a certificate header that nobody may set", with(`internal: {url: "https://c", tls: {client_cert_header: Client-Cert}}`), []string{"internal.tls.client_cert_header: is believed from nobody"}},
		{"setters of no certificate header", with(`internal: {url: "https://c", tls: {client_cert_from: [10.0.0.0/8]}}`), []string{"internal.tls.client_cert_from: without client_cert_header"}},
		{"a certificate header that is none", with(`internal: {url: "https://c", tls: {client_cert_header: "a b", client_cert_from: [10.0.0.0/8]}}`), []string{"internal.tls.client_cert_header: is not the name of a header"}},
		{"Sentinels without a master", with(`store: {url: "redis-sentinel://a:26379,b:26379/0"}`), []string{"store.url: add ?master=NAME"}},
		{"Sentinels", with(`store: {url: "redis-sentinel://a:26379,b:26379/0?master=m", sentinel_username: u}`), nil},
		{"a cluster's database", with(`store: {url: "redis-cluster://a:1,b:2/3"}`), []string{"store.url: a cluster has only 0"}},
		{"a Sentinels' user without Sentinels", with(`store: {url: "redis://r", sentinel_username: u}`), []string{"store.sentinel_username: says nothing without Sentinels"}},
		{"scheduled refreshing before refreshing ahead", with(`session: {refresh_every: 10s}`), []string{"session.refresh_every: is shorter than"}},
		{"private_key_jwt without a key", with(`providers: {main: {issuer: "https://idp.example.com", client_id: app, token_endpoint_auth_method: private_key_jwt}}`), []string{"providers.main.client_key_file: is missing"}},
		{"a TLS method without a certificate", with(`providers: {main: {issuer: "https://idp.example.com", client_id: app, token_endpoint_auth_method: tls_client_auth, client_key_file: key}}`), []string{"providers.main.client_cert_file: is missing"}},
		{"signed requests without a key", provider(`request_object: always`), []string{"providers.main.client_key_file: is missing"}},
		{"a pairwise subject without a key", audience(`subject: pairwise`), []string{"exchange.pairwise_key: is missing"}},
		{"a pairwise key that is none", with(`exchange: {pairwise_key: "${S1}"}`), []string{"exchange.pairwise_key: is not base64"}},
		{"two key sets to encrypt to", audience(`encrypt: {jwks_file: jwks, jwks_uri: "https://api/j"}`), []string{"exchange.audiences.api.encrypt.jwks_uri: contradicts jwks_file"}},
		{"a decision point at the metadata address", audience(`decide: {url: "http://169.254.169.254/x"}`), []string{"exchange.audiences.api.decide.url: is a link-local"}},
		{"a client certificate that nobody takes", client(caller + `auth: {tls_san: a.example}`), []string{"exchange.clients.caller.auth: the internal listener takes none"}},
		{"a thumbprint that is none", with(`internal: {url: "https://c", tls: {cert_file: cert, key_file: key, client_ca_file: cert}}`, `exchange: {audiences: {api: {}}, clients: {caller: {`+caller+`auth: {tls_thumbprint: abc}}}}`), []string{"exchange.clients.caller.auth.tls_thumbprint: is not the SHA-256"}},
		{"a service account of nowhere", client(caller + `auth: {kubernetes: {issuer: "https://k", audience: c, subject: batch}}`), []string{"exchange.clients.caller.auth.kubernetes.subject: is not a service account"}},
		{"a service account without anything", client(caller + `auth: {kubernetes: {jwks_file: jwks}}`), []string{
			"exchange.clients.caller.auth.kubernetes.audience: is missing", "exchange.clients.caller.auth.kubernetes.issuer: is missing", "exchange.clients.caller.auth.kubernetes.subject: is missing"}},
		{"a SPIFFE ID that is none", client(caller + `auth: {spiffe: {id: "https://x", bundle_file: jwks}}`), []string{"exchange.clients.caller.auth.spiffe.id: is not a SPIFFE ID"}},
		{"details whose rule is none", audience(`details: "["`), []string{"exchange.audiences.api.details: is no CEL rule"}},
	} {
		t.Run(c.name, func(t *testing.T) { refuses(t, dir, c.file, c.want) })
	}
	if _, err := loadIn(t, folder(t, contractFiles), "testdata/cloakroom.yaml"); err != nil {
		t.Errorf("the whole contract, were all built: %v", err)
	}
}

// refuses checks that a file in dir has exactly these faults.
func refuses(t *testing.T, dir, file string, want []string) {
	t.Helper()
	_, err := Parse(filepath.Join(dir, "c.yaml"), file, lookup)
	faults, _ := errors.AsType[Faults](err)
	if err != nil && faults == nil {
		t.Fatal(err)
	}
	quiet(t, faults)
	compare(t, faults, want)
}

// compare checks that there are exactly these faults, in this order, each complete.
func compare(t *testing.T, faults Faults, want []string) {
	t.Helper()
	if len(faults) != len(want) {
		t.Fatalf("%d faults, not %d:\n%v", len(faults), len(want), faults)
	}
	for i, f := range faults {
		path, part, _ := strings.Cut(want[i], ": ")
		if want[i][0] == ':' {
			path, part = "", strings.TrimPrefix(want[i], ": ")
		}
		if f.Path != path || !strings.Contains(f.Problem+"; "+f.Remedy, part) {
			t.Errorf("%s\n  is not of %q, or does not say %q", f, path, part)
		}
		if f.Line < 1 || f.Column < 1 || f.Problem == "" || f.Remedy == "" || !strings.HasSuffix(f.File, "c.yaml") {
			t.Errorf("incomplete: %#v", f)
		}
	}
}
