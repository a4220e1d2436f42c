package main

import (
	"fmt"
	"os"
	"time"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/exchange/exchangehttp"
	"cloakroom/provider"
	"cloakroom/token"
)

// callers are the services that may call the exchange, each with what it proves itself by.
func (h *house) callers() ([]exchangehttp.Caller, error) {
	var all []exchangehttp.Caller
	for _, c := range h.file.Exchange.Clients {
		keys, err := h.clientKeys(c)
		if err != nil {
			return nil, err
		}
		all = append(all, exchangehttp.Caller{ID: c.Name, Secrets: c.Auth.Secrets, Keys: keys})
	}
	return all, nil
}

// clientKeys are the public keys of a client that authenticates by private_key_jwt; nil for any other.
func (h *house) clientKeys(c config.Client) (token.Keys, error) {
	who := "client " + c.Name
	if c.Auth.JWKSURI != "" {
		return provider.NewKeySet(provider.KeySetConfig{
			Name: who, URI: c.Auth.JWKSURI, Egress: h.file.Limits.EgressAllow, Now: time.Now, Observe: h.countRequests(who),
		})
	}
	if c.Auth.JWKSFile == "" {
		return nil, nil
	}
	content, err := os.ReadFile(c.Auth.JWKSFile)
	if err != nil {
		return nil, fmt.Errorf("%s: jwks_file: %w", who, err)
	}
	keys, err := token.ParseJWKS(content)
	if err != nil {
		return nil, fmt.Errorf("%s: jwks_file: %w", who, err)
	}
	return keys, nil
}
