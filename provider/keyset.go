package provider

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"cloakroom/token"
)

// KeySetConfig says where the keys of somebody are who is neither a provider nor an issuer of tokens about people: of a
// service that calls the exchange.
type KeySetConfig struct {
	Name string // whose they are, for errors: "client reports"
	URI  string

	Timeout time.Duration  // of a whole call, 0 = 5 s
	Egress  []netip.Prefix // link-local, metadata or loopback addresses that it may have all the same

	Now     func() time.Time
	Observe func(endpoint, outcome string)
}

// NewKeySet makes a key set that is fetched when it is first asked, and kept as a provider's is. It asks nothing of the
// network.
func NewKeySet(cfg KeySetConfig) (token.Keys, error) {
	common := Config{Name: cfg.Name, Timeout: cfg.Timeout, Egress: cfg.Egress, Now: cfg.Now, Observe: cfg.Observe}
	setDefaults(&common)
	p := party{who: cfg.Name}
	var err error
	if p.issuer, err = url.Parse(cfg.URI); err != nil {
		return nil, fmt.Errorf("%s: its jwks_uri is not a URL", cfg.Name)
	}
	if p.client, err = newClient(common, p.issuer); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Name, err)
	}
	if err := p.checkEndpoint(EndpointJWKS, cfg.URI); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Name, err)
	}
	return &keySet{now: common.Now, fetch: func(ctx context.Context) (token.Keys, error) {
		keys, err := p.askKeys(ctx, cfg.URI)
		common.Observe(EndpointJWKS, outcome(err))
		return keys, err
	}}, nil
}
