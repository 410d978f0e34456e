package engine

import (
	"context"
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
	until := time.Now().Add(c.Budget)
	var missing jobs[K, V]
	var places []int
	if c.cold() {
		for n, i := range at {
			missing = append(missing, &job[K, V]{k: ks[i], key: keys[n], ctx: ctx, until: until, ttl: ttl})
		}
		places = at
	} else {
		sought := c.seek()
		reserved := make([]*near.Reservation, len(keys))
		for n, key := range keys {
			reserved[n], _ = c.reserve(sought, key)
		}
		past := c.pastOf(keys) // behind the reservations: see Cache.get
		items := c.lookMany(ctx, sought, keys, past, ttl, until)
		for n, i := range at {
			e, why := Entry[V]{}, useless{bypass: true}
			if past == nil || !past[n] {
				why = c.served(ctx, ks[i], keys[n], items[n], &e)
			}
			c.retain(sought, reserved[n], ks[i], e, items[n])
			if out[i].Entry = e; why == (useless{}) {
				continue
			}
			missing = append(missing, &job[K, V]{k: ks[i], key: keys[n], ctx: ctx, until: until, ttl: ttl, useless: why})
			places = append(places, i)
		}
	}
	if len(missing) > 0 {
		c.await(ctx, missing, places, out)
	}
	return out
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

// await joins the calls of the missing keys, runs the new ones as one batch, and waits for all.
func (c *Cache[K, V]) await(ctx context.Context, missing jobs[K, V], places []int, out []Answer[V]) {
	var mine jobs[K, V]
	tickets := make([]flight.Ticket[result[V]], len(missing))
	for n, j := range missing {
		ticket, call := c.flights.Join(j.key)
		tickets[n] = ticket
		if call == nil {
			c.count.add(tally.CoalescedProcess)
			traceOf(ctx).joined(j.key)
			continue
		}
		j.call = call
		mine = append(mine, j)
	}
	c.lead(mine)
	soon := ctx
	if c.SoftTimeout > 0 {
		var cancel context.CancelFunc
		soon, cancel = context.WithTimeout(ctx, c.SoftTimeout)
		defer cancel()
	}
	for n, ticket := range tickets {
		a := &out[places[n]]
		if missing[n].soft {
			a.Entry, a.Err = c.fresher(ctx, soon, missing[n].key, ticket, a.Entry)
		} else if r, err := ticket.Wait(ctx); err != nil {
			a.Entry, a.Err = c.failed(err)
		} else {
			a.Entry, a.Err = c.answer(missing[n].key, r)
		}
	}
}
