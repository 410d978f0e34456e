package nearside

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/engine"
)

// CacheStats counts what a cache did in this process since it was made. The reads are counted by where their answer
// came from, with the words of Source.
type CacheStats = engine.Stats

// Stats is a snapshot of a client.
type Stats struct {
	Caches map[string]CacheStats // by name

	// Problems are what Redis was found to be unable to do, each with what is lost and the command that grants it: a right
	// that is missing, for example. Each was logged once.
	Problems []string

	Pending  int    // keys whose invalidation could not be delivered yet; this process reads them past Redis
	Repeated uint64 // keys whose invalidation was delivered when Redis was back

	// Of the store; zero, with StoreErr set, if it did not answer.
	Keys     int64 // with a value, of whatever program
	Bytes    int64 // of memory used
	MaxBytes int64 // its bound; zero: none
	Evicted  int64 // values removed to keep the bound
	StoreErr error
}

// Stats returns the counters of all caches, and how full the store is. It waits for the store for up to 1 s.
func (c *Client) Stats(ctx context.Context) Stats {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c.mu.Lock()
	s := Stats{Caches: make(map[string]CacheStats, len(c.caches))}
	for name, cache := range c.caches {
		s.Caches[name] = cache.Stats()
	}
	c.mu.Unlock()
	recovery := c.shared.Recovery()
	s.Pending, s.Repeated = recovery.Pending, recovery.Repeated
	s.Problems = c.shared.Problems()
	u, err := c.shared.Store.Usage(ctx)
	s.Keys, s.Bytes, s.MaxBytes, s.Evicted, s.StoreErr = u.Keys, u.Bytes, u.MaxBytes, u.Evicted, err
	return s
}
