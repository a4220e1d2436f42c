package telemetry

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"sync/atomic"
	"time"

	"cloakroom/secret"
)

// Event is one thing that an auditor asks about: who did what, for whom, by which policy, with what outcome. Empty
// fields are left out of the line.
type Event struct {
	Name     string // contract/names.md "Logs": login, logout, exchange, …
	Outcome  string // what became of it: ok, refused, failed, …
	Provider string
	Client   string
	Issuer   string // with Subject: the person; written as one keyed hash
	Subject  string
	Actor    string // who acts, as "issuer subject" or a client id; written as it is
	Audience string
	Scope    string
	Policy   string // version hash of the policy that decided
	Reason   string // for the operator; never holds a token or a claim's value
	SID      string // the session's public handle
}

// Audit writes the audit lines. A nil *Audit writes none.
type Audit struct {
	log *slog.Logger
	key atomic.Pointer[[]byte]
}

// NewAudit returns an Audit that writes to log and hashes subjects under key, so that the lines of one person can be
// found by who holds the secret, and nobody can be found from the lines alone.
func NewAudit(log *slog.Logger, key secret.Key) *Audit {
	a := &Audit{log: log}
	a.Rekey(key)
	return a
}

// Rekey has the subjects of the lines to come hashed under another key: a person goes by another name from here on.
func (a *Audit) Rekey(key secret.Key) {
	derived := key.Derive("audit-subject", nil, nil, 32)
	a.key.Store(&derived)
}

// Record writes the audit line of e, whatever the level from which the log is written: who may do with less of the log has not
// said that nobody need know who was let in.
func (a *Audit) Record(ctx context.Context, e Event) {
	if a == nil {
		return
	}
	attrs := []slog.Attr{slog.String("event", e.Name), slog.String("outcome", e.Outcome)}
	for _, field := range []struct{ name, value string }{
		{"provider", e.Provider}, {"client", e.Client}, {"subject", a.Pseudonym(e.Issuer, e.Subject)}, {"actor", e.Actor},
		{"audience", e.Audience}, {"scope", e.Scope}, {"policy", e.Policy}, {"reason", e.Reason}, {"sid", e.SID},
	} {
		if field.value != "" {
			attrs = append(attrs, slog.String(field.name, field.value))
		}
	}
	line := slog.NewRecord(time.Now(), slog.LevelInfo, "audit", 0)
	line.AddAttrs(attrs...)
	_ = a.log.Handler().Handle(ctx, line)
}

// Pseudonym is what the lines call a person: a keyed hash of issuer and subject, "" for nobody.
func (a *Audit) Pseudonym(issuer, subject string) string {
	if subject == "" {
		return ""
	}
	mac := hmac.New(sha256.New, *a.key.Load())
	mac.Write([]byte(issuer))
	mac.Write([]byte{0}) // no issuer or subject holds it, so the two cannot run into one another
	mac.Write([]byte(subject))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
