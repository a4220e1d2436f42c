package idptest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// keys are a provider's two signing keys and those it no longer signs with.
type keys struct {
	id, access jose.JSONWebKey
	old        []jose.JSONWebKey
}

func newKeys() keys {
	var k keys
	var both sync.WaitGroup
	both.Go(func() { k.id = newKey() })
	both.Go(func() { k.access = newKey() })
	both.Wait()
	return k
}

func newKey() jose.JSONWebKey {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(fmt.Sprintf("idptest: make a key: %v", err)) // only a broken machine
	}
	key := jose.JSONWebKey{Key: private, Algorithm: string(jose.RS256), Use: "sig"}
	print, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		panic(fmt.Sprintf("idptest: name a key: %v", err))
	}
	key.KeyID = base64.StdEncoding.EncodeToString(print) // Cognito's are standard base64 too, with + and /
	return key
}

func (k keys) published() []jose.JSONWebKey {
	var out []jose.JSONWebKey
	for _, key := range append([]jose.JSONWebKey{k.id, k.access}, k.old...) {
		out = append(out, key.Public())
	}
	return out
}

// RotateKeys makes new signing keys. With keep the key set still shows the old ones.
func (p *Provider) RotateKeys(keep bool) {
	fresh := newKeys()
	p.mu.Lock()
	defer p.mu.Unlock()
	if keep {
		fresh.old = append([]jose.JSONWebKey{p.keys.id, p.keys.access}, p.keys.old...)
	}
	p.keys = fresh
}

// Kind is which token is being signed.
type Kind string

const (
	IDToken     Kind = "id_token"
	AccessToken Kind = "access_token"
)

// Sign signs any claims with the key of a kind, as the provider itself does: a logout token, a token that no flow gives.
// The header starts as {alg, kid}; members of extra are set over it, and one that is nil is left out.
func (p *Provider) Sign(kind Kind, extra, claims map[string]any) string {
	p.mu.Lock()
	key := p.keys.id
	if kind == AccessToken {
		key = p.keys.access
	}
	p.mu.Unlock()
	header := map[string]any{"alg": key.Algorithm, "kid": key.KeyID}
	for name, value := range extra {
		if header[name] = value; value == nil {
			delete(header, name)
		}
	}
	private, _ := key.Key.(*rsa.PrivateKey)
	raw := SignWith(private, header, claims)
	p.issued(raw)
	return raw
}

// SignWith makes an RS256 signature over a header and claims as they are, whatever the header says.
func SignWith(key *rsa.PrivateKey, header, claims map[string]any) string {
	input := encode(header) + "." + encode(claims)
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		panic(fmt.Sprintf("idptest: sign: %v", err))
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func encode(part map[string]any) string {
	raw, err := json.Marshal(part)
	if err != nil {
		panic(fmt.Sprintf("idptest: claims that are no JSON: %v", err))
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}
