package exchangehttp

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"cloakroom/exchange"
	"cloakroom/token"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// assertionLifetime is how far ahead an assertion may end: one that leaks is of use no longer, and no longer need it
	// be remembered.
	assertionLifetime = 5 * time.Minute
	// assertionSkew is how far a client's clock may be off ours.
	assertionSkew = 30 * time.Second
)

// assertionAlgorithms are what a client may sign an assertion with.
var assertionAlgorithms = []string{"RS256", "PS256", "ES256", "EdDSA"}

// Markers remembers which assertions were used, for all replicas.
type Markers interface {
	// Claim marks name as used, for ttl. It is mine when nobody has marked it, or when the mark bears the same attempt. An
	// error means that it cannot tell.
	Claim(ctx context.Context, name string, attempt []byte, ttl time.Duration) (mine bool, err error)
}

// assertions authenticates clients by private_key_jwt: a JWT shows that they hold a key (RFC 7523 section 3, OpenID
// Connect Core section 9).
type assertions struct {
	keys    map[string]token.Keys // by client
	decoys  token.StaticKeys
	us      []string // the names of this server, that an assertion may be for: its issuer, and its token endpoint
	markers Markers
	now     func() time.Time
}

// newAssertions refuses keys where there is nothing to remember what was signed with them.
func newAssertions(cfg Config) (*assertions, error) {
	a := &assertions{
		keys: map[string]token.Keys{}, markers: cfg.Markers, now: cfg.Now,
		us: []string{cfg.Service.Policy().Issuer(), tokenEndpoint(cfg.URL)},
	}
	for _, c := range cfg.Clients {
		if c.Keys == nil {
			continue
		}
		if cfg.Markers == nil {
			return nil, fmt.Errorf("client %q has keys, and there is nothing to remember its assertions with", c.ID)
		}
		a.keys[c.ID] = c.Keys
	}
	var err error
	a.decoys, err = newDecoys()
	return a, err
}

// newDecoys makes one public key of each kind that nobody has the private half of.
func newDecoys() (token.StaticKeys, error) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	// Verifying takes a modulus of this length the same time whether or not anyone knows of what primes it is made.
	modulus := make([]byte, 256)
	_, _ = rand.Read(modulus) // never fails: crypto/rand ends the process instead
	modulus[0] |= 0x80
	modulus[len(modulus)-1] |= 1
	return token.StaticKeys{
		{Key: &curve.PublicKey}, {Key: edwards}, {Key: &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537}},
	}, nil
}

// authenticate finds out who signed the form's assertion, and uses it up.
func (a *assertions) authenticate(ctx context.Context, f form) (string, *exchange.Error) {
	given, kind := f.text("client_assertion"), f.text("client_assertion_type")
	switch {
	case given == "" || kind == "":
		return "", bad("client_assertion and client_assertion_type go together")
	case kind != assertionType:
		return "", unauthenticated("a client_assertion_type that is not taken")
	}
	read, err := token.Read(given)
	if err != nil {
		return "", unauthenticated("assertion: " + err.Error())
	}
	id, now := read.Issuer(), a.now()
	// Where client_id is sent, it names the same client (RFC 7521 section 4.2).
	if named := f.text("client_id"); named != "" && named != id {
		return "", unauthenticated("the assertion of another client than client_id")
	}
	key := &oneKey{of: a.keys[id], decoys: a.decoys}
	claims, err := read.Verify(ctx, token.Rules{
		Issuer: id, Algorithms: assertionAlgorithms, Types: []string{"", "jwt", "client-authentication+jwt"}, Skew: assertionSkew,
	}, key, now)
	switch {
	case errors.Is(err, token.ErrUnavailable):
		return "", cannotTell(fmt.Errorf("keys of client %q: %w", id, err))
	case key.missing != "":
		return "", unauthenticated("assertion: " + key.missing)
	case err != nil:
		return "", unauthenticated("assertion: " + err.Error())
	}
	if reason := a.unfit(claims, id, now); reason != "" {
		return "", unauthenticated("assertion: " + reason)
	}
	if refused := a.use(ctx, id, claims, now); refused != nil {
		return "", refused
	}
	return id, nil
}

// unfit says why a verified assertion does not authenticate its client here, "" where it does.
func (a *assertions) unfit(claims token.Claims, id string, now time.Time) string {
	if claims.Text("sub") != id {
		return "sub is not iss"
	}
	audience := claims.Audience()
	if len(audience) == 0 {
		return "no aud"
	}
	for _, one := range audience {
		// One that is for another server as well could be used here by that server.
		if !slices.Contains(a.us, one) {
			return "aud is not this server, or not this server alone"
		}
	}
	if ends, _ := claims.Time("exp"); ends.After(now.Add(assertionLifetime)) {
		return "exp is more than 5 minutes ahead"
	}
	if claims.Text("jti") == "" {
		return "no jti"
	}
	return ""
}

// use marks an assertion as used until it would have ended, by the latest of clocks (RFC 7523 section 3, item 7).
func (a *assertions) use(ctx context.Context, id string, claims token.Claims, now time.Time) *exchange.Error {
	// No client's id has a NUL in it: no two of id and jti make the same text.
	sum := sha256.Sum256([]byte(id + "\x00" + claims.Text("jti")))
	attempt := make([]byte, 16)
	_, _ = rand.Read(attempt)
	ends, _ := claims.Time("exp")
	mine, err := a.markers.Claim(ctx, "client assertion "+base64.RawURLEncoding.EncodeToString(sum[:]), attempt, ends.Add(assertionSkew).Sub(now))
	if err != nil {
		return cannotTell(fmt.Errorf("look for an earlier use of the assertion: %w", err))
	}
	if !mine {
		return unauthenticated("assertion: it was used before")
	}
	return nil
}

// oneKey has exactly one key for every assertion, whoever it is of: the client's, or else one that is nobody's. Whether
// there is such a client, and which keys it has, so does not show in the time an answer takes.
type oneKey struct {
	of      token.Keys // nil: there is no such client, or it has no keys
	decoys  token.StaticKeys
	missing string // why there was none of the client's, "" where there was
}

// Candidates implements token.Keys.
func (k *oneKey) Candidates(ctx context.Context, kid, alg string) ([]jose.JSONWebKey, error) {
	k.missing = "there is no client of that name that has keys"
	if k.of != nil {
		found, err := k.of.Candidates(ctx, kid, alg)
		switch {
		case err == nil && len(found) == 1:
			k.missing = ""
			return found, nil
		case err == nil: // OpenID Connect Core section 10.1
			k.missing = "the client has several such keys, and kid does not say which"
		case errors.Is(err, token.ErrUnknownKey):
			k.missing = "the client has no such key"
		default:
			return nil, err
		}
	}
	return k.decoys.Candidates(ctx, "", alg)
}

func cannotTell(err error) *exchange.Error {
	return &exchange.Error{Code: exchange.TemporarilyUnavailable, Description: "try again", Err: err}
}
