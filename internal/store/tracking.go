package store

import (
	"context"
	"errors"
	"time"
)

// ErrNoPush says that nobody can be woken: who waits must ask now and then.
var ErrNoPush = errors.New("the store does not tell of changes")

// Tracking reads keys so that every later change of them by any process is told, by this one too. That a value expires or is evicted
// may be told or not: it is still what the database held, so one who keeps it bounds that by its TTL alone. It is what keeps a near tier right, and what wakes who waits for another process' load.
//
// A change that an answer does not show is told after that answer was given. Where changes may have been missed, since a
// connection was lost, that is told in their place.
type Tracking interface {
	// Get and GetMany are those of the Store.
	Get(ctx context.Context, key string, ttl bool) Item
	GetMany(ctx context.Context, keys []string, ttl bool) []Item
	// Absences returns for how long it may be kept that there are no such rows, if the store remembers that; zero if not, or
	// if it does not answer. What ends an absence is told like a change of a value; where that cannot be, the time is short.
	Absences(ctx context.Context, keys []string) []time.Duration
	// Await returns a channel that is closed at the next change of one of the keys or of their sidecars. stop ends it, and
	// must be called. What has changed before Await returns is not told.
	Await(ctx context.Context, keys []string) (changed <-chan struct{}, stop func(), err error)
	// Close ends it.
	Close()
}
