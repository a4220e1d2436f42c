package exchange

import (
	"context"
	"strings"
	"time"
)

// Event is one token minted, or one refusal: what an auditor asks about, and what is counted.
type Event struct {
	Minted   bool
	Code     Code   // of a refusal
	Reason   string // of a refusal, for the operator; holds no token and no claim's value
	Client   string // an authenticated client's id, or RouteClient
	Issuer   string // with Subject: the person, "" where the refusal came before they were known
	Subject  string
	Actor    string // "issuer subject"
	Audience string // names of configured audiences, space-separated; "" where none was resolved
	Scope    string
	Policy   string // version
	SID      string
	Took     time.Duration
	Failed   []Failure // rules that could not be evaluated
}

// observe tells the hook of a decision. q is as far as it was known.
func (s *Service) observe(ctx context.Context, q *Question, d *Decision, began time.Time) {
	if s.cfg.Observe == nil {
		return
	}
	e := Event{
		Minted: d.Granted(), Client: q.Client, Issuer: q.Subject.IDP, Subject: q.Subject.Sub, Actor: d.Actor,
		Audience: strings.Join(d.Audiences, " "), Scope: d.Scope.String(), Policy: s.cfg.Policy.version,
		SID: q.Subject.sessionID(), Took: s.cfg.Now().Sub(began), Failed: d.Failed,
	}
	if !e.Minted {
		e.Code = d.Err.Code
		e.Reason = d.Err.Description
		if d.Err.Err != nil {
			e.Reason = d.Err.Err.Error()
		}
	}
	s.cfg.Observe(ctx, e)
}
