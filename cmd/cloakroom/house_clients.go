package main

import (
	"fmt"
	"os"
	"slices"
	"time"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/exchange/exchangehttp"
	"cloakroom/provider"
	"cloakroom/token"
)

// keySetID is whose keys a set holds, and where they are.
type keySetID struct{ who, uri string }

// keySet is a set of keys to be fetched. What the house before has fetched need not be fetched anew: its owner may be down.
func (h *house) keySet(who, uri string) (keys token.Keys, err error) {
	of := keySetID{who, uri}
	if h.before != nil && slices.Equal(h.before.file.Limits.EgressAllow, h.file.Limits.EgressAllow) {
		keys = h.before.keySets[of]
	}
	if keys == nil {
		keys, err = provider.NewKeySet(provider.KeySetConfig{
			Name: who, URI: uri, Egress: h.file.Limits.EgressAllow, Now: time.Now, Observe: h.countRequests(who),
		})
	}
	h.keySets[of] = keys
	return keys, err
}

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
		return h.keySet(who, c.Auth.JWKSURI)
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
