package provider

import (
	"errors"
	"net/url"

	"cloakroom/token"
)

// party is somebody on the network whose word is taken once it is verified: a provider, or a further issuer. It is how we
// reach them, and how we call them when something is wrong.
type party struct {
	who    string // as errors call them: "provider main"
	issuer *url.URL
	client *client
}

// fail makes the error of one kind.
func (p *party) fail(kind error, endpoint, reason string) error {
	return &Error{Party: p.who, Endpoint: endpoint, Reason: reason, kinds: []error{kind}}
}

func (p *party) reject(reason string) error { return p.fail(ErrRejected, "", reason) }

// judged turns what verifying a token yielded into an error of this package.
func (p *party) judged(what string, err error) error {
	if invalid, ok := errors.AsType[*token.Invalid](err); ok {
		return p.reject(what + ": " + invalid.Reason)
	}
	if errors.Is(err, token.ErrUnavailable) {
		return p.fail(ErrUnavailable, EndpointJWKS, what+" cannot be verified: the key set cannot be had now")
	}
	return p.reject(what + " does not verify")
}
