package nearside

import (
	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/tally"
)

// Fleet returns the reader of what all processes count together. Nil if Options.Fleet is off.
func (c *Client) Fleet() *fleet.Reader {
	if c.reporter == nil {
		return nil
	}
	return c.reporter.Reader()
}

// report begins to share statistics.
func (c *Client) report() {
	redis, _ := c.shared.Store.(fleet.Redis) // the store in memory is none
	c.reporter = fleet.Start(fleet.Config{Redis: redis, Problems: c.shared.Problems, Caches: c.locals})
}

// locals returns what is reported of each cache.
func (c *Client) locals() map[string]fleet.Local {
	tallies := c.tallies()
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]fleet.Local, len(tallies))
	for name, t := range tallies {
		s := c.caches[name].stats()
		out[name] = fleet.Local{Tally: t, MemberCache: fleet.MemberCache{
			Config: c.caches[name].config, NearEntries: s.NearEntries, NearBytes: s.NearBytes,
		}}
	}
	return out
}

// tallies returns what each cache counted.
func (c *Client) tallies() map[string]tally.Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]tally.Tally, len(c.caches))
	for name, cache := range c.caches {
		out[name] = cache.stats().Tally()
	}
	return out
}
