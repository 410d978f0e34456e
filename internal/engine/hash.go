package engine

import (
	"fmt"
	"hash/fnv"
)

// Hash tells settings apart, as that of a cache does.
func (c *Collection[K]) Hash(more ...any) string {
	return c.c.Config.Hash(c.Kind, c.MaxElements, c.Versioned, c.LoadOne != nil, more)
}

// Hash tells settings apart: processes whose caches of one name have other ones differ in it. more are settings that only
// the skin knows.
func (c *Config[K, V]) Hash(more ...any) string {
	h := fnv.New32a()
	fmt.Fprint(h, c.TTL, c.Stale, c.NotFoundTTL, c.Hold, c.LoadTimeout, c.SoftTimeout, c.Refresh, c.MaxValue, c.MaxLoads,
		c.Near.Size, c.Near.Bytes, c.Near.Max, c.Near.Untracked, more)
	return fmt.Sprintf("%08x", h.Sum32())
}
