package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearside/nearside/internal/flight"
	"github.com/nearside/nearside/internal/near"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

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
type Entry struct {
	Value  any
	Source Source
	Age    time.Duration // since it was loaded; -1 if another program wrote it with a life that tells nothing
	TTL    time.Duration // how long it stays fresh, zero if it is stale or has no TTL
	Stale  bool          // past its TTL
}

// result is what a load, or a claim that found something, tells all who wait for it.
type result struct {
	entry Entry
	err   error
}

// coldAfter is how many reads in a row must find nothing until the next ones begin with the claim, which returns a
// value too, at a higher price: two trips for a miss and its fill in place of three.
const coldAfter = 8

// A cache with a soft time limit always looks first: who waits for a fresh value must know the stale one.
func (c *Cache) cold() bool { return c.misses.Load() >= coldAfter && c.SoftTimeout == 0 }

// lives reports whether a read must learn how long the value lives.
func (c *Cache) lives() bool { return c.Policy.Stale > 0 || c.Refresh > 0 }

func (c *Cache) noteFound(found bool) {
	if !found {
		if c.misses.Load() < coldAfter {
			c.misses.Add(1)
		}
	} else if c.misses.Load() != 0 {
		c.misses.Store(0)
	}
}

// Get returns the value of k, loaded if need be. What is kept in the process is the caller's to look at, before.
func (c *Values) Get(ctx context.Context, k Key) (Entry, error) { return c.get(ctx, k, c.lives()) }

// Entry is Get with what is known about the value. With ErrNotFound, Source says who knew.
func (c *Values) Entry(ctx context.Context, k Key) (Entry, error) { return c.get(ctx, k, true) }

func (c *Values) get(ctx context.Context, k Key, ttl bool) (Entry, error) {
	e, err := c.find(ctx, k, ttl)
	if traced.Load() {
		c.tellAnswer(ctx, k.Text, e.Source, err)
	}
	return e, err
}

// Ready is Get for a store in this process, if it holds the value: nobody is waited for. A miss is not counted, since Get
// will look again.
func (c *Values) Ready(k Key) (v any, ok bool) {
	if c.check(k.Text) != nil || c.recovery.Bypasses(k.Text) {
		return nil, false
	}
	ctx := context.Background()
	item := c.Store.Get(ctx, k.Text, c.lives())
	if !item.Found {
		return nil, false
	}
	var e Entry
	why := c.served(ctx, k, item, &e)
	return e.Value, why == unserved{}
}

// find looks in the store, and joins a load of what is not there.
func (c *Values) find(ctx context.Context, k Key, ttl bool) (Entry, error) {
	key, err := k.Text, c.check(k.Text)
	if err != nil {
		return c.Failed(err)
	}
	began := time.Now()
	until := began.Add(c.budget())
	var e Entry
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
	found := unserved{bypass: why != nil}
	if shared != nil && why == nil {
		var ok bool
		if e, ok, found.missing, err = c.share(ctx, shared, reserved, key, ttl, until); ok {
			return e, err
		}
	}
	switch {
	case cold:
	case found.bypass:
		traceOf(ctx).store(key, false, 0, why)
		c.retain(sought, reserved, e, store.Item{Err: why})
	case found.missing:
		c.retain(sought, reserved, e, store.Item{})
	default:
		item := c.look(ctx, epoch, sought, key, ttl, began, until)
		if item.Err != nil && ctx.Err() != nil {
			c.retain(sought, reserved, e, item)
			return c.Failed(ctx.Err())
		}
		found = c.served(ctx, k, item, &e)
		if c.retain(sought, reserved, e, item); found == (unserved{}) {
			return e, nil
		}
	}
	by, err := c.reading(ctx, key)
	if err != nil {
		return c.Failed(err)
	}
	if by != nil {
		defer waits.leave(by, resource{&c.Cache, key})
	}
	ticket, call := c.flights.Join(key)
	if call == nil {
		c.count.Add(tally.CoalescedProcess)
		traceOf(ctx).joined(key)
	} else {
		j := newJob(job{key: key, of: k.Of, ctx: ctx, call: call, ttl: ttl, unserved: found})
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
		return c.Failed(err)
	}
	return c.answer(key, r)
}

// await waits for a result until a context ends. A traced caller that has led the call also waits for its fill, so that its trace
// is complete: the other callers have their answers by then, as if it was not traced.
func await(ctx, until context.Context, ticket flight.Ticket[result], led bool) (*result, error) {
	r, err := ticket.Wait(until)
	if err == nil && led && traceOf(ctx) != nil {
		ticket.WaitRest(ctx)
	}
	return r, err
}

// fresher waits for the load of a value of which the caller has a stale one, and gives him that if the load fails or has not
// ended soon. The load goes on and fills.
func (c *Cache) fresher(ctx, soon context.Context, key string, ticket flight.Ticket[result], led bool, stale Entry) (Entry, error) {
	r, err := await(ctx, soon, ticket, led)
	switch {
	case ctx.Err() != nil && err != nil:
		ticket.Leave() // not at the soft limit: the load goes on then
		return c.Failed(ctx.Err())
	case err == nil && (r.err == nil || errors.Is(r.err, ErrNotFound)):
		return c.answer(key, r)
	}
	c.count.Answered(stale.Source.count(), key)
	return stale, nil
}

func (c *Cache) look(ctx context.Context, epoch uint64, s seeker, key string, ttl bool, began, until time.Time) (item store.Item) {
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
func (c *Cache) notAsked(key string) error {
	if c.recovery.Bypasses(key) {
		return errNotAsked
	}
	err := c.Store.Refuses(key)
	if err != nil {
		c.count.Add(tally.StoreError)
	}
	return err
}

// unserved says why a read of the store has served nothing. Its zero value says that it has served a value.
type unserved struct {
	missing bool        // there is nothing, or nobody looked
	bypass  bool        // the store does not answer, or must not be asked: do not even claim
	late    bool        // it was asked, and did not answer in time
	dead    *store.Dead // what stands there and is no value
	soft    bool        // it is stale, and a fresh one is waited for
}

// served looks at what a read of the store found, describes it in e, and refreshes what is stale behind it.
func (c *Cache) served(ctx context.Context, k Key, item store.Item, e *Entry) unserved {
	return c.servedAs(Store, ctx, k, item, e)
}

// servedAs is served for what came from a source by way of the store.
func (c *Cache) servedAs(from Source, ctx context.Context, k Key, item store.Item, e *Entry) unserved {
	key := k.Text
	switch {
	case item.Err != nil:
		c.count.Add(tally.StoreError)
		return unserved{bypass: true, late: unanswered(item.Err)}
	case !item.Found:
		c.noteFound(false)
		return unserved{missing: true}
	}
	c.noteFound(true)
	c.count.AddN(tally.BytesRead, len(item.Value))
	v, err := c.strategy.decode(item.Value)
	if err != nil {
		c.undecodable(key, err)
		return unserved{dead: &store.Dead{Value: item.Value}}
	}
	c.ails.good(undecoded)
	*e = c.stored(k, v, item.TTL)
	switch {
	case e.Stale && c.loadHealth.SkipRefresh():
	case e.Stale && c.SoftTimeout > 0:
		return unserved{soft: true}
	case e.Stale:
		c.refresh(ctx, k, 0)
	case c.Refresh > 0 && e.TTL > 0 && c.count.RefreshDue(e.TTL, c.Refresh):
		c.refresh(ctx, k, item.TTL)
	}
	if e.Source == Store {
		e.Source = from
	}
	c.count.Answered(e.Source.count(), key)
	return unserved{}
}

// undecodable counts a value that does not decode, and complains of many.
func (c *Cache) undecodable(key string, err error) {
	c.count.Add(tally.CodecError)
	c.ails.undecodable(key, err, c.count.Count(tally.Store)+c.count.Count(tally.Stale))
}

// stored describes a value from the store. Its TTL says everything: a value is stored for its life and the stale time,
// so the rest tells how old it is, to every process alike.
func (c *Cache) stored(k Key, v any, ttl time.Duration) Entry {
	e := Entry{Value: v, Source: Store, Age: -1}
	if ttl <= 0 {
		return e
	}
	if whole := c.freshFor(k, v) + c.Policy.Stale; ttl <= whole {
		e.Age = whole - ttl
	}
	if e.TTL = ttl - c.Policy.Stale; e.TTL < 0 {
		e.TTL, e.Stale, e.Source = 0, true, Stale
	}
	return e
}

// refresh loads behind a value that is being served, unless this process does so already. early is how long a value that is
// still fresh had to live: one that lives longer has been loaded anew by somebody else.
func (c *Cache) refresh(ctx context.Context, k Key, early time.Duration) {
	if call := c.flights.Lead(k.Text); call != nil {
		if early > 0 {
			c.count.Add(tally.Early)
			early += time.Millisecond // what has less to live than this is taken for stale
		}
		c.leadOne(newJob(job{key: k.Text, of: k.Of, ctx: ctx, call: call, early: early}))
	}
}

// answer counts a result for one of its callers, who may modify it if there is a Clone.
func (c *Cache) answer(key string, r *result) (Entry, error) {
	c.count.Answered(r.entry.Source.count(), key)
	e := r.entry
	if r.err == nil {
		e.Value = c.give(e.Value)
	}
	return e, r.err
}

// Peek returns what the store holds, and never loads. ErrNotFound if there is nothing that may be served.
func (c *Values) Peek(ctx context.Context, k Key) (Entry, error) {
	var none Entry
	key, err := k.Text, c.check(k.Text)
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
	v, err := c.strategy.decode(item.Value)
	if err != nil {
		c.count.Add(tally.CodecError)
		return none, fmt.Errorf("%w: the value of %.100q does not decode: %v", ErrNotFound, key, err)
	}
	return c.stored(k, v, item.TTL), nil
}
