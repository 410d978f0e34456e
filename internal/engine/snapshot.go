package engine

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/hotkeys"
	"github.com/nearside/nearside/internal/meter"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// Meter is what is read of a cache for statistics.
type Meter interface {
	Stats() meter.Stats
	// Tally is all that the cache counts.
	Tally() tally.Tally
	// HotKeys returns the n keys that were read most since it was last called.
	HotKeys(n int) []hotkeys.Key
}

// HotKeys returns the n keys that were read most since it was last called, the hottest first.
func (c *Cache) HotKeys(n int) []hotkeys.Key { return c.count.HotKeys(n) }

// Tally returns all that the cache counts.
func (c *Cache) Tally() tally.Tally { return c.count.Tally() }

// Stats returns the counters of now.
func (c *Cache) Stats() meter.Stats {
	s := c.count.Stats()
	if c.near != nil {
		s.NearEntries, s.NearBytes = c.near.Len(), c.near.Bytes()
	}
	return s
}

// Snapshot is what a client counts.
type Snapshot struct {
	Caches map[string]meter.Stats // by name

	// Problems are what Redis was found to be unable to do, each with what is lost and the command that grants it: a right
	// that is missing, for example. Caches that gain nothing are named too: none of their loads is stored, or their values do
	// not decode. Each was logged once, and is gone when it is over.
	Problems []string

	Pending  int    // keys whose invalidation could not be delivered yet; this process reads them past Redis
	Repeated uint64 // keys whose invalidation was delivered when Redis was back
	Past     int    // caches that are read past Redis as a whole, since more was pending than is kept

	InDoubt int // keys of which a write has failed whose outcome is not known: nothing is cached for them

	Breakers []store.Breaker // whether each node is asked; none of a store in memory

	// Of the store; zero, with StoreErr set, if it did not answer.
	Keys     int64 // with a value, of whatever program
	Bytes    int64 // of memory used
	MaxBytes int64 // its bound; zero: none
	Evicted  int64 // values removed to keep the bound
	StoreErr error
}

const usageWait = time.Second // for the store to tell how full it is

// Snapshot returns what is known of all caches, whose counters are given, and of the store.
func (s *Shared) Snapshot(ctx context.Context, caches map[string]meter.Stats) Snapshot {
	ctx, cancel := context.WithTimeout(ctx, usageWait)
	defer cancel()
	recovery := s.Recovery()
	out := Snapshot{Caches: caches, Problems: s.Problems(), Pending: recovery.Pending, Repeated: recovery.Repeated, Past: recovery.Past, InDoubt: s.InDoubt()}
	if g, ok := s.Store.(store.Guarded); ok {
		out.Breakers = g.Breakers()
	}
	u, err := s.Store.Usage(ctx)
	out.Keys, out.Bytes, out.MaxBytes, out.Evicted, out.StoreErr = u.Keys, u.Bytes, u.MaxBytes, u.Evicted, err
	return out
}
