package session

import (
	"context"
	"errors"
	"time"
)

// Store keeps the records of sessions, their indexes, leases and one-time markers, and carries messages between replicas. It opens nothing: what it keeps is sealed or
// hashed. Package sessiontest holds this contract as tests.
//
// Any error but the ones named at a method means that there is no telling: the operation may or may not have happened.
// Implementations wrap ErrUnavailable then; the Manager does not rely on it. All methods may be called concurrently, and
// end when their context does. Nobody changes the bytes of a Record once it was handed over, in either direction.
//
// Every entry ends by itself: a record at the earlier of Idle and Expires, an index not before the last record entered
// there could, a marker, a lease and a burial at their ttl.
type Store interface {
	// Create keeps a new record, after it was entered in the indexes: one without the other must be an index entry.
	// ErrConflict when the key is taken.
	Create(ctx context.Context, key Key, r Record, indexes []Index) error

	// Load returns the record. ErrNotFound when there is none; ErrBroken when what is kept there cannot be a record;
	// ErrNextRelease when it may be one that this release cannot take apart.
	Load(ctx context.Context, key Key) (Record, error)

	// Replace puts r in the place of the record of generation was, atomically. ErrNotFound when there is no record,
	// ErrConflict when it is of another generation. Idle never goes back: the later of the two stays.
	Replace(ctx context.Context, key Key, was uint64, r Record) error

	// Slide moves Idle forward, never back, and touches nothing else. ErrNotFound when there is no record: one that has
	// ended is never brought back.
	Slide(ctx context.Context, key Key, idle time.Time) error

	// Delete removes the record and returns it as it was then. ErrNotFound when there was none; ErrBroken when what was there
	// cannot be read as a record, and is gone.
	Delete(ctx context.Context, key Key) (Record, error)

	// Members lists the keys entered in an index, in no order. Some may be of records that have ended.
	Members(ctx context.Context, index Index) ([]Key, error)

	// Claim marks name as used, for ttl. It is mine when nobody has marked it, or when the mark bears the same attempt:
	// that was me, and the answer got lost.
	Claim(ctx context.Context, name string, attempt []byte, ttl time.Duration) (mine bool, err error)

	// Acquire makes holder the one holder of the lease of key, for ttl, unless another one is. The holder of a lease may
	// acquire it again, which renews it. It tells whether holder has it now.
	Acquire(ctx context.Context, key Key, holder []byte, ttl time.Duration) (mine bool, err error)

	// Release ends the lease of key if it is that holder's, and does nothing otherwise.
	Release(ctx context.Context, key Key, holder []byte) error

	// Bury notes that what is entered in the index was ended at that time; it is remembered for ttl. Of two times, the
	// later one stays, and so does the longer memory.
	Bury(ctx context.Context, index Index, at time.Time, ttl time.Duration) error

	// Buried tells when any of the indexes was last buried; the zero time where none was. The time may have become later, by
	// less than a millisecond, and never earlier.
	Buried(ctx context.Context, indexes []Index) (at time.Time, err error)

	// Publish tells every subscriber, on every replica, this one among them. It goes the way of every other method: what
	// it takes to be heard proves that they work.
	Publish(ctx context.Context, message []byte) error

	// Subscribe calls heard with each message, in order, from when it has called joined. It returns an error when the
	// subscription is lost, or could not be made, and when ctx ends. It never joins a second time by itself: what was
	// published in between would be lost without a trace.
	Subscribe(ctx context.Context, joined func(), heard func(message []byte)) error

	// Ping asks whether the store answers.
	Ping(ctx context.Context) error

	// Close ends what the store runs. Nothing is called after it.
	Close() error
}

// Record is a session as the store keeps it.
type Record struct {
	Generation uint64
	Tokens     []byte // sealed: opens with the server's secret and the ticket together
	Info       []byte // sealed: opens with the server's secret alone
	Idle       time.Time
	Expires    time.Time
}

// End is when the record ends by itself.
func (r Record) End() time.Time { return earlier(r.Idle, r.Expires) }

// Index is the name of a set of keys: a keyed hash, so that it tells nothing of whose sessions they are.
type Index string

// Answers of a Store, beside ErrNotFound.
var (
	// ErrConflict: the record is not of the generation that it was thought to be of.
	ErrConflict = errors.New("session: of another generation")
	// ErrBroken: what is kept is not a record. It counts as a record that does not open.
	ErrBroken = errors.New("session: record is broken")
)
