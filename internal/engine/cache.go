package engine

import (
	"context"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/flight"
	"github.com/nearside/nearside/internal/meter"
	"github.com/nearside/nearside/internal/recovery"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
	"github.com/nearside/nearside/internal/workers"
)

// Key is a key of a cache.
type Key struct {
	Text string // as it stands in the store, such as "user:42"
	Of   any    // the application's key; nil if it can be read from the text
}

// Policy says how long a cache keeps what it loads, and how it loads. Every field has been checked and defaulted by the caller;
// durations of zero are off.
type Policy struct {
	Glob string                // of all keys, as store.Match takes it; empty: they cannot be swept
	Ours func(key string) bool // which of the keys that match belong to the cache; nil: all

	TTL         time.Duration // how long a value is fresh, unless the cache knows better; 1 h if zero
	Jitter      float64       // shortens each key's TTL by a share of its own between 0 and this
	Stale       time.Duration // how much longer it may be served
	NotFoundTTL time.Duration
	Hold        time.Duration
	InDoubt     time.Duration // how long after a write has failed its commit may still become visible; zero: it never does
	LoadTimeout time.Duration
	SoftTimeout time.Duration // how long a read waits for a fresh value before it is given a stale one; zero: not at all
	Refresh     float64       // how eagerly a value that is about to be stale is loaded anew; zero: not at all
	MaxLoads    int           // at once; zero: any number
	BatchLoads  int           // of MaxLoads, that one batch without a loader of many runs at once; 16 if zero
}

// strategy is what differs between the loads of values and of collections.
type strategy interface {
	// load calls the loader for one key. ctx is the attempt's.
	load(ctx context.Context, j *job) Loaded
	// loadMany calls the loader of many keys, and sets out in their order. It is called only if loadsMany is true.
	loadMany(ctx context.Context, js jobs, out []Loaded)
	loadsMany() bool
	// expire returns how long v is fresh; zero or less: for the TTL of the cache.
	expire(k Key, v any) time.Duration
	// decode decodes the bytes of a value in the store.
	decode(data []byte) (any, error)
	// fill returns the fill of a value that was loaded under a lease and is fresh for ttl, or why nothing is stored.
	fill(j *job, l *Loaded, ttl time.Duration) (store.Fill, error)
}

// Cache is what caches of values and caches of collections have in common: loads, invalidations and statistics. It knows keys as
// text, and never looks into values. It is safe for concurrent use.
type Cache struct {
	*Shared
	Policy
	kind       store.Kind // "": values
	strategy   strategy
	flights    flight.Group[result]
	whole      flight.Group[result] // of collections: loads whose results are kept whole
	limits     *workers.Deadlines   // of loads
	places     *places              // for loads; nil: no limit
	near       *nearTier            // nil: nothing is kept in the process
	misses     atomic.Int32         // reads of the store in a row that found nothing
	loadHealth meter.LoadHealth
	recovery   *recovery.Cache
	count      meter.Meter
	pace       pace // of reads of many keys
	ails       complaints
}

// init makes a zero cache ready.
func (c *Cache) init(s *Shared, p Policy, st strategy) {
	for _, d := range []*time.Duration{&p.TTL, &p.Stale, &p.NotFoundTTL, &p.Hold, &p.LoadTimeout, &p.SoftTimeout} {
		*d = store.Bounded(*d)
	}
	if p.TTL == 0 {
		p.TTL = time.Hour
	}
	c.Shared, c.Policy, c.strategy = s, p, st
	c.recovery = s.deferred.Cache(recovery.CacheConfig{
		Glob: p.Glob, Ours: p.Ours, Hold: p.Hold, Margin: store.Sum(p.LoadTimeout, leaseMargin, s.WriteBudget, p.Hold),
		TTL: max(p.TTL+p.Stale, p.NotFoundTTL),
	})
	c.limits = workers.NewDeadlines(s.ctx, p.LoadTimeout, &s.workers)
	c.ails.name, c.ails.logger = nameOf(p.Glob), s.Logger
	s.mu.Lock()
	s.ails = append(s.ails, &c.ails)
	s.mu.Unlock()
	if p.MaxLoads > 0 {
		c.places = &places{free: p.MaxLoads}
	}
}

// freshFor returns how long v is fresh. It also notes the longest time for which a value may stay in the store, for recovery.
func (c *Cache) freshFor(k Key, v any) (d time.Duration) {
	defer func() {
		if p := recover(); p != nil { // a goroutine of the engine would end the process
			c.ails.panics("Expire panicked: the TTL of the cache holds", k.Text, p, debug.Stack())
			d = c.TTL
		}
	}()
	if d = c.strategy.expire(k, v); d <= 0 {
		d = c.TTL
	}
	d = jittered(d, c.Jitter, k.Text)
	c.recovery.StoredFor(d + c.Policy.Stale)
	return d
}

// check returns nil for a key that can be asked for.
func (c *Cache) check(key string) error {
	err := store.CheckKey(key)
	if err == nil && c.Shared.ctx.Err() != nil {
		err = ErrClosed
	}
	return err
}

func (c *Cache) checkAll(keys []string) error {
	for _, key := range keys {
		if err := c.check(key); err != nil {
			return err
		}
	}
	return nil
}

// Failed counts a read that ended with an error, which it returns.
func (c *Cache) Failed(err error) (Entry, error) {
	c.count.Add(tally.Error)
	return Entry{}, err
}

// Inspect looks at keys without loading or reading them. One whose invalidation is pending has no value. It waits for the store as
// long as a write does, since no loader can answer instead.
func (c *Cache) Inspect(ctx context.Context, keys []string) ([]store.Info, error) {
	if err := c.checkAll(keys); err != nil {
		return nil, err
	}
	c.waitForFills(ctx, time.Now().Add(c.WriteBudget/2), keys...) // a fill that hangs must not take the time for the others
	past := c.bypassed(keys)
	infos := c.inspect(ctx, keys)
	for i := range past {
		if past[i] {
			infos[i] = store.Info{Type: "none"}
		}
	}
	return infos, nil
}

// inspect looks at keys, a piece at a time. After a piece that was not answered in time, the rest has the same error.
func (c *Cache) inspect(ctx context.Context, keys []string) []store.Info {
	infos := make([]store.Info, 0, len(keys))
	var late error
	for some := range slices.Chunk(keys, PieceKeys) {
		if late != nil {
			for range some {
				infos = append(infos, store.Info{Err: late})
			}
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, c.WriteBudget)
		found := c.Store.Inspect(ctx, some)
		cancel()
		infos = append(infos, found...)
		if i := slices.IndexFunc(found, func(i store.Info) bool { return unanswered(i.Err) }); i >= 0 {
			late = found[i].Err
		}
	}
	return infos
}

// settled waits until what this process has loaded is stored, as part of the budget of a look.
func (c *Cache) waitForFills(ctx context.Context, until time.Time, keys ...string) {
	ctx, cancel := c.readContext(ctx, until)
	defer cancel()
	for _, key := range keys {
		c.flights.Settled(ctx, key)
	}
}

// Prefetch loads the keys that the store lacks, in the background. Of many keys it loads one piece after the other.
func (c *Cache) Prefetch(ctx context.Context, ks []Key) {
	if len(ks) <= PieceKeys {
		c.lead(c.unclaimed(ctx, ks, nil))
		return
	}
	ks = slices.Clone(ks) // the slice is the caller's
	c.spawn(func() {
		b := c.newBatch()
		for len(ks) > 0 && c.Shared.ctx.Err() == nil {
			n := min(c.pace.keys(), len(ks))
			if js := c.unclaimed(ctx, ks[:n], b); len(js) > 0 {
				c.run(js)
			}
			ks = ks[n:]
		}
	})
}

// unclaimed begins a call for each of the keys that has none.
func (c *Cache) unclaimed(ctx context.Context, ks []Key, b *batch) (js jobs) {
	for _, k := range ks {
		if c.check(k.Text) != nil {
			continue
		}
		if call := c.flights.Lead(k.Text); call != nil {
			js = append(js, &job{key: k.Text, of: k.Of, ctx: ctx, call: call, batch: b})
		}
	}
	return js
}
