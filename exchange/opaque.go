package exchange

import (
	"encoding/base64"
	"fmt"
	"strings"

	"cloakroom/token"
)

// isOpaque tells whether what is no JWT may be an access token that only its issuer can read. claimed: the caller said
// whose it is. It must be spelled as a bearer token is (RFC 6750 section 2.1). What has a JOSE header is not opaque: a JWT
// that is malformed stays one, and an encrypted token is asked about only where it is said whose it is, since nobody else
// must ever be shown it.
func isOpaque(raw string, claimed bool) bool {
	if raw == "" || len(raw) > token.MaxSize {
		return false
	}
	for _, c := range strings.TrimRight(raw, "=") {
		if !strings.ContainsRune("-._~+/", c) && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	header, _, dotted := strings.Cut(raw, ".")
	if !dotted {
		return true
	}
	// Where it does not decode to its end, what came before tells.
	decoded, _ := base64.RawURLEncoding.DecodeString(header)
	object, brace := strings.CutPrefix(strings.TrimSpace(string(decoded)), "{")
	jose := brace && strings.HasPrefix(strings.TrimSpace(object), `"`)
	return !jose || claimed && strings.Count(raw, ".") != 2
}

// ownerOfOpaque finds the one who must have issued an opaque access token: the one that was said, or else the only one that
// could have. There is no trying one after the other: a token is shown to nobody but its issuer.
func (s *Service) ownerOfOpaque(said string) (TrustedIssuer, error) {
	var owner TrustedIssuer
	found := 0
	for _, one := range s.issuers {
		if one.Opaque && (said == "" || said == one.Name || said == one.Issuer) {
			owner = one
			found++
		}
	}
	if found != 1 {
		return TrustedIssuer{}, fmt.Errorf("%w: opaque, and not just one issuer could have issued it", ErrUnacceptable)
	}
	return owner, nil
}
