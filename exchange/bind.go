package exchange

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// Bind checks that an access token and an ID token, each verified, are two halves of one sign-in: without that, what one
// person may do could be joined with who another one is. Every rule that applies must hold. raw is the access token.
func Bind(raw secret.Text, access, id Verified) error {
	a, i := access.Claims, id.Claims
	if a.Text("iss") != i.Text("iss") {
		return errors.New("the two tokens have different issuers")
	}
	if a.Text("sub") == "" || a.Text("sub") != i.Text("sub") {
		return errors.New("the two tokens have different subjects")
	}
	if err := boundToClient(access.Client, i); err != nil {
		return err
	}
	// OpenID Connect Core section 3.1.3.6: of the access token that was issued beside it.
	if hash, ok := i["at_hash"]; ok {
		if is := token.HalfHash(id.Algorithm, raw.Reveal()); is == "" || hash != is {
			return errors.New("at_hash is not that of the access token")
		}
	}
	// Cognito names the family that a refresh continues, in both.
	if origin, ok := i["origin_jti"]; ok {
		if theirs, ok := a["origin_jti"]; ok && theirs != origin {
			return errors.New("the two tokens have different origin_jti")
		}
	}
	if at, ok := i.Time("auth_time"); ok {
		if theirs, ok := a.Time("auth_time"); ok && !sameSecond(at, theirs) {
			return errors.New("the two tokens have different auth_time")
		}
	}
	return nil
}

// boundToClient: the ID token was issued to the client the access token was issued to, and to no other: it is in `aud`,
// and where there are several, or an `azp`, `azp` says it is the one (OpenID Connect Core section 3.1.3.7).
func boundToClient(client string, id token.Claims) error {
	if client == "" {
		return errors.New("the access token names no client")
	}
	audience := id.Audience()
	if !slices.Contains(audience, client) {
		return errors.New("the ID token's aud is not the access token's client")
	}
	azp, there := id["azp"]
	if there && azp != client {
		return errors.New("the ID token's azp is not the access token's client")
	}
	if !there && len(audience) > 1 {
		return fmt.Errorf("the ID token has %d audiences and no azp", len(audience))
	}
	return nil
}

func sameSecond(a, b time.Time) bool { return a.Unix() == b.Unix() }
