package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearside/nearside/internal/collection"
	"github.com/nearside/nearside/internal/flight"
	"github.com/nearside/nearside/internal/hotkeys"
	"github.com/nearside/nearside/internal/meter"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// CollectionConfig says how a cache of collections finds, reads and writes them. Every field has been checked and defaulted by
// the skin; durations of zero are off. What stands in Config too means the same.
type CollectionConfig[K comparable] struct {
	Kind store.Kind
	Key  func(K) (string, error)
	// Load emits the elements, in the order of a list. It stops at an error of emit. ErrNotFound before anything was emitted:
	// there are none.
	Load func(ctx context.Context, k K, emit func(store.Element) error) error
	// LoadOne reads one member again, where writers overlapped. False: it is gone. Nil: the collection is dropped then.
	LoadOne     func(ctx context.Context, k K, member string) (e store.Element, ok bool, err error)
	Versioned   bool // every Update tells the version of the row, which only grows
	MaxElements int  // that Load may emit; 1,000,000 if zero

	Life func(k K, key string) time.Duration
	TTL  time.Duration
	Glob string
	Ours func(key string) bool

	Stale       time.Duration
	NotFoundTTL time.Duration // how long it is remembered that there are no elements
	Hold        time.Duration
	InDoubt     time.Duration
	LoadTimeout time.Duration
	SoftTimeout time.Duration
	Refresh     float64
	MaxLoads    int
}

// Collection reads and writes the collections of one kind. It is safe for concurrent use.
type Collection[K comparable] struct {
	CollectionConfig[K]
	c     *Cache[K, contents]            // loads, leases and recovery are those of values
	alone flight.Group[result[contents]] // loads whose results are kept whole
}

const defaultMaxElements = 1_000_000

// NewCollection returns a cache of collections.
func NewCollection[K comparable](s *Shared, c CollectionConfig[K]) *Collection[K] {
	if c.MaxElements == 0 {
		c.MaxElements = defaultMaxElements
	}
	c.Hold, c.LoadTimeout = store.Bounded(c.Hold), store.Bounded(c.LoadTimeout)
	out := &Collection[K]{CollectionConfig: c}
	out.c = New(s, Config[K, contents]{
		Key:    c.Key,
		Load:   func(context.Context, K) (contents, error) { panic("collections are gathered") },
		Encode: func(contents) ([]byte, error) { return nil, nil },
		Decode: func([]byte) (contents, error) { return contents{}, nil },
		Life:   func(k K, key string, _ contents) time.Duration { return c.Life(k, key) },
		TTL:    c.TTL, Glob: c.Glob, Ours: c.Ours,
		Stale: c.Stale, NotFoundTTL: c.NotFoundTTL, Hold: c.Hold, InDoubt: c.InDoubt, LoadTimeout: c.LoadTimeout, SoftTimeout: c.SoftTimeout,
		Refresh: c.Refresh, MaxLoads: c.MaxLoads,
	})
	out.c.gather = gather[K, contents]{c.Kind, out.gather}
	return out
}

// View is an answer and what is known about the collection. Found is true, also of one that has no elements.
type View struct {
	store.View
	Source Source
	Age    time.Duration // as in Entry
	Fresh  time.Duration // how long it stays fresh
	Stale  bool
}

// Query reads a part of the collection of k, loaded if need be. What it names of Key and Kind is not used. One without elements
// is no error.
func (c *Collection[K]) Query(ctx context.Context, k K, q store.Query) (View, error) {
	return c.QueryChecked(ctx, k, q, nil)
}

// QueryChecked is Query for a caller who may find an element that is none: check returns the member that does not decode, and
// why. The collection is then loaded anew. Of one that was just loaded the error is the caller's.
func (c *Collection[K]) QueryChecked(ctx context.Context, k K, q store.Query, check func(store.View) (member string, err error)) (View, error) {
	v, err := c.query(ctx, k, q, check)
	c.c.tellAnswer(ctx, k, v.Source, err)
	return v, err
}

func (c *Collection[K]) query(ctx context.Context, k K, q store.Query, check func(store.View) (member string, err error)) (View, error) {
	key, err := c.c.key(k)
	if err != nil {
		return c.failed(err)
	}
	q.Key, q.Kind = key, c.Kind
	if check == nil {
		check = func(store.View) (string, error) { return "", nil }
	}
	epoch := c.c.deferred.Epoch()
	found := useless{bypass: c.c.recovery.Bypasses(key) || q.Other != "" && c.c.recovery.Bypasses(q.Other)}
	var stale View
	switch {
	case found.bypass:
		traceOf(ctx).store(key, false, 0, errNotAsked)
	case c.c.cold(): // a hit costs the claim and a look then, a miss a trip less
	default:
		if stale, found, err = c.look(Store, ctx, epoch, k, q, check); err != nil || found == (useless{}) {
			return stale, err
		}
	}
	for round := 0; ; round++ {
		r, err := c.wait(ctx, k, key, found, round)
		if found.soft && (err != nil && ctx.Err() == nil || err == nil && r.err != nil && !errors.Is(r.err, ErrNotFound)) {
			c.c.count.Answered(stale.Source.count(), key)
			return stale, nil
		}
		if err != nil {
			return c.failed(err)
		}
		local := r.entry.Value.local
		switch {
		case errors.Is(r.err, ErrNotFound):
			local = collection.New(c.Kind)
		case r.err != nil:
			return c.failed(r.err)
		}
		if local != nil {
			v := View{View: local.Query(q), Source: r.entry.Source, Age: r.entry.Age, Fresh: r.entry.TTL}
			if v.Err != nil {
				return c.failed(v.Err)
			}
			if _, err := check(v.View); err != nil {
				return c.failed(err)
			}
			c.c.count.Answered(v.Source.count(), key)
			return v, nil
		}
		// The store has it, or had: then the next load is kept in this process, and the one after that asks the store nothing.
		from := Store
		if r.entry.Source == Load {
			from = Load
		}
		v, why, err := c.look(from, ctx, epoch, k, q, check)
		if err != nil || why == (useless{}) {
			return v, err
		}
		if why.soft { // while a member is written its short life looks stale; the claim knows better, and there is a view now
			c.c.count.Answered(v.Source.count(), key)
			return v, nil
		}
		if found = why; round > 0 {
			found.bypass = true
		}
	}
}

// look reads from the store, what came from a source. An error is one of ctx, or of the query.
func (c *Collection[K]) look(from Source, ctx context.Context, epoch uint64, k K, q store.Query, check func(store.View) (string, error)) (v View, why useless, err error) {
	began := time.Now()
	rctx, cancel := c.c.readContext(ctx, began.Add(c.c.budget()))
	sv := c.c.Store.Query(rctx, []store.Query{q})[0]
	if cancel(); c.c.deferred.Overtaken(epoch) {
		sv = store.View{Err: errOvertaken}
	}
	took := c.c.count.StoreTook(began, sv.Err)
	traceOf(ctx).store(q.Key, sv.Found, took, sv.Err)
	switch {
	case errors.Is(sv.Err, store.ErrApart), errors.Is(sv.Err, store.ErrQuery):
		return v, why, sv.Err
	case sv.Err != nil && ctx.Err() != nil:
		_, err = c.failed(ctx.Err())
		return v, why, err
	case sv.Err == nil && sv.Found:
		if member, err := check(sv); err != nil {
			c.c.undecodable(q.Key, err)
			return v, useless{dead: &store.Dead{Member: member}}, nil
		}
	}
	var e Entry[contents]
	why = c.c.servedAs(from, ctx, k, q.Key, store.Item{Found: sv.Found, TTL: sv.TTL, Err: sv.Err}, &e)
	return View{View: sv, Source: e.Source, Age: e.Age, Fresh: e.TTL, Stale: e.Stale}, why, nil
}

// wait joins the load of a key. The first round may leave the collection to the store.
func (c *Collection[K]) wait(ctx context.Context, k K, key string, found useless, round int) (*result[contents], error) {
	by, err := c.c.reading(ctx, key)
	if err != nil {
		return nil, err
	}
	if by != nil {
		defer waits.leave(by, resource{c.c, key})
	}
	group := &c.c.flights
	if round > 0 {
		group = &c.alone
	}
	ticket, call := group.Join(key)
	if call == nil {
		c.c.count.Add(tally.CoalescedProcess)
		traceOf(ctx).joined(key)
	} else {
		c.c.leadOne(newJob(job[K, contents]{k: k, key: key, ctx: ctx, call: call, ttl: true, keepAll: round > 0, useless: found}))
	}
	soon := ctx
	if found.soft {
		var cancel context.CancelFunc
		soon, cancel = context.WithTimeout(ctx, c.SoftTimeout)
		defer cancel()
	}
	r, err := ticket.Wait(soon)
	if err != nil && ctx.Err() != nil {
		ticket.Leave() // not at the soft limit: the load goes on then
	}
	return r, err
}

func (c *Collection[K]) failed(err error) (View, error) {
	_, err = c.c.failed(err)
	return View{}, err
}

// Peek reads a part of a collection, and never loads. ErrNotFound if the store has none, or it must not be read.
func (c *Collection[K]) Peek(ctx context.Context, k K, q store.Query) (View, error) {
	key, err := c.c.key(k)
	if err != nil {
		return View{}, err
	}
	epoch := c.c.deferred.Epoch()
	if c.c.recovery.Bypasses(key) {
		return View{}, fmt.Errorf("%w: an invalidation of %.100q is pending", ErrNotFound, key)
	}
	q.Key, q.Kind = key, c.Kind
	rctx, cancel := c.c.readContext(ctx, time.Now().Add(c.c.budget()))
	defer cancel()
	sv := c.c.Store.Query(rctx, []store.Query{q})[0]
	switch {
	case c.c.deferred.Overtaken(epoch):
		return View{}, errOvertaken
	case sv.Err != nil:
		return View{}, sv.Err
	case !sv.Found:
		return View{}, ErrNotFound
	}
	e := c.c.stored(k, key, contents{}, sv.TTL)
	return View{View: sv, Source: e.Source, Age: e.Age, Fresh: e.TTL, Stale: e.Stale}, nil
}

// Intersect returns the members that the sets of both have: as the store does it, or in this process where it cannot.
func (c *Collection[K]) Intersect(ctx context.Context, a, b K) ([]store.Element, error) {
	other, err := c.c.key(b)
	if err != nil {
		return nil, err
	}
	if size, err := c.Query(ctx, b, store.Query{Part: store.Size}); err != nil || size.N == 0 {
		return nil, err
	}
	if !c.c.recovery.Bypasses(other) {
		both, err := c.Query(ctx, a, store.Query{Part: store.Intersect, Other: other})
		if err == nil && both.View.Other {
			return both.Elements, nil
		}
		if err != nil && !errors.Is(err, store.ErrApart) {
			return nil, err
		}
	}
	var sets [2]*collection.Collection
	for i, k := range []K{a, b} {
		v, err := c.Query(ctx, k, store.Query{Part: store.All})
		if err != nil {
			return nil, err
		}
		sets[i] = collection.New(c.Kind)
		for _, e := range v.Elements {
			sets[i].Add(e)
		}
	}
	return sets[0].IntersectWith(sets[1]), nil
}

// Inspect looks at keys without loading or reading them.
func (c *Collection[K]) Inspect(ctx context.Context, ks []K) ([]store.Info, error) {
	return c.c.Inspect(ctx, ks)
}

// Invalidate removes collections, after the database was changed. True: there was one.
func (c *Collection[K]) Invalidate(ctx context.Context, ks []K) ([]bool, error) {
	keys, err := c.c.keys(ks)
	if err != nil {
		return nil, err
	}
	return c.InvalidateKeys(ctx, keys)
}

// Prefetch loads collections that the store lacks, in the background.
func (c *Collection[K]) Prefetch(ctx context.Context, ks []K) { c.c.Prefetch(ctx, ks) }

// Written returns the key of k for Mutate.
func (c *Collection[K]) Written(k K) (Written, error) {
	w, err := c.c.Written(k)
	c.whole(w.in)
	return w, err
}

// whole makes an intent of a key one of the collection.
func (c *Collection[K]) whole(in *intent) *intent {
	forget := in.forget
	in.forget = func(key string) { forget(key); c.alone.Forget(key) }
	return in
}

// Stats returns the counters of now.
func (c *Collection[K]) Stats() meter.Stats { return c.c.Stats() }

// Tally returns all that the cache counts.
func (c *Collection[K]) Tally() tally.Tally { return c.c.Tally() }

// HotKeys returns the n keys that were read most since it was last called, the hottest first.
func (c *Collection[K]) HotKeys(n int) []hotkeys.Key { return c.c.HotKeys(n) }
