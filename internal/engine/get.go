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

// result is what the callers that wait for a key get: from a load, or from a claim that found a value.
type result struct {
	entry Entry
	err   error
}

// claimFirstAfter is after how many misses in a row the next reads begin with the claim. A claim returns a value too. It costs more
// than a read, but saves one of the three round trips of a miss and its fill.
const claimFirstAfter = 8

// claimsFirst reports whether reads begin with the claim. A cache with a SoftTimeout always reads first, since a caller that waits for
// a fresh value needs the stale one.
func (c *Cache) claimsFirst() bool { return c.misses.Load() >= claimFirstAfter && c.SoftTimeout == 0 }

// needsTTL reports whether a read has to ask for the TTL of the value.
func (c *Cache) needsTTL() bool { return c.Policy.Stale > 0 || c.Refresh > 0 }

// noteFound counts misses in a row.
func (c *Cache) noteFound(found bool) {
	if !found {
		if c.misses.Load() < claimFirstAfter {
			c.misses.Add(1)
		}
	} else if c.misses.Load() != 0 {
		c.misses.Store(0)
	}
}

// Get returns the value of k from the store, or loads it. The caller reads the near cache first.
func (c *Values) Get(ctx context.Context, k Key) (Entry, error) { return c.get(ctx, k, c.needsTTL()) }

// Entry is Get with what is known about the value. With ErrNotFound, Source says who knew.
func (c *Values) Entry(ctx context.Context, k Key) (Entry, error) { return c.get(ctx, k, true) }

func (c *Values) get(ctx context.Context, k Key, ttl bool) (Entry, error) {
	e, err := c.find(ctx, k, ttl)
	if traced.Load() {
		c.tellAnswer(ctx, k.Text, e.Source, err)
	}
	return e, err
}

// Ready returns the value of k from an in-process store without blocking. It does not count a miss, because the caller falls back to
// Get. ok is false if the store has no value that can be served.
func (c *Values) Ready(k Key) (v any, ok bool) {
	if c.check(k.Text) != nil || c.recovery.Bypasses(k.Text) {
		return nil, false
	}
	ctx := context.Background()
	item := c.Store.Get(ctx, k.Text, c.needsTTL())
	if !item.Found {
		return nil, false
	}
	var e Entry
	m := c.decodeHit(ctx, Store, k, item, &e)
	return e.Value, m == miss{}
}

// find reads the store, and joins a load of a key that it lacks.
func (c *Values) find(ctx context.Context, k Key, ttl bool) (Entry, error) {
	key, err := k.Text, c.check(k.Text)
	if err != nil {
		return c.Failed(err)
	}
	began := time.Now()
	until := began.Add(c.budget())
	var e Entry
	var read trackedRead
	var reserved *near.Reservation
	var shared *near.Read
	epoch := c.deferred.Epoch()
	claimFirst := c.claimsFirst()
	if !claimFirst { // before bypassReason: an invalidation that fails in between must void the reservation
		read = c.beginTrackedRead()
		reserved, shared = c.reserve(read, key)
	}
	why := c.bypassReason(key)
	found := miss{bypass: why != nil}
	if shared != nil && why == nil {
		var ok bool
		if e, ok, found.missing, err = c.waitSharedRead(ctx, shared, reserved, key, ttl, until); ok {
			return e, err
		}
	}
	switch {
	case claimFirst:
	case found.bypass:
		traceOf(ctx).store(key, false, 0, why)
		c.completeReservation(read, reserved, e, store.Item{Err: why})
	case found.missing:
		c.completeReservation(read, reserved, e, store.Item{})
	default:
		item := c.look(ctx, epoch, read, key, ttl, began, until)
		if item.Err != nil && ctx.Err() != nil {
			c.completeReservation(read, reserved, e, item)
			return c.Failed(ctx.Err())
		}
		found = c.decodeHit(ctx, Store, k, item, &e)
		if c.completeReservation(read, reserved, e, item); found == (miss{}) {
			return e, nil
		}
	}
	by, err := c.noteWait(ctx, key)
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
		j := newJob(job{key: key, of: k.Of, ctx: ctx, call: call, ttl: ttl, miss: found})
		if why != nil { // the load begins at once
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

// await waits for a result until a context ends. A traced caller that leads the call also waits for its fill, so that its trace is
// complete. The other callers have their answers by then.
func await(ctx, until context.Context, ticket flight.Ticket[result], led bool) (*result, error) {
	r, err := ticket.Wait(until)
	if err == nil && led && traceOf(ctx) != nil {
		ticket.WaitRest(ctx)
	}
	return r, err
}

// fresher returns the result of a load, or the stale value if the load fails or takes longer than soon. The load goes on and fills.
func (c *Cache) fresher(ctx, soon context.Context, key string, ticket flight.Ticket[result], led bool, stale Entry) (Entry, error) {
	r, err := await(ctx, soon, ticket, led)
	switch {
	case ctx.Err() != nil && err != nil:
		ticket.Leave() // not at the soft limit: the load goes on
		return c.Failed(ctx.Err())
	case err == nil && (r.err == nil || errors.Is(r.err, ErrNotFound)):
		return c.answer(key, r)
	}
	c.count.Answered(stale.Source.count(), key)
	return stale, nil
}

// look reads a key from the store within the budget.
func (c *Cache) look(ctx context.Context, epoch uint64, s trackedRead, key string, ttl bool, began, until time.Time) (item store.Item) {
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

// bypassReason returns why a read of key bypasses the store, or nil if it does not. It is called before the store is read.
func (c *Cache) bypassReason(key string) error {
	if c.recovery.Bypasses(key) {
		return errNotAsked
	}
	err := c.Store.Refuses(key)
	if err != nil {
		c.count.Add(tally.StoreError)
	}
	return err
}

// miss says why a read of the store returned no value to serve. decodeHit returns the zero value if there is one. A job whose key was
// not read has the zero value too.
type miss struct {
	missing bool        // the store has no value
	bypass  bool        // the store does not answer, or must be bypassed: do not claim either
	late    bool        // the store did not answer within the budget
	dead    *store.Dead // what the key holds instead of a value
	soft    bool        // the value is stale, and the caller waits for a fresh one
}

// decodeHit decodes what a read of the store returned into e, and starts a refresh of a stale value in the background. from is the
// source that the hit counts for.
func (c *Cache) decodeHit(ctx context.Context, from Source, k Key, item store.Item, e *Entry) miss {
	key := k.Text
	switch {
	case item.Err != nil:
		c.count.Add(tally.StoreError)
		return miss{bypass: true, late: unanswered(item.Err)}
	case !item.Found:
		c.noteFound(false)
		return miss{missing: true}
	}
	c.noteFound(true)
	c.count.AddN(tally.BytesRead, len(item.Value))
	v, err := c.strategy.decode(item.Value)
	if err != nil {
		c.undecodable(key, err)
		return miss{dead: &store.Dead{Value: item.Value}}
	}
	c.ails.good(undecoded)
	*e = c.newEntry(k, v, item.TTL)
	switch {
	case e.Stale && c.loadHealth.SkipRefresh():
	case e.Stale && c.SoftTimeout > 0:
		return miss{soft: true}
	case e.Stale:
		c.refresh(ctx, k, 0)
	case c.Refresh > 0 && e.TTL > 0 && c.count.RefreshDue(e.TTL, c.Refresh):
		c.refresh(ctx, k, item.TTL)
	}
	if e.Source == Store {
		e.Source = from
	}
	c.count.Answered(e.Source.count(), key)
	return miss{}
}

// undecodable counts a value that does not decode. Many of them are reported as a problem.
func (c *Cache) undecodable(key string, err error) {
	c.count.Add(tally.CodecError)
	c.ails.undecodable(key, err, c.count.Count(tally.Store)+c.count.Count(tally.Stale))
}

// newEntry describes a value from the store. A value is stored for its TTL plus Policy.Stale, so the remaining TTL of its key tells
// every process how old it is.
func (c *Cache) newEntry(k Key, v any, ttl time.Duration) Entry {
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

// refresh loads a key in the background, unless this process already does. early is the remaining TTL of a value that is still fresh:
// a value with a longer one was loaded by another process meanwhile.
func (c *Cache) refresh(ctx context.Context, k Key, early time.Duration) {
	if call := c.flights.Lead(k.Text); call != nil {
		if early > 0 {
			c.count.Add(tally.Early)
			early += time.Millisecond // a value with less TTL than this counts as stale
		}
		c.leadOne(newJob(job{key: k.Text, of: k.Of, ctx: ctx, call: call, early: early}))
	}
}

// answer counts a result for one of its callers, and clones the value for it.
func (c *Cache) answer(key string, r *result) (Entry, error) {
	c.count.Answered(r.entry.Source.count(), key)
	e := r.entry
	if r.err == nil {
		e.Value = c.cloned(e.Value)
	}
	return e, r.err
}

// Peek returns the value of k from the store, and never loads. It returns ErrNotFound if the store has none that can be served.
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
	c.waitForFills(ctx, until, key)
	item := c.look(ctx, epoch, trackedRead{}, key, true, began, until)
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
	return c.newEntry(k, v, item.TTL), nil
}
