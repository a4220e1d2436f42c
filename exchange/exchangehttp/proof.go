package exchangehttp

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"cloakroom/secret"
	"cloakroom/token"
)

// proof shows that a request is the client's: with its secret, or by signing that it is (RFC 7523 section 2.2).
type proof struct {
	id       string
	secret   secret.Text
	signer   jose.Signer // nil: the secret
	endpoint string
}

// proofLife is how long a signed assertion is good: as long as a request may be under way, clocks being a little apart.
const proofLife = time.Minute

func newProof(cfg ClientConfig) (proof, error) {
	p := proof{id: cfg.ID, secret: cfg.Secret, endpoint: cfg.Endpoint}
	switch {
	case cfg.ID == "":
		return p, errors.New("no id")
	case (cfg.Secret == "") == (cfg.Key == nil):
		return p, errors.New("one of Secret and Key")
	case cfg.Key == nil:
		return p, nil
	case cfg.Key.IsPublic() || !cfg.Key.Valid():
		return p, errors.New("the key is not a private one")
	}
	var err error
	p.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(cfg.Key.Algorithm), Key: *cfg.Key}, nil)
	if err != nil {
		return p, fmt.Errorf("key: %w", err)
	}
	return p, nil
}

// request is the form on its way to the exchange, with the proof.
func (p proof) request(form url.Values, now time.Time) (*http.Request, error) {
	form = maps.Clone(form)
	if p.signer != nil {
		assertion, err := p.assert(now)
		if err != nil {
			return nil, fmt.Errorf("sign the assertion: %w", err)
		}
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
	}
	r, err := http.NewRequest(http.MethodPost, p.endpoint, strings.NewReader(form.Encode())) //nolint:noctx // whoever sends it gives it one
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if p.signer == nil {
		r.SetBasicAuth(url.QueryEscape(p.id), url.QueryEscape(p.secret.Reveal())) // RFC 6749 section 2.3.1
	}
	return r, nil
}

// assert signs a new assertion: one is good for one request.
func (p proof) assert(now time.Time) (string, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	claims, err := token.EncodeClaims(token.Claims{
		"iss": p.id, "sub": p.id, "aud": p.endpoint, "jti": base64.RawURLEncoding.EncodeToString(id[:]),
		"iat": now.Unix(), "exp": now.Add(proofLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed, err := p.signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
