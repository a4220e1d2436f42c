package idptest

import "slices"

// User is a person who can sign in.
type User struct {
	Name, Password string
	Subject        string // `sub`: at Cognito a UUID, never the name
	Email          string
	EmailVerified  bool
	GivenName      string
	FamilyName     string
	Groups         []string
	Claims         map[string]any // further claims of the ID token (custom:…)
	Disabled       bool           // cannot sign in, and a refresh is invalid_grant
}

// Client is a registered application.
type Client struct {
	ID, Secret   string   // no secret: a public client
	RedirectURIs []string // exact; none registered: any is accepted, for tests that do not know theirs yet
	LogoutURIs   []string // as RedirectURIs
	Scopes       []string // what it may ask for; none: every scope there is
}

// DefaultClient is the client of a provider whose Config names none.
func DefaultClient() Client {
	return Client{ID: "1example23456789", Secret: "cloakroom-client-secret"}
}

// DefaultUsers are alice, a customer, and sam of the support group. Each one's password is the name.
func DefaultUsers() []User {
	return []User{
		{
			Name: "alice", Password: "alice", Subject: "5f0a1c7e-3b52-4d0e-9a4e-6a1f0f3c2b11",
			Email: "alice@example.com", EmailVerified: true, GivenName: "Alice", FamilyName: "Archer",
			Groups: []string{"customers"},
		},
		{
			Name: "sam", Password: "sam", Subject: "c2d9b8a4-7e61-4f7b-8d35-0b9e5d7a4f22",
			Email: "sam@example.com", EmailVerified: true, GivenName: "Sam", FamilyName: "Sutter",
			Groups: []string{"support"},
		},
	}
}

func (p *Provider) client(id string) (Client, bool) {
	at := slices.IndexFunc(p.cfg.Clients, func(c Client) bool { return c.ID == id })
	if at < 0 {
		return Client{}, false
	}
	return p.cfg.Clients[at], true
}

// user finds a person by name; the caller holds p.mu.
func (p *Provider) user(name string) (User, bool) {
	at := slices.IndexFunc(p.cfg.Users, func(u User) bool { return u.Name == name })
	if at < 0 {
		return User{}, false
	}
	return p.cfg.Users[at], true
}

// users are the people as they are now; Change makes new lists and leaves this one alone.
func (p *Provider) users() []User {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cfg.Users
}

// Change alters a user between two requests: other groups, a disabled account. Tokens minted from now on show it.
func (p *Provider) Change(name string, change func(*User)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	users := slices.Clone(p.cfg.Users)
	for i := range users {
		if users[i].Name == name {
			change(&users[i])
		}
	}
	p.cfg.Users = users
}

func (c Client) allows(registered []string, uri string) bool {
	return uri != "" && (len(registered) == 0 || slices.Contains(registered, uri))
}

// openIDScopes are the scopes that every provider has.
func openIDScopes() []string {
	return []string{"openid", "profile", "email", "phone", "offline_access"}
}

// knows tells whether the provider has a scope and the client may ask for it.
func (p *Provider) knows(client Client, scope string) bool {
	if client.Scopes != nil {
		return slices.Contains(client.Scopes, scope)
	}
	return slices.Contains(p.cfg.Scopes, scope) || slices.Contains(openIDScopes(), scope)
}
