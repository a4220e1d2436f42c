package idptest

import (
	"compress/gzip"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Misbehave alters what a provider does. Every field that is nil leaves the good manners alone.
type Misbehave struct {
	// Answer stands in for an endpoint's handler; false lets the handler answer after all.
	Answer func(endpoint Endpoint, w http.ResponseWriter, r *http.Request) bool
	// LoseAnswer: the endpoint does its work, and the connection breaks before the answer.
	LoseAnswer func(endpoint Endpoint, r *http.Request) bool

	Metadata      func(doc map[string]any)                       // the discovery document
	KeySet        func(doc map[string]any)                       // the JWKS; doc["keys"] is a list
	Token         func(kind Kind, header, claims map[string]any) // a JWT before it is signed
	Sign          Signer                                         // signs in the provider's stead
	TokenResponse func(body map[string]any)                      // what the token endpoint answers
	UserInfo      func(body map[string]any)                      // what userinfo answers
	Introspection func(body map[string]any)                      // what introspection answers
	Redirect      func(target *url.URL, q url.Values)            // the authorization response, before it is sent
}

// Signer makes the compact form of a JWT. public is the key it should verify with, header and claims are final.
type Signer func(kind Kind, header, claims map[string]any, signed string, public any) string

// Set replaces the misbehaviour; the zero value is good manners again.
func (p *Provider) Set(m Misbehave) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.misbehave = m
}

func (p *Provider) manners() Misbehave {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.misbehave
}

// lost takes an answer that nobody will read.
type lost struct{ header http.Header }

func (l lost) Header() http.Header         { return l.header }
func (l lost) Write(b []byte) (int, error) { return len(b), nil }
func (l lost) WriteHeader(int)             {}

// At limits an answer to some endpoints.
func At(answer http.HandlerFunc, at ...Endpoint) func(Endpoint, http.ResponseWriter, *http.Request) bool {
	return func(endpoint Endpoint, w http.ResponseWriter, r *http.Request) bool {
		if slices.Contains(at, endpoint) {
			answer(w, r)
			return true
		}
		return false
	}
}

// Status answers with a status and a body.
func Status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if strings.HasPrefix(body, "{") {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// RedirectTo answers 307, which makes a careless client carry its secrets elsewhere.
func RedirectTo(target string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target, http.StatusTemporaryRedirect)
	}
}

// HangUp breaks the connection without an answer.
func HangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// Silence answers nothing until the caller gives up.
func Silence(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// Huge answers a JSON object of n bytes; one string member is all of it.
func Huge(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		writeHuge(w, n)
	}
}

// GzipBomb answers n bytes of JSON that travel as about a thousandth of that.
func GzipBomb(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		writeHuge(z, n)
		_ = z.Close() // the reader has hung up, as it should
	}
}

// Deep answers JSON that opens n lists inside one another, and closes none.
func Deep(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"x":`+strings.Repeat("[", n))
	}
}

// Drip answers at once, and then a blank now and then, until the caller gives up: the answer never ends.
func Drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	drops := time.NewTicker(50 * time.Millisecond)
	defer drops.Stop()
	for {
		if _, err := io.WriteString(w, " "); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-drops.C:
		}
	}
}

// DripHead takes the connection over and sends a head that never ends.
func DripHead(w http.ResponseWriter, r *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic("idptest: take the connection over: " + err.Error())
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
	for ; err == nil; time.Sleep(50 * time.Millisecond) {
		_, err = io.WriteString(conn, "X-Drop: 1\r\n")
	}
}

// HugeHead answers a head of n bytes before an empty object.
func HugeHead(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Huge", strings.Repeat("x", n))
		_, _ = io.WriteString(w, "{}")
	}
}

func writeHuge(w io.Writer, n int) {
	const open, end = `{"x":"`, `"}`
	block := strings.Repeat("x", 64<<10)
	_, _ = io.WriteString(w, open)
	for left := n - len(open) - len(end); left > 0; left -= len(block) {
		if _, err := io.WriteString(w, block[:min(left, len(block))]); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, end)
}

// NoneSigner makes an unsigned token: `alg` none and an empty signature.
func NoneSigner(_ Kind, header, claims map[string]any, _ string, _ any) string {
	header["alg"] = "none"
	return encode(header) + "." + encode(claims) + "."
}

// PublicKeyAsSecret signs HS256 with the PEM of the public key: the algorithm confusion of old libraries.
func PublicKeyAsSecret(_ Kind, header, claims map[string]any, _ string, public any) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic("idptest: " + err.Error())
	}
	header["alg"] = "HS256"
	input := encode(header) + "." + encode(claims)
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// BrokenSignature keeps the token and spoils one bit of its signature.
func BrokenSignature(_ Kind, _, _ map[string]any, signed string, _ any) string {
	at := strings.LastIndexByte(signed, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(signed[at:])
	if err != nil {
		panic("idptest: " + err.Error())
	}
	signature[0] ^= 1
	return signed[:at] + base64.RawURLEncoding.EncodeToString(signature)
}

// ForeignKey signs with a key that is in no key set, under the kid of the one that should have.
func ForeignKey() Signer {
	private, _ := newKey().Key.(*rsa.PrivateKey)
	return func(_ Kind, header, claims map[string]any, _ string, _ any) string {
		return SignWith(private, header, claims)
	}
}
