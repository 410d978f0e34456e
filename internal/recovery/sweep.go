package recovery

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// errNoGlob says that a cache's keys have no name that a store could look for.
var errNoGlob = errors.New("the cache has no glob of its keys")

// sweepAll sweeps the caches that are bypassed, until none is or the client is closed.
func (d *Invalidations) sweepAll() {
	for pause := firstPause; d.rest(d.ctx, pause); pause = min(2*pause, lastPause) {
		if d.sweepOnce(d.ctx) {
			pause = firstPause / 2
		}
		d.mu.Lock()
		if len(d.bypassed) == 0 {
			d.sweeping = false
			d.mu.Unlock()
			d.report()
			return
		}
		d.mu.Unlock()
	}
}

// sweepOnce sweeps each cache that is bypassed once, those that must be emptied in one run. It returns true if one of them at
// least is not bypassed any more.
func (d *Invalidations) sweepOnce(ctx context.Context) (some bool) {
	var hasty, rest []*Cache
	d.mu.Lock()
	for c := range d.bypassed {
		if c.number != 0 && c.Glob != "" {
			hasty = append(hasty, c)
		} else {
			rest = append(rest, c)
		}
	}
	d.mu.Unlock()
	if len(hasty) > 0 && d.sweep(ctx, hasty...) {
		some = true
	}
	for _, c := range rest {
		if d.sweep(ctx, c) {
			some = true
		}
	}
	return some
}

// sweep invalidates all keys of some caches, and then has them read from the store again. It covers what was not kept before it
// began, but for a load from a lagging replica: so it does not begin before the hold of the last one is over. It returns true if
// one of the caches at least is not bypassed any more.
func (d *Invalidations) sweep(ctx context.Context, caches ...*Cache) (some bool) {
	began := time.Now()
	var due []*Cache
	var missed []uint64
	hasty := true
	d.mu.Lock()
	for _, c := range caches {
		switch since := began.Sub(c.missedAt); {
		case !d.bypassed[c] || c.sweeping: // another goroutine does it
		case since > c.expiry():
			number := d.swept(c)
			some = true
			d.mu.Unlock()
			d.reportEmptied(c, number)
			d.Logger.Warn("a cache is read from the store again: what could not be invalidated has expired", "keys", c.Glob)
			d.mu.Lock()
		case since < c.Hold:
		default:
			c.sweeping = true
			due, missed = append(due, c), append(missed, c.missed)
			hasty = hasty && c.number != 0
		}
	}
	d.mu.Unlock()
	if len(due) == 0 {
		return some
	}

	err := errNoGlob
	if due[0].Glob != "" {
		err = d.sweepStore(ctx, due, hasty)
	}

	var globs []string
	for i, c := range due {
		d.mu.Lock()
		c.sweeping = false
		done := err == nil && c.missed == missed[i] && d.bypassed[c]
		say := err != nil && !c.said && ctx.Err() == nil
		number := uint64(0)
		if done {
			number = d.swept(c)
		} else if err != nil {
			d.failure = err
			c.said = c.said || say
		}
		d.mu.Unlock()
		if done {
			some = true
			globs = append(globs, c.Glob)
			d.reportEmptied(c, number)
		} else if say {
			d.Logger.Warn("a cache cannot be swept yet", "keys", c.Glob, "error", err)
		}
	}
	if len(globs) > 0 {
		d.Logger.Info("a cache is read from the store again: all of it is invalidated", "keys", strings.Join(globs, " "), "sweep", time.Since(began).Round(time.Millisecond))
	}
	return some
}

// sweepStore sweeps caches in one run: in haste if they must be emptied.
func (d *Invalidations) sweepStore(ctx context.Context, caches []*Cache, hasty bool) error {
	glob, ours := caches[0].Glob, caches[0].Ours
	if len(caches) > 1 {
		glob, ours = "*", func(key string) bool {
			return slices.ContainsFunc(caches, func(c *Cache) bool {
				return store.Match(c.Glob, key) && (c.Ours == nil || c.Ours(key))
			})
		}
	}
	if h, ok := d.Store.(store.Historic); ok && hasty {
		return h.Empty(ctx, glob, ours)
	}
	return d.Store.Sweep(ctx, glob, ours)
}

// swept has a cache read from the store again. It returns the number for reportEmptied. d.mu is held.
func (d *Invalidations) swept(c *Cache) (number uint64) {
	delete(d.bypassed, c)
	c.overflowed.Store(false)
	c.said = false
	d.some.Add(-1)
	number, c.number = c.number, 0
	d.matching([]string{c.Glob}, func(other *Cache) {
		if other.number != 0 {
			number = 0 // another cache has such keys, and is still to be emptied
		}
	})
	return number
}

// reportEmptied tells a store with a history that a cache was swept, unless number is zero.
func (d *Invalidations) reportEmptied(c *Cache, number uint64) {
	if h, ok := d.Store.(store.Historic); ok && number != 0 {
		h.Emptied(c.Glob, number)
	}
}
