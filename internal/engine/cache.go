package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/flight"
	"github.com/nearside/nearside/internal/meter"
	"github.com/nearside/nearside/internal/near"
	"github.com/nearside/nearside/internal/recovery"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
	"github.com/nearside/nearside/internal/workers"
)

// Config says how a cache finds, reads and writes its values. Every field has been checked and defaulted by the skin;
// durations of zero are off.
type Config[K comparable, V any] struct {
	Key      func(K) (string, error)
	Load     func(context.Context, K) (V, error)         // nil: LoadMany with one key
	LoadMany func(context.Context, []K) (map[K]V, error) // nil: Load for each key
	Encode   func(V) ([]byte, error)
	Decode   func([]byte) (V, error)
	Life     func(k K, key string, v V) time.Duration // how long v is fresh

	// What recovery must know, where invalidations cannot be delivered.
	TTL  time.Duration         // the longest Life, unless Life says more; 1 h if zero
	Glob string                // of all keys, as store.Match takes it; empty: they cannot be swept
	Ours func(key string) bool // which of the keys that match belong to the cache; nil: all

	Stale       time.Duration // how much longer it may be served
	NotFoundTTL time.Duration
	Hold        time.Duration
	InDoubt     time.Duration // how long after a write has failed its commit may still become visible; zero: it never does
	LoadTimeout time.Duration
	SoftTimeout time.Duration // how long a read waits for a fresh value before it is given a stale one; zero: not at all
	Refresh     float64       // how eagerly a value that is about to be stale is loaded anew; zero: not at all
	MaxValue    int           // bytes
	MaxLoads    int           // at once; zero: any number
	BatchLoads  int           // of MaxLoads, that one batch without LoadMany runs at once; 16 if zero
	Near        NearConfig[K, V]
}

// Cache reads and writes the values of one kind. It is safe for concurrent use.
type Cache[K comparable, V any] struct {
	Config[K, V]
	*Shared
	flights    flight.Group[result[V]]
	limits     *workers.Deadlines // of loads
	places     *places            // for loads; nil: no limit
	near       *nearTier[K, V]    // nil: nothing is kept in the process
	misses     atomic.Int32       // reads of the store in a row that found nothing
	loadHealth meter.LoadHealth
	gather     gather[K, V] // in place of a value's load; the zero value: it has values
	recovery   *recovery.Cache
	count      meter.Meter
	pace       pace // of reads of many keys
	ails       complaints
}

// New returns a cache.
func New[K comparable, V any](s *Shared, c Config[K, V]) *Cache[K, V] {
	c.Encode, c.Decode = guarded(c.Encode), guarded(c.Decode)
	for _, d := range []*time.Duration{&c.TTL, &c.Stale, &c.NotFoundTTL, &c.Hold, &c.LoadTimeout, &c.SoftTimeout, &c.Near.Max, &c.Near.Untracked} {
		*d = store.Bounded(*d)
	}
	deferred := s.deferred.Cache(recovery.CacheConfig{
		Glob: c.Glob, Ours: c.Ours, Hold: c.Hold, Margin: store.Sum(c.LoadTimeout, leaseMargin, s.WriteBudget, c.Hold),
		TTL: max(cmp.Or(c.TTL, time.Hour)+c.Stale, c.NotFoundTTL),
	})
	life, stale, ttl := c.Life, c.Stale, cmp.Or(c.TTL, time.Hour)
	var cache *Cache[K, V]
	c.Life = func(k K, key string, v V) (d time.Duration) {
		defer func() {
			if p := recover(); p != nil { // it may run in a goroutine of ours, as a codec may
				cache.ails.panics("Expire panicked: the TTL of the cache holds", key, p, debug.Stack())
				d = ttl
			}
		}()
		d = store.Bounded(life(k, key, v))
		deferred.StoredFor(d + stale)
		return d
	}
	cache = &Cache[K, V]{Config: c, Shared: s, recovery: deferred, limits: workers.NewDeadlines(s.ctx, c.LoadTimeout, &s.workers)}
	cache.near = newNear(s, c.Near, &cache.count, func(k K) string { text, _ := c.Key(k); return text })
	cache.ails.name, cache.ails.logger = nameOf(c.Glob), s.Logger
	s.mu.Lock()
	s.ails = append(s.ails, &cache.ails)
	s.mu.Unlock()
	if c.MaxLoads > 0 {
		cache.places = &places{free: c.MaxLoads}
	}
	return cache
}

// guarded turns a panic of a codec into an error: it may run in a goroutine of ours, where it would end the process.
func guarded[A, B any](f func(A) (B, error)) func(A) (B, error) {
	return func(a A) (b B, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("the codec panicked: %v", p)
			}
		}()
		return f(a)
	}
}

// Source says where an answer came from.
type Source string

const (
	Near     Source = "near"     // this process
	Store    Source = "store"    // Redis, or the memory store
	Load     Source = "load"     // the database
	Stale    Source = "stale"    // the store, past its TTL
	Negative Source = "negative" // the store knows that there is no such row
)

// count is what counts the reads whose answers came from the source.
func (s Source) count() tally.Count {
	switch s {
	case Store:
		return tally.Store
	case Load:
		return tally.Load
	case Stale:
		return tally.Stale
	case Negative:
		return tally.Negative
	}
	return tally.Error
}

// Entry is a value and what is known about it.
type Entry[V any] struct {
	Value  V
	Source Source
	Age    time.Duration // since it was loaded; -1 if another program wrote it with a life that tells nothing
	TTL    time.Duration // how long it stays fresh, zero if it is stale or has no TTL
	Stale  bool          // past its TTL
}

// result is what a load, or a claim that found something, tells all who wait for it.
type result[V any] struct {
	entry Entry[V]
	err   error
}

// coldAfter is how many reads in a row must find nothing until the next ones begin with the claim, which returns a
// value too, at a higher price: two trips for a miss and its fill in place of three.
const coldAfter = 8

// A cache with a soft time limit always looks first: who waits for a fresh value must know the stale one.
func (c *Cache[K, V]) cold() bool { return c.misses.Load() >= coldAfter && c.SoftTimeout == 0 }

// lives reports whether a read must learn how long the value lives.
func (c *Cache[K, V]) lives() bool { return c.Config.Stale > 0 || c.Refresh > 0 }

func (c *Cache[K, V]) seen(found bool) {
	if !found {
		if c.misses.Load() < coldAfter {
			c.misses.Add(1)
		}
	} else if c.misses.Load() != 0 {
		c.misses.Store(0)
	}
}

// Get returns the value of k, loaded if need be.
func (c *Cache[K, V]) Get(ctx context.Context, k K) (V, error) {
	if c.near != nil {
		e, ok := c.kept(k)
		if traced.Load() {
			c.tellNear(ctx, k, ok, ok && e.Absent)
		}
		if ok {
			if e.Absent {
				return *new(V), c.missing(k)
			}
			return c.give(e.Value), nil
		}
	}
	e, err := c.get(ctx, k, c.lives())
	if traced.Load() {
		c.tellAnswer(ctx, k, e.Source, err)
	}
	return e.Value, err
}

// Kept is Get of what is kept in the process alone. Not ok: nothing is kept. Not found: there is no such row. Nothing refers to k when
// it has returned, so that its text may be in memory that is used again.
func (c *Cache[K, V]) Kept(k K) (v V, found, ok bool) {
	if c.near == nil {
		return v, false, false
	}
	e, ok := c.kept(k)
	if !ok || e.Absent {
		return v, false, ok
	}
	return c.give(e.Value), true, true
}

// Ready is Get for a store in this process, if it holds the value: nobody is waited for. A miss is not counted, since Get
// will look again.
func (c *Cache[K, V]) Ready(k K) (v V, ok bool) {
	key, err := c.key(k)
	if err != nil || c.recovery.Bypasses(key) {
		return v, false
	}
	ctx := context.Background()
	item := c.Store.Get(ctx, key, c.lives())
	if !item.Found {
		return v, false
	}
	var e Entry[V]
	why := c.served(ctx, k, key, item, &e)
	return e.Value, why == useless{}
}

// Entry is Get with what is known about the value. With ErrNotFound, Source says who knew.
func (c *Cache[K, V]) Entry(ctx context.Context, k K) (Entry[V], error) {
	if c.near != nil {
		e, ok := c.kept(k)
		if traced.Load() {
			c.tellNear(ctx, k, ok, ok && e.Absent)
		}
		if ok {
			return c.described(k, e, true)
		}
	}
	e, err := c.get(ctx, k, true)
	if traced.Load() {
		c.tellAnswer(ctx, k, e.Source, err)
	}
	return e, err
}

func (c *Cache[K, V]) get(ctx context.Context, k K, ttl bool) (Entry[V], error) {
	key, err := c.key(k)
	if err != nil {
		return c.failed(err)
	}
	began := time.Now()
	until := began.Add(c.budget())
	var e Entry[V]
	var sought seeker
	var reserved *near.Reservation
	var shared *near.Read
	epoch := c.deferred.Epoch()
	cold := c.cold()
	if !cold { // before past is asked: else an invalidation may fail in between, and what it was about would be kept near
		sought = c.seek()
		reserved, shared = c.reserve(sought, key)
	}
	why := c.notAsked(key)
	found := useless{bypass: why != nil}
	if shared != nil && why == nil {
		var ok bool
		if e, ok, found.missing, err = c.share(ctx, shared, reserved, k, ttl, until); ok {
			return e, err
		}
	}
	switch {
	case cold:
	case found.bypass:
		traceOf(ctx).store(key, false, 0, why)
		c.retain(sought, reserved, k, e, store.Item{Err: why})
	case found.missing:
		c.retain(sought, reserved, k, e, store.Item{})
	default:
		item := c.look(ctx, epoch, sought, key, ttl, began, until)
		if item.Err != nil && ctx.Err() != nil {
			c.retain(sought, reserved, k, e, item)
			return c.failed(ctx.Err())
		}
		found = c.served(ctx, k, key, item, &e)
		if c.retain(sought, reserved, k, e, item); found == (useless{}) {
			return e, nil
		}
	}
	by, err := c.reading(ctx, key)
	if err != nil {
		return c.failed(err)
	}
	if by != nil {
		defer waits.leave(by, resource{c, key})
	}
	ticket, call := c.flights.Join(key)
	if call == nil {
		c.count.Add(tally.CoalescedProcess)
		traceOf(ctx).joined(key)
	} else {
		j := newJob(job[K, V]{k: k, key: key, ctx: ctx, call: call, ttl: ttl, useless: found})
		if why != nil { // no time has gone by since
			j.scratch.attempt.start = began
		}
		c.leadOne(j)
	}
	if found.soft {
		soon, cancel := context.WithTimeout(ctx, c.SoftTimeout)
		defer cancel()
		return c.fresher(ctx, soon, key, ticket, call != nil, e)
	}
	r, err := await(ctx, ctx, ticket, call != nil)
	if err != nil {
		ticket.Leave()
		return c.failed(err)
	}
	return c.answer(key, r)
}

// await waits for a result until a context ends. A traced caller that has led the call also waits for its fill, so that its trace
// is complete: the other callers have their answers by then, as if it was not traced.
func await[V any](ctx, until context.Context, ticket flight.Ticket[result[V]], led bool) (*result[V], error) {
	r, err := ticket.Wait(until)
	if err == nil && led && traceOf(ctx) != nil {
		ticket.WaitRest(ctx)
	}
	return r, err
}

// fresher waits for the load of a value of which the caller has a stale one, and gives him that if the load fails or has not
// ended soon. The load goes on and fills.
func (c *Cache[K, V]) fresher(ctx, soon context.Context, key string, ticket flight.Ticket[result[V]], led bool, stale Entry[V]) (Entry[V], error) {
	r, err := await(ctx, soon, ticket, led)
	switch {
	case ctx.Err() != nil && err != nil:
		ticket.Leave() // not at the soft limit: the load goes on then
		return c.failed(ctx.Err())
	case err == nil && (r.err == nil || errors.Is(r.err, ErrNotFound)):
		return c.answer(key, r)
	}
	c.count.Answered(stale.Source.count(), key)
	return stale, nil
}

func (c *Cache[K, V]) key(k K) (string, error) {
	key, err := c.Key(k)
	if err == nil {
		err = store.CheckKey(key)
	}
	if err == nil && c.Shared.ctx.Err() != nil {
		err = ErrClosed
	}
	return key, err
}

func (c *Cache[K, V]) look(ctx context.Context, epoch uint64, s seeker, key string, ttl bool, began, until time.Time) (item store.Item) {
	rctx, cancel := c.readContext(ctx, until)
	defer cancel()
	if s.t != nil {
		item = s.t.Get(rctx, key, true)
	} else {
		item = c.Store.Get(rctx, key, ttl || s.longest > 0)
	}
	if c.deferred.Overtaken(epoch) {
		item = store.Item{Err: errOvertaken}
	}
	took := c.count.StoreTook(began, item.Err)
	traceOf(ctx).store(key, item.Found, took, item.Err)
	return item
}

// notAsked says why a key is read past the store: nil if it is not. To be asked before the store is.
func (c *Cache[K, V]) notAsked(key string) error {
	if c.recovery.Bypasses(key) {
		return errNotAsked
	}
	err := c.Store.Refuses(key)
	if err != nil {
		c.count.Add(tally.StoreError)
	}
	return err
}

// useless says why a read of the store was of no use; its zero value says that it was.
type useless struct {
	missing bool        // there is nothing, or nobody looked
	bypass  bool        // the store does not answer, or must not be asked: do not even claim
	late    bool        // it was asked, and did not answer in time
	dead    *store.Dead // what stands there and is no value
	soft    bool        // it is stale, and a fresh one is waited for
}

// served looks at what a read of the store found, describes it in e, and refreshes what is stale behind it.
func (c *Cache[K, V]) served(ctx context.Context, k K, key string, item store.Item, e *Entry[V]) useless {
	return c.servedAs(Store, ctx, k, key, item, e)
}

// servedAs is served for what came from a source by way of the store.
func (c *Cache[K, V]) servedAs(from Source, ctx context.Context, k K, key string, item store.Item, e *Entry[V]) useless {
	switch {
	case item.Err != nil:
		c.count.Add(tally.StoreError)
		return useless{bypass: true, late: unanswered(item.Err)}
	case !item.Found:
		c.seen(false)
		return useless{missing: true}
	}
	c.seen(true)
	c.count.AddN(tally.BytesRead, len(item.Value))
	v, err := c.Decode(item.Value)
	if err != nil {
		c.undecodable(key, err)
		return useless{dead: &store.Dead{Value: item.Value}}
	}
	c.ails.good(undecoded)
	*e = c.stored(k, key, v, item.TTL)
	switch {
	case e.Stale && c.loadHealth.SkipRefresh():
	case e.Stale && c.SoftTimeout > 0:
		return useless{soft: true}
	case e.Stale:
		c.refresh(ctx, k, key, 0)
	case c.Refresh > 0 && e.TTL > 0 && c.count.RefreshDue(e.TTL, c.Refresh):
		c.refresh(ctx, k, key, item.TTL)
	}
	if e.Source == Store {
		e.Source = from
	}
	c.count.Answered(e.Source.count(), key)
	return useless{}
}

// undecodable counts a value that does not decode, and complains of many.
func (c *Cache[K, V]) undecodable(key string, err error) {
	c.count.Add(tally.CodecError)
	c.ails.undecodable(key, err, c.count.Count(tally.Store)+c.count.Count(tally.Stale))
}

// stored describes a value from the store. Its TTL says everything: a value is stored for its life and the stale time,
// so the rest tells how old it is, to every process alike.
func (c *Cache[K, V]) stored(k K, key string, v V, ttl time.Duration) Entry[V] {
	e := Entry[V]{Value: v, Source: Store, Age: -1}
	if ttl <= 0 {
		return e
	}
	if whole := c.Life(k, key, v) + c.Config.Stale; ttl <= whole {
		e.Age = whole - ttl
	}
	if e.TTL = ttl - c.Config.Stale; e.TTL < 0 {
		e.TTL, e.Stale, e.Source = 0, true, Stale
	}
	return e
}

// refresh loads behind a value that is being served, unless this process does so already. early is how long a value that is
// still fresh had to live: one that lives longer has been loaded anew by somebody else.
func (c *Cache[K, V]) refresh(ctx context.Context, k K, key string, early time.Duration) {
	if call := c.flights.Lead(key); call != nil {
		if early > 0 {
			c.count.Add(tally.Early)
			early += time.Millisecond // what has less to live than this is taken for stale
		}
		c.leadOne(newJob(job[K, V]{k: k, key: key, ctx: ctx, call: call, early: early}))
	}
}

func (c *Cache[K, V]) failed(err error) (Entry[V], error) {
	c.count.Add(tally.Error)
	return Entry[V]{}, err
}

// answer counts a result for one of its callers, who may modify it if there is a Clone.
func (c *Cache[K, V]) answer(key string, r *result[V]) (Entry[V], error) {
	c.count.Answered(r.entry.Source.count(), key)
	e := r.entry
	if r.err == nil {
		e.Value = c.give(e.Value)
	}
	return e, r.err
}

// Peek returns what the store holds, and never loads. ErrNotFound if there is nothing that may be served.
func (c *Cache[K, V]) Peek(ctx context.Context, k K) (Entry[V], error) {
	var none Entry[V]
	key, err := c.key(k)
	if err != nil {
		return none, err
	}
	epoch := c.deferred.Epoch()
	if c.recovery.Bypasses(key) {
		return none, fmt.Errorf("%w: an invalidation of %.100q is pending", ErrNotFound, key)
	}
	began := time.Now()
	until := began.Add(c.budget())
	c.settled(ctx, until, key)
	item := c.look(ctx, epoch, seeker{}, key, true, began, until)
	if item.Err != nil {
		return none, item.Err
	}
	if !item.Found {
		return none, ErrNotFound
	}
	v, err := c.Decode(item.Value)
	if err != nil {
		c.count.Add(tally.CodecError)
		return none, fmt.Errorf("%w: the value of %.100q does not decode: %v", ErrNotFound, key, err)
	}
	return c.stored(k, key, v, item.TTL), nil
}

// Inspect looks at keys without loading or reading them. One whose invalidation is pending has no value.
func (c *Cache[K, V]) Inspect(ctx context.Context, ks []K) ([]store.Info, error) {
	keys, err := c.keys(ks)
	if err != nil {
		return nil, err
	}
	c.settled(ctx, time.Now().Add(c.budget()/2), keys...) // a fill that hangs must not take the time for the others
	past := c.pastOf(keys)
	infos := c.inspect(ctx, keys)
	for i := range past {
		if past[i] {
			infos[i] = store.Info{Type: "none"}
		}
	}
	return infos, nil
}

// inspect looks at keys, a piece at a time. After a piece that was not answered in time, the rest has the same error.
func (c *Cache[K, V]) inspect(ctx context.Context, keys []string) []store.Info {
	infos := make([]store.Info, 0, len(keys))
	var late error
	for some := range slices.Chunk(keys, PieceKeys) {
		if late != nil {
			for range some {
				infos = append(infos, store.Info{Err: late})
			}
			continue
		}
		ctx, cancel := c.readContext(ctx, time.Now().Add(c.budget()))
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
func (c *Cache[K, V]) settled(ctx context.Context, until time.Time, keys ...string) {
	ctx, cancel := c.readContext(ctx, until)
	defer cancel()
	for _, key := range keys {
		c.flights.Settled(ctx, key)
	}
}

func (c *Cache[K, V]) keys(ks []K) ([]string, error) {
	keys := make([]string, len(ks))
	for i, k := range ks {
		key, err := c.key(k)
		if err != nil {
			return nil, err
		}
		keys[i] = key
	}
	return keys, nil
}

// Prefetch loads the keys that the store lacks, in the background. Of many keys it loads one piece after the other.
func (c *Cache[K, V]) Prefetch(ctx context.Context, ks []K) {
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
func (c *Cache[K, V]) unclaimed(ctx context.Context, ks []K, b *batch) (js jobs[K, V]) {
	for _, k := range ks {
		key, err := c.key(k)
		if err != nil {
			continue
		}
		if call := c.flights.Lead(key); call != nil {
			js = append(js, &job[K, V]{k: k, key: key, ctx: ctx, call: call, batch: b})
		}
	}
	return js
}

// same reports whether a claim named these bytes as dead already.
func same(d *store.Dead, value []byte) bool {
	return d != nil && d.Type == "" && bytes.Equal(d.Value, value)
}
