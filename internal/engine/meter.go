package engine

import (
	"github.com/nearside/nearside/internal/hotkeys"
	"github.com/nearside/nearside/internal/tally"
)

// Meter is what is read of a cache for statistics.
type Meter interface {
	// Tally returns all that the cache counts.
	Tally() tally.Tally
	// NearUsage returns how many entries the near cache has, and about how many bytes they take.
	NearUsage() (entries int, bytes uint64)
	// HotKeys returns the n keys that were read most since it was last called, the hottest first.
	HotKeys(n int) []hotkeys.Key
}

// Tally implements Meter.
func (c *Cache) Tally() tally.Tally { return c.count.Tally() }

// NearUsage implements Meter.
func (c *Cache) NearUsage() (entries int, bytes uint64) {
	if c.near == nil {
		return 0, 0
	}
	return c.near.Len(), c.near.Bytes()
}

// HotKeys implements Meter.
func (c *Cache) HotKeys(n int) []hotkeys.Key { return c.count.HotKeys(n) }
