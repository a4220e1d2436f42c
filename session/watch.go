package session

// Change is what became of a session, on whichever replica.
type Change struct {
	ID     string
	Kind   ChangeKind
	Reason string // of an end: logout, revoked, expired, backchannel, refused
}

// ChangeKind says which.
type ChangeKind int

// The kinds of changes.
const (
	Ended   ChangeKind = iota + 1
	Renewed            // its tokens
)

// Watch tells of changes of a session, for as long as somebody is bound to it by a stream or socket. The channel is closed
// after Ended, and by stop, which must be called. Renewals may be skipped for a reader that does not keep up. Whoever
// watches first and loads the session then misses nothing.
func (m *Manager) Watch(id string) (changes <-chan Change, stop func()) { return nil, func() {} }
