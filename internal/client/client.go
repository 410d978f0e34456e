// Package client is the inside of a *nearside.Client: what the other packages of this module need of it. Applications cannot name
// its types.
package client

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/fleetstats"
	"github.com/nearside/nearside/internal/store"
)

// Settings are those of a client that do not depend on its store. The zero value means the defaults.
type Settings struct {
	Budget      time.Duration // of one step of a read; zero: the store's own
	WriteBudget time.Duration // of one step of a write; 1 s if zero
	NearBytes   int64         // of all near caches without a bound of their own; zero: no bound
	Fleet       bool          // share statistics with other processes
	Logger      *slog.Logger  // required
}

// Client is what the caches of one client share.
type Client struct {
	Shared *engine.Shared

	reporter *fleetstats.Reporter // nil: statistics are not shared

	mu     sync.Mutex // guards caches
	caches map[string]registered
}

// registered is a cache that was made.
type registered struct {
	engine.Meter
	config string // a hash of its settings
}

// Open makes c a client of a store, which Close closes. It must be called before anything else.
func (c *Client) Open(s store.Store, set Settings) {
	c.Shared = engine.NewShared(s, set.Budget, cmp.Or(set.WriteBudget, time.Second), set.Logger)
	c.Shared.NearBytes = uint64(set.NearBytes)
	c.caches = make(map[string]registered)
	if set.Fleet {
		redis, _ := s.(fleetstats.Redis) // nil: the embedded store
		c.reporter = fleetstats.Start(fleetstats.Config{Redis: redis, Problems: c.Shared.Problems, Caches: c.locals})
	}
}

// Close ends what is running, and waits for that until ctx ends. See engine.Shared.
func (c *Client) Close(ctx context.Context) error {
	if c.reporter != nil {
		c.reporter.Close()
	}
	return c.Shared.Close(ctx)
}

// Register takes a name for a cache. It panics if the name is taken. call is the function that was called to make the cache, for the
// message; hash tells different settings apart.
func (c *Client) Register(call, name string, m engine.Meter, hash string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.caches[name]; taken {
		panic(fmt.Sprintf("%s: the client has a cache %q already: two of one name would share their keys", call, name))
	}
	c.caches[name] = registered{m, hash}
}

// Caches returns all caches, by name.
func (c *Client) Caches() map[string]engine.Meter {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]engine.Meter, len(c.caches))
	for name, r := range c.caches {
		out[name] = r.Meter
	}
	return out
}

// Cache returns the cache of a name. ok is false if there is none.
func (c *Client) Cache(name string) (m engine.Meter, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.caches[name]
	return r.Meter, ok
}

// Fleet returns the reader of what all processes count together. It returns nil if statistics are not shared.
func (c *Client) Fleet() fleet.Reader {
	if c.reporter == nil {
		return nil
	}
	return c.reporter.Reader()
}

// locals returns what is reported of each cache.
func (c *Client) locals() map[string]fleetstats.Local {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]fleetstats.Local, len(c.caches))
	for name, r := range c.caches {
		entries, bytes := r.NearUsage()
		out[name] = fleetstats.Local{Tally: r.Tally(), Hot: r.HotKeys, MemberCache: fleet.MemberCache{
			Config: r.config, NearEntries: entries, NearBytes: bytes,
		}}
	}
	return out
}
