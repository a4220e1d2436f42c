package config

import (
	"net/netip"
	"time"

	"cloakroom/secret"
)

// File is a configuration as the program uses it: every default filled in, every ${…} replaced, durations, sizes and
// secrets read, file names made absolute. contract/cloakroom.yaml is the same, key by key, for the one who writes it.
type File struct {
	// Public is the browser's side.
	Public Public `yaml:"public"`
	// Internal is the services' side.
	Internal Internal `yaml:"internal"`
	// Admin is the operators' side.
	Admin Admin `yaml:"admin"`
	// Store is where sessions are kept.
	Store Store `yaml:"store"`
	// Secrets are base64 of 32 random bytes each, 1 to 3: the first seals and signs, all open and verify. Empty only at a
	// loopback URL with the memory store; then one is made at start.
	Secrets []secret.Key `yaml:"secrets"`
	// Session is how long people stay signed in, and their cookie.
	Session Session `yaml:"session"`
	// Providers sign people in, in the order of the file: the first is the default of /bff/login.
	Providers []Provider `yaml:"providers,keyed"`
	// Issuers are trusted for subject and actor tokens at the exchange, never for login. Default: none.
	Issuers []Issuer `yaml:"issuers,keyed"`
	// Routes say what answers which path; the longest prefix on segment boundaries wins.
	Routes []Route `yaml:"routes"`
	// Exchange is who gets which minted token.
	Exchange Exchange `yaml:"exchange"`
	// Limits protect Cloakroom and what stands behind it.
	Limits Limits `yaml:"limits"`
	// Drain is how the process ends.
	Drain Drain `yaml:"drain"`
	// Log is what is written to standard error.
	Log Log `yaml:"log"`
	// Telemetry is where traces go.
	Telemetry Telemetry `yaml:"telemetry"`

	// Warnings are what is accepted but should be known, sorted by line. They do not stop the program.
	Warnings Faults `yaml:"-"`
	// Files are the file itself and all files that it names, for a Watch.
	Files Files `yaml:"-"`

	read *report // which knows where its keys stand
}

// Session is how long a person stays signed in, and the cookie that says so.
type Session struct {
	// Idle ends a session that nobody uses. Default: 30m, or absolute where that is shorter.
	Idle time.Duration `yaml:"idle" is:"positive"`
	// Absolute ends every session; it is the cookie's Max-Age too. Default: 12h.
	Absolute time.Duration `yaml:"absolute" is:"positive"`
	// MaxPerUser ends a person's oldest session when there are more. Default: 0, no limit.
	MaxPerUser int `yaml:"max_per_user"`
	// RefreshBefore renews the access token this long before it expires, with jitter. Default: 60s.
	RefreshBefore time.Duration `yaml:"refresh_before"`
	// RefreshEvery renews at least this often while in use, to see changed groups and disabled users. Default: 0s, off.
	RefreshEvery time.Duration `yaml:"refresh_every"`
	// RevokeOnEnd says when the refresh token is revoked: at logout, or always, also when the session is ended without its
	// cookie. Default: logout.
	RevokeOnEnd string `yaml:"revoke_on_end" enum:"logout always"`
	// Cookie is the session's cookie.
	Cookie Cookie `yaml:"cookie"`
	// UserClaims are what /bff/user tells the browser. Default: sub, name, given_name, family_name, email, email_verified,
	// picture, preferred_username.
	UserClaims UserClaims `yaml:"user_claims"`
}

// Cookie is the session's cookie.
type Cookie struct {
	// Name stands after the prefix __Host-Http-, which is added where the public URL is https. Default: session.
	Name string `yaml:"name"`
	// SameSite is the cookie's SameSite attribute. Default: strict.
	SameSite string `yaml:"same_site" enum:"strict lax"`
}

// Limits protect Cloakroom and what stands behind it.
type Limits struct {
	// LoginPerMinute is how many logins one client address may start at one replica in a minute. Default: 600.
	LoginPerMinute int `yaml:"login_per_minute" is:"positive"`
	// TokenPerSecond is how many tokens one exchange client may ask one replica for in a second. Default: 0, no limit.
	TokenPerSecond int `yaml:"token_per_second"`
	// EgressAllow lists link-local, metadata or loopback addresses that upstreams and providers may have after all.
	// Default: none.
	EgressAllow []netip.Prefix `yaml:"egress_allow"`
}

// Drain is how the process ends.
type Drain struct {
	// Delay is how long it says it is not ready before it stops to accept. Default: 5s.
	Delay time.Duration `yaml:"delay"`
	// Timeout is how long what is in flight may take after that. Default: 25s.
	Timeout time.Duration `yaml:"timeout"`
}

// Log is what is written to standard error.
type Log struct {
	// Level is the least that is written. Audit lines are written at each. Default: info.
	Level string `yaml:"level" enum:"debug info warn error"`
	// Format is one JSON object a line, or text for people. Default: json.
	Format string `yaml:"format" enum:"json text"`
}

// Telemetry is where traces go.
type Telemetry struct {
	// OTLPEndpoint is the http(s) URL of an OpenTelemetry collector. Default: none, no traces.
	OTLPEndpoint string `yaml:"otlp_endpoint" is:"url"`
}
