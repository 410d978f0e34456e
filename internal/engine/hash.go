package engine

import (
	"fmt"
	"hash/fnv"
)

// Hash tells settings apart: processes whose caches of one name have other ones differ in it. more are settings that only
// the caller knows.
func (v *Values) Hash(more ...any) string {
	n := &v.values.cfg.Near
	return v.hash(v.values.cfg.MaxValue, v.values.cfg.Expire != nil, n.Size, n.Bytes, n.Max, n.Untracked, more)
}

// Hash tells settings apart, as that of a cache of values does.
func (c *Collection) Hash(more ...any) string {
	return c.hash(c.kind, c.cfg.MaxElements, c.cfg.Versioned, c.cfg.LoadOne != nil, more)
}

func (c *Cache) hash(more ...any) string {
	h := fnv.New32a()
	fmt.Fprint(h, c.TTL, c.Jitter, c.Stale, c.NotFoundTTL, c.Hold, c.LoadTimeout, c.SoftTimeout, c.Refresh, c.MaxLoads, more)
	return fmt.Sprintf("%08x", h.Sum32())
}
