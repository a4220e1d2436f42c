package token_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// A token is minted by one replica and verified by another that shares only the secret.
func Example() {
	now := func() time.Time { return time.Unix(1800000000, 0) }
	cfg := token.KeyRingConfig{Secrets: []secret.Key{secret.NewKey()}, Algorithm: token.ES256, Rotate: 720 * time.Hour, Now: now}
	here, err := token.NewKeyRing(cfg)
	if err != nil {
		panic(err)
	}
	there, err := token.NewKeyRing(cfg)
	if err != nil {
		panic(err)
	}

	raw, err := here.Sign("", "at+jwt", token.Claims{"iss": "https://cloakroom:8081", "aud": "orders", "sub": "alice", "exp": now().Unix() + 60})
	if err != nil {
		panic(err)
	}

	rules := token.Rules{Issuer: "https://cloakroom:8081", Algorithms: there.Algorithms(), Types: []string{"at+jwt"}, Audiences: []string{"orders"}}
	_, claims, err := token.Verify(context.Background(), raw, rules, there, now())
	fmt.Println(claims.Text("sub"), err)

	_, _, err = token.Verify(context.Background(), raw, rules, there, now().Add(time.Hour))
	var refused *token.Invalid
	fmt.Println(errors.As(err, &refused), err)
	// Output:
	// alice <nil>
	// true invalid token: expired
}
