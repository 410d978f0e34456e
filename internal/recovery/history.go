package recovery

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
)

// A store whose data set may have gone back in time (store.Historic) says which caches must not be read. One that is barred is
// bypassed as a key is whose invalidation is deferred. One that must be emptied is bypassed until it was swept (sweep.go).
//
// A read that is under way when a cache is barred may be answered from the other data set. So each read of the store takes the
// epoch before it asks whether it may read (Bypasses), and does not use the answer if the epoch has changed.

// keeper is the Invalidations that a store reports its history to.
type keeper struct{ *Invalidations }

// Epoch is to be taken before Bypasses is asked, for Overtaken.
func (d *Invalidations) Epoch() uint64 { return d.epoch.Load() }

// Overtaken reports whether the answer to a read must not be used: its data set may have gone back in time since epoch.
func (d *Invalidations) Overtaken(epoch uint64) bool { return d.epoch.Load() != epoch }

// register adds a cache to those that a store with a history can bar.
func (d *Invalidations) register(c *Cache) {
	if h, ok := d.Store.(store.Historic); ok {
		d.mu.Lock()
		d.caches = append(d.caches, c)
		d.mu.Unlock()
		h.Register(c.Glob) // which may call Bar
	}
}

// matching calls f for each cache with one of these globs. d.mu is held.
func (d *Invalidations) matching(globs []string, f func(*Cache)) {
	for _, c := range d.caches {
		if slices.Contains(globs, c.Glob) {
			f(c)
		}
	}
}

// Bar implements store.Keeper.
func (d keeper) Bar(globs []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.matching(globs, func(c *Cache) {
		if !c.barred.Swap(true) {
			d.some.Add(1)
		}
	})
	d.epoch.Add(1) // after the caches: a read that finds this number finds them barred
}

// Free implements store.Keeper.
func (d keeper) Free(globs []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.matching(globs, d.free)
}

// free ends that a cache is barred. d.mu is held.
func (d *Invalidations) free(c *Cache) {
	if c.barred.Swap(false) {
		d.some.Add(-1)
	}
}

// Empty implements store.Keeper.
func (d keeper) Empty(globs []string, number uint64) {
	d.mu.Lock()
	d.matching(globs, func(c *Cache) {
		d.bypass(c, d.clock.Add(1), time.Now())
		c.number, c.emptying = number, c.missed
	})
	d.epoch.Add(1)
	begin := !d.sweeping && len(d.bypassed) > 0
	d.sweeping = d.sweeping || begin
	d.mu.Unlock()
	d.ResetNear() // its entries may be older, too
	if begin {
		d.Spawn(func() {
			retry.Sleep(d.ctx, rand.N(emptyWithin)) // so that the first process spares others the work
			d.sweepAll()
		})
	}
}

// emptyWithin is how long processes wait at most before they begin to empty their caches, each for a random time.
const emptyWithin = 500 * time.Millisecond

// Spare implements store.Keeper.
func (d keeper) Spare(globs []string, number uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.matching(globs, func(c *Cache) {
		if c.number == number {
			d.spare(c)
		}
	})
}

// spare ends that a cache must be emptied, unless it must be swept for another reason too. d.mu is held.
func (d *Invalidations) spare(c *Cache) {
	if d.bypassed[c] && c.number != 0 && c.missed == c.emptying {
		d.swept(c)
	}
}

// Leave ends all that the store's history has begun: at Close the caches are left to other processes, which know as much.
func (d *Invalidations) Leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.caches {
		d.free(c)
		d.spare(c)
	}
	d.caches = nil
}
