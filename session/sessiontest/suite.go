package sessiontest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"cloakroom/session"
)

// Engine is a Store that Run puts to the test.
type Engine struct {
	// Open returns a store that is empty, goes by the clock, and is closed at the end of the test.
	Open func(t *testing.T, now func() time.Time) session.Store
	// Age makes everything in the stores older by d. nil: what the clock says is all that counts.
	Age func(t *testing.T, d time.Duration)
}

// Run holds an engine to the contract of session.Store.
func Run(t *testing.T, e Engine) {
	for _, tt := range []struct {
		name string
		test func(*bench)
	}{
		{"a record comes back as it was", comesBack},
		{"what was never there is not found", neverThere},
		{"a taken key is a conflict", takenKey},
		{"a new record is in its indexes", inIndexes},
		{"no record is seen before its index entries", indexedFirst},
		{"a record is replaced only over the generation it came from", replaced},
		{"of many who replace one generation one succeeds", replacedOnce},
		{"idle never goes back", idleStays},
		{"what ended is not brought back", notBroughtBack},
		{"a record ends when idle", endsIdle},
		{"a record ends absolutely", endsAbsolutely},
		{"sliding gives more time", slideExtends},
		{"sliding does not reach beyond the absolute end", slideBounded},
		{"an index outlives its first record", indexOutlives},
		{"deleting tells whether there was one", deleted},
		{"a mark is whose attempt came first", claimed},
		{"of many attempts one has the mark", claimedOnce},
		{"a lease has one holder, who may renew it", leased},
		{"a lease ends by itself", leaseEnds},
		{"a lease is released by its holder only", leaseReleased},
		{"of many who acquire a lease one has it", leasedOnce},
		{"a burial is remembered for its time", buried},
		{"of two burials the later time and the longer memory stay", buriedTwice},
		{"a burial is never told earlier than it was", buriedFinely},
		{"the latest of several burials is told", buriedLatest},
		{"what is published is heard in order by everyone who joined", published},
		{"a subscription ends with its context", subscriptionEnds},
		{"an ended context is no answer", endedContext},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clock := NewClock()
			tt.test(&bench{T: t, Store: e.Open(t, clock.Now), clock: clock, age: e.Age})
		})
	}
}

// bench is a store under test.
type bench struct {
	*testing.T
	session.Store
	clock *Clock
	age   func(*testing.T, time.Duration)
}

func (b *bench) advance(d time.Duration) {
	b.clock.Advance(d)
	if b.age != nil {
		b.age(b.T, d)
	}
}

func newKey() (k session.Key) {
	_, _ = rand.Read(k[:])
	return k
}

func (b *bench) newRecord(generation uint64, idle, expires time.Duration) session.Record {
	now := b.clock.Now()
	return session.Record{
		Generation: generation, Tokens: []byte("\x01tokens\x00\xff"), Info: []byte("\x01info\r\n\x00"),
		Idle: now.Add(idle), Expires: now.Add(expires),
	}
}

func (b *bench) create(r session.Record, indexes ...session.Index) session.Key {
	b.Helper()
	key := newKey()
	if err := b.Create(b.Context(), key, r, indexes); err != nil {
		b.Fatal(err)
	}
	return key
}

func (b *bench) want(key session.Key, want session.Record) {
	b.Helper()
	got, err := b.Load(b.Context(), key)
	if err != nil {
		b.Fatal(err)
	}
	b.same(got, want)
}

func (b *bench) same(got, want session.Record) {
	b.Helper()
	if got.Generation != want.Generation || !bytes.Equal(got.Tokens, want.Tokens) || !bytes.Equal(got.Info, want.Info) ||
		!got.Idle.Equal(want.Idle) || !got.Expires.Equal(want.Expires) {
		b.Errorf("got generation %d, %q, %q, idle %v, expires %v\nwant %d, %q, %q, %v, %v", got.Generation, got.Tokens, got.Info,
			got.Idle, got.Expires, want.Generation, want.Tokens, want.Info, want.Idle, want.Expires)
	}
}

func (b *bench) wantGone(key session.Key) {
	b.Helper()
	if _, err := b.Load(b.Context(), key); !errors.Is(err, session.ErrNotFound) {
		b.Errorf("load: %v, want ErrNotFound", err)
	}
}

func (b *bench) wantError(err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Errorf("error %v, want %v", err, want)
	}
}

func (b *bench) wantMembers(index session.Index, want ...session.Key) {
	b.Helper()
	got, err := b.Members(b.Context(), index)
	if err != nil {
		b.Fatal(err)
	}
	order := func(x, y session.Key) int { return bytes.Compare(x[:], y[:]) }
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if !slices.Equal(got, want) {
		b.Errorf("members of %s: %v, want %v", index, got, want)
	}
}
