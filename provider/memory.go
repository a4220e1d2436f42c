package provider

import (
	"crypto/sha256"
	"sync"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

const (
	memoryFor  = 30 * time.Second // a token that was revoked at the provider is good here for as long, and no longer
	memorySize = 4096             // tokens
)

// said is what the provider said of an access token, and when.
type said struct {
	claims token.Claims
	at     time.Time
	until  time.Time // how long that may be repeated
}

// memory is what the provider said lately of access tokens that do not speak for themselves. Only what it vouches for is
// kept, so a token it does not know is asked for each time.
type memory struct {
	mu sync.Mutex
	of map[memoryKey]said
}

// memoryKey is a hash of the whole token: on less, two persons could be one (security.md B4.10).
type memoryKey [sha256.Size]byte

func newMemory() *memory { return &memory{of: map[memoryKey]said{}} }

func memoryKeyOf(raw secret.Text) memoryKey { return sha256.Sum256([]byte(raw.Reveal())) }

func (m *memory) recall(key memoryKey, now time.Time) (said, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, there := m.of[key]
	// One from the future was kept before the clock was set back: it could stay for ever.
	return s, there && now.Before(s.until) && !now.Before(s.at)
}

func (m *memory) keep(key memoryKey, s said) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.of[key]; !there && len(m.of) >= memorySize {
		m.forget(s.at)
	}
	m.of[key] = s
}

// forget makes room: of a few entries, those that are over, and if none is, the last one looked at.
func (m *memory) forget(now time.Time) {
	looked := 0
	for key, s := range m.of { // in an order that nobody can foresee
		looked++
		if !now.Before(s.until) || looked == 32 && len(m.of) >= memorySize {
			delete(m.of, key)
		}
		if looked == 32 {
			return
		}
	}
}
