package engine

import (
	"context"
	"runtime"

	"time"

	"github.com/nearside/nearside/internal/flight"
	"github.com/nearside/nearside/internal/near"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// Answer is what GetMany found for one key.
type Answer[V any] struct {
	Entry Entry[V]
	Err   error
}

// GetMany is Get of many keys: one trip for what the store has, one claim and one load for the rest. The answers are in
// the order of ks.
func (c *Cache[K, V]) GetMany(ctx context.Context, ks []K) []Answer[V] {
	return c.many(ctx, ks, c.lives())
}

// TakeNear puts what is kept in the process into found, and returns the other keys, for GetMany. A batch that is near as a
// whole then costs nothing but the map.
func (c *Cache[K, V]) TakeNear(ctx context.Context, ks []K, found map[K]V) (rest []K) {
	if c.near == nil || traceOf(ctx) != nil { // a trace is told of all keys by GetMany
		return ks
	}
	for _, k := range ks {
		switch e, ok := c.kept(k); {
		case !ok:
			rest = append(rest, k)
		case !e.Absent:
			found[k] = c.give(e.Value)
		}
	}
	return rest
}

// Entries is GetMany with what is known about each value.
func (c *Cache[K, V]) Entries(ctx context.Context, ks []K) []Answer[V] { return c.many(ctx, ks, true) }

func (c *Cache[K, V]) many(ctx context.Context, ks []K, ttl bool) []Answer[V] {
	out := make([]Answer[V], len(ks))
	if traceOf(ctx) != nil {
		defer c.tellAnswers(ctx, ks, out)
	}
	keys := make([]string, 0, len(ks))
	at := make([]int, 0, len(ks)) // the place in ks of each key
	for i, k := range ks {
		if c.near != nil {
			e, ok := c.kept(k)
			if traced.Load() {
				c.tellNear(ctx, k, ok, ok && e.Absent)
			}
			if ok {
				out[i].Entry, out[i].Err = c.described(k, e, ttl)
				continue
			}
		}
		key, err := c.key(k)
		if err != nil {
			out[i].Entry, out[i].Err = c.failed(err)
			continue
		}
		keys, at = append(keys, key), append(at, i)
	}
	if len(keys) == 0 {
		return out
	}
	w := wanted[K, V]{c: c, ctx: ctx, ks: ks, keys: keys, at: at, until: time.Now().Add(c.Budget), ttl: ttl, out: out}
	if c.cold() {
		w.expect(len(keys))
		for n := range keys {
			w.miss(n, useless{})
		}
		w.load()
	} else {
		w.read()
	}
	w.wait()
	return out
}

// wanted are the keys of a batch that are not kept in the process.
type wanted[K comparable, V any] struct {
	c     *Cache[K, V]
	ctx   context.Context
	ks    []K
	keys  []string
	at    []int // the place in ks and out of each key
	until time.Time
	ttl   bool
	out   []Answer[V]

	room    []job[K, V]                // for what is missing
	missing jobs[K, V]                 // what is to be loaded, by us or by others
	places  []int                      // in out, of each
	tickets []flight.Ticket[result[V]] // of those whose calls were joined
}

// read takes what the store has. The rest begins to load before that is decoded.
func (w *wanted[K, V]) read() {
	c := w.c
	sought := c.seek()
	reserved := make([]*near.Reservation, len(w.keys))
	for n, key := range w.keys {
		reserved[n], _ = c.reserve(sought, key)
	}
	defer func() {
		for _, r := range reserved {
			if r != nil { // Clone has panicked
				c.near.Leave(r, false)
			}
		}
	}()
	past := c.pastOf(w.keys) // behind the reservations: see Cache.get
	items := c.lookMany(w.ctx, sought, w.keys, past, w.ttl, w.until)
	take := func(n int) {
		k := w.ks[w.at[n]]
		e, why := Entry[V]{}, useless{bypass: true}
		if past == nil || !past[n] {
			why = c.served(w.ctx, k, w.keys[n], items[n], &e)
		}
		r := reserved[n]
		reserved[n] = nil
		c.retain(sought, r, k, e, items[n])
		if w.out[w.at[n]].Entry = e; why != (useless{}) {
			w.miss(n, why)
		}
	}
	found := make([]int, 0, len(items))
	absent := make([]int, 0, len(items))
	for n := range items {
		if items[n].Found && (past == nil || !past[n]) {
			found = append(found, n)
		} else {
			absent = append(absent, n)
		}
	}
	w.expect(len(absent))
	for _, n := range absent {
		take(n)
	}
	if w.load(); len(absent) > 0 {
		runtime.Gosched() // who loads sends his claims first, so that the store is at work while we decode
	}
	for _, n := range found {
		take(n)
	}
	w.load() // what does not decode, or is stale and waited for
}

// expect makes room for what is missing, in one piece.
func (w *wanted[K, V]) expect(n int) {
	w.room = make([]job[K, V], n)
	w.missing, w.places, w.tickets = make(jobs[K, V], 0, n), make([]int, 0, n), make([]flight.Ticket[result[V]], 0, n)
}

func (w *wanted[K, V]) miss(n int, why useless) {
	i := w.at[n]
	if len(w.room) == 0 {
		w.room = make([]job[K, V], 1)
	}
	j := &w.room[0]
	w.room = w.room[1:]
	*j = job[K, V]{k: w.ks[i], key: w.keys[n], ctx: w.ctx, until: w.until, ttl: w.ttl, useless: why}
	w.missing = append(w.missing, j)
	w.places = append(w.places, i)
}

// load joins the calls of the keys that are missing by now, and runs the new ones as one batch.
func (w *wanted[K, V]) load() {
	c := w.c
	fresh := w.missing[len(w.tickets):]
	mine := make(jobs[K, V], 0, len(fresh))
	for _, j := range fresh {
		ticket, call := c.flights.Join(j.key)
		w.tickets = append(w.tickets, ticket)
		if call == nil {
			c.count.add(tally.CoalescedProcess)
			traceOf(w.ctx).joined(j.key)
			continue
		}
		j.call = call
		mine = append(mine, j)
	}
	c.lead(mine)
}

// wait waits for all calls.
func (w *wanted[K, V]) wait() {
	if len(w.tickets) == 0 {
		return
	}
	c, soon := w.c, w.ctx
	if c.SoftTimeout > 0 {
		var cancel context.CancelFunc
		soon, cancel = context.WithTimeout(w.ctx, c.SoftTimeout)
		defer cancel()
	}
	for n, ticket := range w.tickets {
		a, j := &w.out[w.places[n]], w.missing[n]
		if j.soft {
			a.Entry, a.Err = c.fresher(w.ctx, soon, j.key, ticket, a.Entry)
		} else if r, err := ticket.Wait(w.ctx); err != nil {
			a.Entry, a.Err = c.failed(err)
		} else {
			a.Entry, a.Err = c.answer(j.key, r)
		}
	}
}

func (c *Cache[K, V]) lookMany(ctx context.Context, s seeker, keys []string, past []bool, ttl bool, until time.Time) (items []store.Item) {
	rctx, cancel := c.read(ctx, until)
	defer cancel()
	if s.t != nil {
		items = s.t.GetMany(rctx, keys, true)
	} else {
		items = c.Store.GetMany(rctx, keys, ttl || s.longest > 0)
	}
	took := c.count.waited(c.Budget, until, items[0].Err)
	if t := traceOf(ctx); t != nil {
		for i, key := range keys {
			if past != nil && past[i] {
				t.store(key, false, 0, errNotAsked) // what it said is not used
			} else {
				t.store(key, items[i].Found, took, items[i].Err)
			}
		}
	}
	return items
}

// pastOf is past of many keys; nil: of none.
func (c *Cache[K, V]) pastOf(keys []string) []bool {
	if c.pending.some.Load() == 0 {
		return nil
	}
	past := make([]bool, len(keys))
	for n, key := range keys {
		past[n] = c.past(key)
	}
	return past
}
