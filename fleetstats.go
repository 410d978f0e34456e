package nearside

import (
	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/fleetstats"
)

// Fleet returns the reader of what all processes count together. It returns nil if Options.Fleet is off.
func (c *Client) Fleet() fleet.Reader {
	if c.reporter == nil {
		return nil
	}
	return c.reporter.Reader()
}

// report begins to share statistics.
func (c *Client) report() {
	redis, _ := c.shared.Store.(fleetstats.Redis) // the store in memory is not one
	c.reporter = fleetstats.Start(fleetstats.Config{Redis: redis, Problems: c.shared.Problems, Caches: c.locals})
}

// locals returns what is reported of each cache.
func (c *Client) locals() map[string]fleetstats.Local {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]fleetstats.Local, len(c.caches))
	for name, cache := range c.caches {
		s := cache.Stats()
		out[name] = fleetstats.Local{Tally: cache.Tally(), Hot: cache.HotKeys, MemberCache: fleet.MemberCache{
			Config: cache.config, NearEntries: s.NearEntries, NearBytes: s.NearBytes,
		}}
	}
	return out
}
