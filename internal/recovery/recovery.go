// Package recovery keeps the invalidations that a store did not confirm, and delivers them later. It knows keys as text, and of
// caches only what it needs to invalidate all of one.
//
// A deferred invalidation is kept until it is delivered (deliver.go): one per key, the last wins. Until then its process bypasses
// the store for the key, since the store may hold what is older than the database. If more invalidations fail than are kept, all
// of their caches are bypassed until each has been swept (sweep.go). A store whose data set went back in time names caches that
// must be bypassed too (history.go).
package recovery

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// Store is what recovery needs of a store. It may be a store.Historic too.
type Store interface {
	Invalidate(ctx context.Context, keys []string, hold time.Duration) []store.Outcome
	Sweep(ctx context.Context, glob string, ours func(key string) bool) error
}

// Options say how recovery works. All fields are needed.
type Options struct {
	Store       Store
	WriteBudget time.Duration // what one batch of invalidations waits for the store
	Logger      *slog.Logger
	Spawn       func(func()) bool // runs a function in a goroutine that Close waits for; false after Close
	ResetNear   func()            // discards the in-process entries of all caches
}

const defaultMax = 10_000

// Invalidations are the deferred invalidations of a client.
type Invalidations struct {
	Options
	Max int // keys that are kept at most. Tests lower it

	ctx   context.Context // ends at Close
	some  atomic.Int64    // keys kept, and caches bypassed: while zero, reads cost nothing
	clock atomic.Uint64   // counts what was kept, so that an invalidation knows what was kept after it began
	epoch atomic.Uint64   // counts when caches were barred; see history.go

	repeated atomic.Uint64 // keys that were delivered by repetition
	woken    chan struct{} // something was delivered otherwise, or the store answers again

	mu         sync.Mutex // guards the rest, and what Cache says. It is held for a few lines that call nothing
	keys       map[string]*invalidation
	bypassed   map[*Cache]bool // the caches that are to be swept
	caches     []*Cache        // those that a store with a history can bar
	delivering bool            // a goroutine repeats
	sweeping   bool            // a goroutine sweeps
	round      uint64          // of repetition
	outage     outage
	failure    error // the last
}

// outage is the time in which something is deferred, for the log.
type outage struct {
	began              time.Time // zero: there is none
	delivered, expired int       // but for what the store reports itself
}

// invalidation is one that could not be delivered.
type invalidation struct {
	cache  *Cache
	hold   time.Duration
	number uint64    // on the clock
	failed time.Time // the last time
	round  uint64    // in which it was repeated last
}

// New returns recovery over a store. It works until ctx ends; after that only Drain does.
func New(ctx context.Context, o Options) *Invalidations {
	d := &Invalidations{
		Options: o, Max: defaultMax, ctx: ctx,
		woken: make(chan struct{}, 1), keys: make(map[string]*invalidation), bypassed: make(map[*Cache]bool),
	}
	if h, ok := o.Store.(store.Historic); ok {
		h.Keep(keeper{d})
	}
	return d
}

// CacheConfig is what recovery must know of a cache.
type CacheConfig struct {
	Glob   string                // of its keys; empty: they cannot be swept
	Ours   func(key string) bool // which of the keys that match belong to the cache; nil: all
	Hold   time.Duration
	Margin time.Duration // a load that began before an invalidation may store something until this long after it
	TTL    time.Duration // the longest of what is stored, as far as it is known
}

// Cache is a cache for recovery.
type Cache struct {
	CacheConfig
	d       *Invalidations
	longest atomic.Int64 // TTL, in nanoseconds

	overflowed atomic.Bool // it is bypassed until it was swept
	barred     atomic.Bool // it is bypassed while the store says so; see history.go

	// Guarded by Invalidations.mu:
	missed   uint64    // the number of the last invalidation that was not kept
	missedAt time.Time // when it came; in the future, of a write in doubt
	sweeping bool
	said     bool   // that it cannot be swept
	number   uint64 // of store.Keeper.Empty, until it was swept; zero: it need not be emptied
	emptying uint64 // what missed was then
}

// Cache adds a cache.
func (d *Invalidations) Cache(config CacheConfig) *Cache {
	c := &Cache{CacheConfig: config, d: d}
	c.StoredFor(config.TTL)
	d.register(c)
	return c
}

// StoredFor notes the TTL of something that is stored.
func (c *Cache) StoredFor(ttl time.Duration) {
	for {
		known := c.longest.Load()
		if int64(ttl) <= known || c.longest.CompareAndSwap(known, int64(ttl)) {
			return
		}
	}
}

// expiry is how long after an invalidation the store may hold a value from before it.
func (c *Cache) expiry() time.Duration { return store.Sum(time.Duration(c.longest.Load()), c.Margin) }

// Idle reports whether no key is bypassed.
func (d *Invalidations) Idle() bool { return d.some.Load() == 0 }

// Bypasses reports whether a key must not be read from the store. It is to be asked before the read: by the end of the read the
// invalidation may have been delivered, after the value was read.
func (c *Cache) Bypasses(key string) bool { return !c.d.Idle() && c.bypasses(key) }

func (c *Cache) bypasses(key string) bool {
	if c.overflowed.Load() || c.barred.Load() {
		return true
	}
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	return c.d.keys[key] != nil
}

// Mark is to be taken before an invalidation begins, or before the write that it follows, for Done.
func (d *Invalidations) Mark() uint64 { return d.clock.Load() }

// Done says that the store has carried out an invalidation, or the end of a write. What was kept before the mark is about older
// rows, and need not be delivered any more.
func (d *Invalidations) Done(key string, mark uint64) {
	if d.Idle() {
		return
	}
	d.mu.Lock()
	removed := d.remove(key, mark)
	if removed {
		d.outage.delivered++
	}
	empty := removed && len(d.keys) == 0
	d.mu.Unlock()
	if empty {
		d.wake()
	}
}

// remove forgets a key that was not kept again after mark. d.mu is held.
func (d *Invalidations) remove(key string, mark uint64) bool {
	in := d.keys[key]
	if in == nil || in.number > mark {
		return false
	}
	d.drop(key)
	return true
}

// drop forgets a key. d.mu is held.
func (d *Invalidations) drop(key string) {
	delete(d.keys, key)
	d.some.Add(-1)
}

// wake ends the pauses of repetition.
func (d *Invalidations) wake() {
	select {
	case d.woken <- struct{}{}:
	default:
	}
}

// Keep has an invalidation that failed repeated until it is delivered, and the store bypassed for the key until then. It must
// come before the caller learns of the failure, and before the key's call is forgotten: the next call must see it.
func (c *Cache) Keep(key string, hold time.Duration, failure error) {
	d := c.d
	did := c.keep(key, hold, failure)
	if did.first {
		d.Logger.Warn("invalidations could not be delivered and are kept: their keys are read past the store until they are", "key", key, "error", failure)
	}
	if did.overflow {
		d.Logger.Warn("more invalidations could not be delivered than are kept: a cache is read past the store until all of it is invalidated",
			"keys", c.Glob, "kept", d.Max)
	}
	if did.deliver {
		d.Spawn(d.repeat)
	}
	if did.sweep {
		d.Spawn(d.sweepAll)
	}
}

// kept is what keep has changed.
type kept struct {
	first    bool // nothing was deferred before
	overflow bool // the cache is bypassed from now on
	deliver  bool // a goroutine must be started
	sweep    bool // another one
}

func (c *Cache) keep(key string, hold time.Duration, failure error) (did kept) {
	d := c.d
	d.mu.Lock()
	defer d.mu.Unlock()
	now, number := time.Now(), d.clock.Add(1)
	d.failure = failure
	did.first = d.begin(now)
	in := d.keys[key]
	switch {
	case in != nil:
		in.hold = max(in.hold, hold)
	case d.bypassed[c] && !c.sweeping:
		c.miss(number, now) // the sweep to come covers it
		return did
	case len(d.keys) >= d.Max:
		did.overflow, did.sweep = d.overflow(c, number, now)
		return did
	default:
		in = &invalidation{cache: c, hold: hold}
		d.keys[key] = in
		d.some.Add(1)
	}
	in.number, in.failed = number, now
	did.deliver, d.delivering = !d.delivering, true
	return did
}

// BypassUntil has the cache bypassed until a time to come, when invalidations of it that are not kept become due, and until a
// sweep after that. It returns false if the cache was bypassed before.
func (c *Cache) BypassUntil(t time.Time) (news bool) {
	d := c.d
	d.mu.Lock()
	d.begin(time.Now())
	news, sweep := d.overflow(c, d.clock.Add(1), t)
	d.mu.Unlock()
	if sweep {
		d.Spawn(d.sweepAll)
	}
	return news
}

// begin notes that something is deferred. d.mu is held.
func (d *Invalidations) begin(now time.Time) (first bool) {
	if first = d.outage.began.IsZero(); first {
		d.outage.began = now
	}
	return first
}

// overflow has a cache bypassed. Its keys make room: the sweep covers them. news reports whether it was not bypassed before, sweep
// whether the caller must start a goroutine that sweeps. d.mu is held.
func (d *Invalidations) overflow(c *Cache, number uint64, at time.Time) (news, sweep bool) {
	for key, in := range d.keys {
		if in.cache == c {
			d.drop(key)
		}
	}
	news = d.bypass(c, number, at)
	sweep, d.sweeping = !d.sweeping, true
	return news, sweep
}

// bypass has a cache bypassed until it was swept. d.mu is held.
func (d *Invalidations) bypass(c *Cache, number uint64, at time.Time) (news bool) {
	c.miss(number, at)
	if d.bypassed[c] {
		return false
	}
	d.bypassed[c] = true
	d.some.Add(1)
	c.overflowed.Store(true)
	return true
}

// miss notes an invalidation that is not kept: a sweep covers it that begins at its time or later. d.mu is held.
func (c *Cache) miss(number uint64, at time.Time) {
	c.missed = number
	if at.After(c.missedAt) {
		c.missedAt = at
	}
}

// Counts are the invalidations that could not be delivered at once.
type Counts struct {
	Pending  int    // keys whose invalidation could not be delivered yet; the store is bypassed for them
	Repeated uint64 // keys whose invalidation was delivered by repetition
	Past     int    // caches that are bypassed, since more failed than are kept
}

// Counts returns the numbers of now.
func (d *Invalidations) Counts() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Counts{len(d.keys), d.repeated.Load(), len(d.bypassed)}
}
