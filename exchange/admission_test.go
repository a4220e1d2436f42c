package exchange

import (
	"strings"
	"testing"

	"cloakroom/token"
)

// B4.5 (GHSA-7qjx-gp9h-65qj): the rule of who may sign in is asked of a provider's tokens, by what they tell.
func TestAdmission(t *testing.T) {
	const byMail, byGroup = `id.email.endsWith("@example.com")`, `"staff" in access.groups`
	stranger := aliceID()
	stranger["email"] = "alice@elsewhere.org"
	guest := aliceAccess()
	guest["groups"] = []any{"guests"}
	outside := aliceSession()
	outside.ID = stranger
	for name, tc := range map[string]struct {
		allow   string
		subject Subject
		want    string // "" granted; otherwise the last reason
		traced  string
	}{
		"both tokens, and the rule holds":            {byMail, ProviderSubject(verifiedAccess(aliceAccess()), verifiedID(aliceID())), "", "ok"},
		"both tokens, and it does not":               {byMail, ProviderSubject(verifiedAccess(aliceAccess()), verifiedID(stranger)), idp + ": " + byMail, "refused"},
		"both tokens, and it cannot be answered":     {`id.nobody`, ProviderSubject(verifiedAccess(aliceAccess()), verifiedID(aliceID())), idp + ": id.nobody", "error"},
		"an ID token as the subject":                 {byMail, IdentitySubject(*verifiedID(stranger)), idp + ": " + byMail, "refused"},
		"an access token that answers, with yes":     {byGroup, ProviderSubject(verifiedAccess(aliceAccess()), nil), "", "ok"},
		"an access token that answers, with no":      {byGroup, ProviderSubject(verifiedAccess(guest), nil), idp + ": " + byGroup, "refused"},
		"an access token that cannot answer":         {byMail, ProviderSubject(verifiedAccess(aliceAccess()), nil), "", "no answer without an ID token"},
		"a session was asked when it began":          {byMail, SessionSubject(outside), "", ""},
		"a token of ours was asked when it was made": {byMail, MintedSubject(token.Claims{"iss": us, "sub": "alice", "idp": idp, "exp": at.Unix() + 300}, &outside), "", ""},
		"a further issuer is not the provider":       {`false`, ticket(nil), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := examplePolicy()
			cfg.Providers = []ProviderConfig{{Issuer: idp, Allow: tc.allow}, {Issuer: "https://another.example.com", Allow: "false"}}
			q := aliceAsks()
			q.Audience, q.Subject = []string{"archive"}, tc.subject
			delete(q.Subject.Presented, "may_act")
			d := mustPolicy(t, cfg).Decide(q)
			traced := ""
			for _, s := range d.Trace {
				if s.Rule == "provider" && traced == "" {
					traced = s.Outcome
				}
			}
			if traced != tc.traced {
				t.Errorf("traced %q, want %q", traced, tc.traced)
			}
			if tc.want == "" && !d.Granted() || tc.want != "" && !strings.HasSuffix(say(d), "invalid_request: "+tc.want) {
				t.Error(say(d))
			}
		})
	}
}
