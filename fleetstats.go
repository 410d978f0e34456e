package nearside

import "github.com/nearside/nearside/fleet"

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
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]fleet.Local, len(c.caches))
	for name, cache := range c.caches {
		s := cache.Stats()
		out[name] = fleet.Local{Tally: cache.Tally(), Hot: cache.HotKeys, MemberCache: fleet.MemberCache{
			Config: cache.config, NearEntries: s.NearEntries, NearBytes: s.NearBytes,
		}}
	}
	return out
}
