package token

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"sync"

	jose "github.com/go-jose/go-jose/v4"
)

// signingKey is one private key with what is said of it in public. The private half is a crypto.Signer, so that a key which
// cannot be exported can stand behind it.
type signingKey struct {
	alg     string
	private crypto.Signer
	public  jose.JSONWebKey
	headers sync.Map // `typ` to the encoded header with its dot: there are few types, and all are ours
}

// newSigningKey names the key by its thumbprint (RFC 7638), which is its `kid`.
func newSigningKey(alg string, private crypto.Signer) (*signingKey, error) {
	public := jose.JSONWebKey{Key: private.Public(), Algorithm: alg, Use: "sig"}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("thumbprint: %w", err)
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	return &signingKey{alg: alg, private: private, public: public}, nil
}

// sign makes the compact serialisation (RFC 7515 section 7.1).
func (k *signingKey) sign(typ string, payload []byte) (string, error) {
	header, err := k.header(typ)
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding
	out := make([]byte, 0, len(header)+b64.EncodedLen(len(payload))+1+b64.EncodedLen(512))
	out = append(out, header...)
	out = b64.AppendEncode(out, payload)
	signature, err := k.signature(out)
	if err != nil {
		return "", err
	}
	out = append(out, '.')
	out = b64.AppendEncode(out, signature)
	if len(out) > MaxSize {
		return "", errTooLong
	}
	return string(out), nil
}

func (k *signingKey) header(typ string) (string, error) {
	if known, ok := k.headers.Load(typ); ok {
		return known.(string), nil
	}
	if typ == "" {
		return "", errors.New("no typ")
	}
	raw, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
		Type      string `json:"typ"`
	}{k.alg, k.public.KeyID, typ})
	if err != nil {
		return "", err
	}
	encoded := base64.RawURLEncoding.EncodeToString(raw) + "."
	k.headers.Store(typ, encoded)
	return encoded, nil
}

func (k *signingKey) signature(input []byte) ([]byte, error) {
	if k.alg == EdDSA {
		return k.private.Sign(rand.Reader, input, crypto.Hash(0))
	}
	sum := sha256.Sum256(input)
	signature, err := k.private.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil || k.alg != ES256 {
		return signature, err
	}
	// A signer answers in ASN.1; JWS wants both numbers in 32 bytes each (RFC 7518 section 3.4).
	var pair struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &pair); err != nil || len(rest) > 0 || !halfOf64(pair.R) || !halfOf64(pair.S) {
		return nil, errors.New("the key's signature is not one of P-256")
	}
	out := make([]byte, 64)
	pair.R.FillBytes(out[:32])
	pair.S.FillBytes(out[32:])
	return out, nil
}

func halfOf64(n *big.Int) bool { return n.Sign() > 0 && n.BitLen() <= 256 }
