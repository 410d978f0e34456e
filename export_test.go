package nearside

// SetMaxPending bounds what is kept of invalidations that fail.
func SetMaxPending(c *Client, n int) { c.inside.Shared.SetMaxPending(n) }

// Past is how many caches are read past Redis.
func Past(c *Client) int { return c.inside.Shared.Recovery().Past }
