package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearside/nearside/internal/collection"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// CollectionConfig says how a cache of collections finds, reads and writes them.
type CollectionConfig struct {
	Policy
	Kind store.Kind
	// Load emits the elements, in the order of a list. It stops at an error of emit. ErrNotFound before the first element
	// means that the collection has none; this is remembered for NotFoundTTL.
	Load func(ctx context.Context, k Key, emit func(store.Element) error) error
	// LoadOne reads one member again, where writers overlapped. False: it is gone. Nil: the collection is dropped then.
	LoadOne     func(ctx context.Context, k Key, member string) (e store.Element, ok bool, err error)
	Versioned   bool // every Update tells the version of the row, which only grows
	MaxElements int  // that Load may emit; 1,000,000 if zero
}

// Collection reads and writes the collections of one kind. It is safe for concurrent use.
type Collection struct {
	Cache
	cfg CollectionConfig
}

const defaultMaxElements = 1_000_000

// NewCollection returns a cache of collections.
func NewCollection(s *Shared, cfg CollectionConfig) *Collection {
	if cfg.MaxElements == 0 {
		cfg.MaxElements = defaultMaxElements
	}
	c := &Collection{cfg: cfg}
	c.kind = cfg.Kind
	c.init(s, cfg.Policy, &collections{&c.Cache, &c.cfg})
	return c
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
func (c *Collection) Query(ctx context.Context, k Key, q store.Query) (View, error) {
	return c.QueryChecked(ctx, k, q, nil)
}

// QueryChecked is Query for a caller who may find an element that is none: check returns the member that does not decode, and
// why. The collection is then loaded anew. Of one that was just loaded the error is the caller's.
func (c *Collection) QueryChecked(ctx context.Context, k Key, q store.Query, check func(store.View) (member string, err error)) (View, error) {
	v, err := c.query(ctx, k, q, check)
	c.tellAnswer(ctx, k.Text, v.Source, err)
	return v, err
}

func (c *Collection) query(ctx context.Context, k Key, q store.Query, check func(store.View) (member string, err error)) (View, error) {
	key, err := k.Text, c.check(k.Text)
	if err != nil {
		return c.failed(err)
	}
	q.Key, q.Kind = key, c.kind
	if check == nil {
		check = func(store.View) (string, error) { return "", nil }
	}
	epoch := c.deferred.Epoch()
	found := miss{bypass: c.recovery.Bypasses(key) || q.Other != "" && c.recovery.Bypasses(q.Other)}
	var stale View
	switch {
	case found.bypass:
		traceOf(ctx).store(key, false, 0, errNotAsked)
	case c.claimsFirst(): // a hit costs the claim and a look then, a miss a trip less
	default:
		if stale, found, err = c.look(Store, ctx, epoch, k, q, check); err != nil || found == (miss{}) {
			return stale, err
		}
	}
	for round := 0; ; round++ {
		r, err := c.wait(ctx, k, found, round)
		if found.soft && (err != nil && ctx.Err() == nil || err == nil && r.err != nil && !errors.Is(r.err, ErrNotFound)) {
			c.count.Answered(stale.Source.count(), key)
			return stale, nil
		}
		if err != nil {
			return c.failed(err)
		}
		local := localOf(r)
		switch {
		case errors.Is(r.err, ErrNotFound):
			local = collection.New(c.kind)
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
			c.count.Answered(v.Source.count(), key)
			return v, nil
		}
		// The store has it, or had: then the next load is kept in this process, and the one after that asks the store nothing.
		from := Store
		if r.entry.Source == Load {
			from = Load
		}
		v, why, err := c.look(from, ctx, epoch, k, q, check)
		if err != nil || why == (miss{}) {
			return v, err
		}
		if why.soft { // while a member is written its short life looks stale; the claim knows better, and there is a view now
			c.count.Answered(v.Source.count(), key)
			return v, nil
		}
		if found = why; round > 0 {
			found.bypass = true
		}
	}
}

// look reads from the store, what came from a source. An error is one of ctx, or of the query.
func (c *Collection) look(from Source, ctx context.Context, epoch uint64, k Key, q store.Query, check func(store.View) (string, error)) (v View, why miss, err error) {
	began := time.Now()
	rctx, cancel := c.readContext(ctx, began.Add(c.budget()))
	sv := c.Store.Query(rctx, []store.Query{q})[0]
	if cancel(); c.deferred.Overtaken(epoch) {
		sv = store.View{Err: errOvertaken}
	}
	took := c.count.StoreTook(began, sv.Err)
	traceOf(ctx).store(q.Key, sv.Found, took, sv.Err)
	switch {
	case errors.Is(sv.Err, store.ErrApart), errors.Is(sv.Err, store.ErrQuery):
		return v, why, sv.Err
	case sv.Err != nil && ctx.Err() != nil:
		_, err = c.failed(ctx.Err())
		return v, why, err
	case sv.Err == nil && sv.Found:
		if member, err := check(sv); err != nil {
			c.undecodable(q.Key, err)
			return v, miss{dead: &store.Dead{Member: member}}, nil
		}
	}
	var e Entry
	why = c.decodeHit(ctx, from, k, store.Item{Found: sv.Found, TTL: sv.TTL, Err: sv.Err}, &e)
	return View{View: sv, Source: e.Source, Age: e.Age, Fresh: e.TTL, Stale: e.Stale}, why, nil
}

// localOf returns what a load has kept of a collection in this process; nil if the store has it.
func localOf(r *result) *collection.Collection {
	v, _ := r.entry.Value.(contents)
	return v.local
}

// wait joins the load of a key. The first round may leave the collection to the store.
func (c *Collection) wait(ctx context.Context, k Key, found miss, round int) (*result, error) {
	key := k.Text
	by, err := c.noteWait(ctx, key)
	if err != nil {
		return nil, err
	}
	if by != nil {
		defer waits.leave(by, resource{&c.Cache, key})
	}
	group := &c.flights
	if round > 0 {
		group = &c.whole
	}
	ticket, call := group.Join(key)
	if call == nil {
		c.count.Add(tally.CoalescedProcess)
		traceOf(ctx).joined(key)
	} else {
		c.leadOne(newJob(job{key: key, of: k.Of, ctx: ctx, call: call, ttl: true, keepAll: round > 0, miss: found}))
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

func (c *Collection) failed(err error) (View, error) {
	_, err = c.Failed(err)
	return View{}, err
}

// Peek reads a part of a collection, and never loads. ErrNotFound if the store has none, or it must not be read.
func (c *Collection) Peek(ctx context.Context, k Key, q store.Query) (View, error) {
	key := k.Text
	if err := c.check(key); err != nil {
		return View{}, err
	}
	epoch := c.deferred.Epoch()
	if c.recovery.Bypasses(key) || q.Other != "" && c.recovery.Bypasses(q.Other) {
		return View{}, fmt.Errorf("%w: an invalidation of %.100q is pending", ErrNotFound, key)
	}
	q.Key, q.Kind = key, c.kind
	rctx, cancel := c.readContext(ctx, time.Now().Add(c.budget()))
	defer cancel()
	sv := c.Store.Query(rctx, []store.Query{q})[0]
	switch {
	case c.deferred.Overtaken(epoch):
		return View{}, errOvertaken
	case sv.Err != nil:
		return View{}, sv.Err
	case !sv.Found:
		return View{}, ErrNotFound
	}
	e := c.newEntry(k, contents{}, sv.TTL)
	return View{View: sv, Source: e.Source, Age: e.Age, Fresh: e.TTL, Stale: e.Stale}, nil
}

// Intersect returns the members that the sets of both have: as the store does it, or in this process where it cannot.
func (c *Collection) Intersect(ctx context.Context, a, b Key) ([]store.Element, error) {
	other := b.Text
	if size, err := c.Query(ctx, b, store.Query{Part: store.Size}); err != nil || size.N == 0 {
		return nil, err
	}
	if !c.recovery.Bypasses(other) {
		both, err := c.Query(ctx, a, store.Query{Part: store.Intersect, Other: other})
		if err == nil && both.View.Other {
			return both.Elements, nil
		}
		if err != nil && !errors.Is(err, store.ErrApart) {
			return nil, err
		}
	}
	var sets [2]*collection.Collection
	for i, k := range []Key{a, b} {
		v, err := c.Query(ctx, k, store.Query{Part: store.All})
		if err != nil {
			return nil, err
		}
		sets[i] = collection.New(c.kind)
		for _, e := range v.Elements {
			sets[i].Add(e)
		}
	}
	return sets[0].IntersectWith(sets[1]), nil
}
