package engine

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// Keyed is a cache as who looks after it sees it: its keys are text. Sessions are none, since their keys are secrets.
type Keyed interface {
	Meter
	Settings() Settings
	// InvalidateKeys is Invalidate for keys as they stand in the store. True: the key held a value.
	InvalidateKeys(ctx context.Context, keys []string) ([]bool, error)
}

// Settings are those of a cache that one must know to understand its numbers.
type Settings struct {
	Kind store.Kind            // "": plain values
	Glob string                // of all keys; empty: it is not known
	Ours func(key string) bool // which of the keys that match belong to the cache; nil: all

	TTL, Stale, NotFoundTTL, Hold, LoadTimeout time.Duration

	Refresh   float64
	MaxLoads  int
	NearSize  int
	NearBytes uint64
}

// Has reports whether a key in the store is one of the cache's.
func (s *Settings) Has(key string) bool {
	return s.Glob != "" && store.Match(s.Glob, key) && (s.Ours == nil || s.Ours(key))
}

// Settings returns what the cache was made with.
func (c *Cache) Settings() Settings {
	s := Settings{
		Kind: c.kind, Glob: c.Glob, Ours: c.Ours, TTL: c.TTL, Stale: c.Stale, NotFoundTTL: c.NotFoundTTL, Hold: c.Hold, LoadTimeout: c.LoadTimeout,
		Refresh: c.Refresh, MaxLoads: c.MaxLoads,
	}
	if c.near != nil {
		s.NearSize, s.NearBytes = c.near.cfg.Size, c.near.cfg.Bytes
	}
	return s
}
