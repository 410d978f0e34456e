package nearside

import (
	"context"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/meter"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// CacheStats counts what a cache did in this process since it was made. The reads are counted by where their answer
// came from, with the words of Source.
type CacheStats = meter.Stats

// Histogram counts durations in buckets, of which four make a doubling, from 64 ns to two minutes. N is how many were counted,
// Quantile(0.99) the time below which 99 % are, within 9 %, and Filled the buckets themselves.
type Histogram = tally.Histogram

// Breaker says whether a node of Redis is asked: closed, open (it is away), or ramping (it is back, and reads are let through
// little by little).
type Breaker = store.Breaker

// Stats is a snapshot of a client.
type Stats = engine.Snapshot

// Stats returns the counters of all caches, and how full the store is. It waits for the store for up to 1 s.
func (c *Client) Stats(ctx context.Context) Stats {
	c.mu.Lock()
	caches := make(map[string]CacheStats, len(c.caches))
	for name, cache := range c.caches {
		caches[name] = cache.Stats()
	}
	c.mu.Unlock()
	return c.shared.Snapshot(ctx, caches)
}
