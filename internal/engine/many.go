package engine

import (
	"context"
	"runtime"
	"slices"
	"time"

	"github.com/nearside/nearside/internal/flight"
	"github.com/nearside/nearside/internal/near"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// Answer is what GetMany found for one key.
type Answer struct {
	Entry Entry
	Err   error
}

// GetMany is Get of many keys: one trip for what the store has, one claim and one load for the rest. The answers are in
// the order of ks. The caller reads the near cache first.
func (c *Values) GetMany(ctx context.Context, ks []Key) []Answer {
	return c.many(ctx, ks, c.needsTTL())
}

// Entries is GetMany with what is known about each value.
func (c *Values) Entries(ctx context.Context, ks []Key) []Answer { return c.many(ctx, ks, true) }

func (c *Values) many(ctx context.Context, ks []Key, ttl bool) []Answer {
	out := make([]Answer, len(ks))
	if traceOf(ctx) != nil {
		defer c.tellAnswers(ctx, ks, out)
	}
	keys := make([]string, len(ks))
	var at []int // the place in ks of each key; nil: they are the same
	for i, k := range ks {
		if keys[i] = k.Text; at == nil && c.check(k.Text) != nil {
			keys, at = c.valid(ks, out)
			break
		}
	}
	if len(keys) == 0 {
		return out
	}
	w := wanted{c: &c.Cache, ctx: ctx, ks: ks, keys: keys, at: at, ttl: ttl, out: out}
	if len(keys) > c.pace.keys() {
		w.batch = c.newBatch()
	}
	defer w.end()
	if c.claimsFirst() {
		w.expect(len(keys))
		for n := range keys {
			w.miss(n, miss{})
		}
		w.load(true)
	} else {
		for from := 0; from < len(keys); {
			to := min(from+c.pace.keys(), len(keys))
			w.read(from, to)
			from = to
		}
	}
	w.wait(len(w.tickets))
	return out
}

// valid returns the keys that can be asked for, and their places in ks. The others fail.
func (c *Values) valid(ks []Key, out []Answer) (keys []string, at []int) {
	for i, k := range ks {
		if err := c.check(k.Text); err != nil {
			out[i].Entry, out[i].Err = c.Failed(err)
			continue
		}
		keys, at = append(keys, k.Text), append(at, i)
	}
	return keys, at
}

// wanted are the keys of a batch that are not kept in the process.
type wanted struct {
	c     *Cache
	ctx   context.Context
	ks    []Key
	keys  []string
	at    []int // the place in ks and out of each key; nil: they are the same
	ttl   bool
	out   []Answer
	batch *batch // nil: there is one piece

	room    []job                   // for what is missing
	missing jobs                    // what is to be loaded, by us or by others
	places  []int                   // in out, of each
	tickets []flight.Ticket[result] // of those whose calls were joined
	begun   []int                   // of a large batch: the tickets there were, when each load but the last began
	waited  int                     // tickets whose calls were waited for

	soon context.Context // until when fresh values are waited for, instead of stale ones; nil: nothing was waited for yet
	stop context.CancelFunc
}

// place returns where the answer of a key belongs.
func (w *wanted) place(n int) int {
	if w.at == nil {
		return n
	}
	return w.at[n]
}

// read takes what the store has of a piece of the keys. The rest begins to load before that is decoded.
func (w *wanted) read(from, to int) {
	c, keys := w.c, w.keys[from:to]
	last := to == len(w.keys)
	if w.batch.isLate() || w.batch != nil && w.ctx.Err() != nil {
		w.bypass(from, to)
		w.load(last)
		return
	}
	read := c.beginTrackedRead()
	reserved := make([]*near.Reservation, len(keys))
	for n, key := range keys {
		reserved[n], _ = c.reserve(read, key)
	}
	defer func() {
		for _, r := range reserved {
			if r != nil { // Clone has panicked
				c.near.Leave(r, false)
			}
		}
	}()
	epoch := c.deferred.Epoch()
	past := c.bypassed(keys) // after the reservations: see Values.find
	items := c.lookMany(w.ctx, epoch, read, keys, past, w.ttl)
	for n := range items {
		w.batch.note(items[n].Err) // in a cluster, of one node perhaps
	}
	take := func(n int) {
		k := w.ks[w.place(from+n)]
		e, why := Entry{}, miss{bypass: true}
		if past == nil || !past[n] {
			why = c.decodeHit(w.ctx, Store, k, items[n], &e)
		}
		r := reserved[n]
		reserved[n] = nil
		c.completeReservation(read, r, e, items[n])
		if w.out[w.place(from+n)].Entry = e; why != (miss{}) {
			w.miss(from+n, why)
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
	if w.load(last); len(absent) > 0 && last {
		runtime.Gosched() // who loads sends his claims first, so that the store is at work while we decode
	}
	for _, n := range found {
		take(n)
	}
	w.load(last) // what does not decode, or is stale and waited for
}

// bypass has a piece loaded without a look at the store.
func (w *wanted) bypass(from, to int) {
	w.expect(to - from)
	for n := from; n < to; n++ {
		traceOf(w.ctx).store(w.keys[n], false, 0, errNotAsked)
		w.miss(n, miss{bypass: true})
	}
}

// expect makes room for n keys more that are missing, in one piece.
func (w *wanted) expect(n int) {
	w.room = make([]job, n)
	w.missing, w.places, w.tickets = slices.Grow(w.missing, n), slices.Grow(w.places, n), slices.Grow(w.tickets, n)
}

func (w *wanted) miss(n int, why miss) {
	i := w.place(n)
	if len(w.room) == 0 {
		w.room = make([]job, 1)
	}
	j := &w.room[0]
	w.room = w.room[1:]
	*j = job{key: w.keys[n], of: w.ks[i].Of, ctx: w.ctx, ttl: w.ttl, batch: w.batch, miss: why}
	w.missing = append(w.missing, j)
	w.places = append(w.places, i)
}

// loadsUnderWay is how many pieces of a batch are loaded at the same time: one is looked up and claimed while another one loads.
const loadsUnderWay = 2

// load begins to load what is missing by now: each piece that is full, and the rest too if the batch has no more keys. A key's
// call is joined when its piece begins, so that other callers of the key do not wait for all the pieces before it.
func (w *wanted) load(rest bool) {
	for {
		most := PieceKeys
		if w.batch != nil && !w.batch.isLate() {
			most = w.c.pace.keys()
		}
		fresh := w.missing[len(w.tickets):]
		if len(fresh) == 0 || len(fresh) < most && !rest {
			return
		}
		if len(w.begun) == loadsUnderWay {
			w.wait(w.begun[0])
			w.begun = w.begun[1:]
		}
		if w.batch != nil {
			if err := w.ctx.Err(); err != nil { // it is over for this caller, who alone wants them
				for n := range fresh {
					a := &w.out[w.places[len(w.tickets)+n]]
					a.Entry, a.Err = w.c.Failed(err)
				}
				w.missing, w.places = w.missing[:len(w.tickets)], w.places[:len(w.tickets)]
				return
			}
		}
		w.join(fresh[:min(len(fresh), most)])
		if w.batch != nil {
			w.begun = append(w.begun, len(w.tickets))
		}
	}
}

// join joins the calls of keys that are missing, and runs the new ones as one piece.
func (w *wanted) join(fresh jobs) {
	c := w.c
	mine := make(jobs, 0, len(fresh))
	for _, j := range fresh {
		by, err := c.noteWait(w.ctx, j.key)
		if err != nil {
			w.tickets = append(w.tickets, flight.Done(&result{err: err}))
			continue
		}
		j.by = by
		ticket, call := c.flights.Join(j.key)
		w.tickets = append(w.tickets, ticket)
		if call == nil {
			c.count.Add(tally.CoalescedProcess)
			traceOf(w.ctx).joined(j.key)
			continue
		}
		j.call, j.led = call, true
		mine = append(mine, j)
	}
	c.lead(mine)
}

// wait waits for the calls of the first tickets, but for those that were waited for already.
func (w *wanted) wait(tickets int) {
	c := w.c
	if w.soon == nil && tickets > w.waited {
		if w.soon = w.ctx; c.SoftTimeout > 0 {
			w.soon, w.stop = context.WithTimeout(w.ctx, c.SoftTimeout)
		}
	}
	for ; w.waited < tickets; w.waited++ {
		n := w.waited
		ticket, a, j := w.tickets[n], &w.out[w.places[n]], w.missing[n]
		if j.soft {
			a.Entry, a.Err = c.fresher(w.ctx, w.soon, j.key, ticket, j.led, a.Entry)
		} else if r, err := await(w.ctx, w.ctx, ticket, j.led); err != nil {
			ticket.Leave()
			a.Entry, a.Err = c.Failed(err)
		} else {
			a.Entry, a.Err = c.answer(j.key, r)
		}
		if j.by != nil {
			waits.leave(j.by, resource{c, j.key})
		}
	}
}

func (w *wanted) end() {
	if w.stop != nil {
		w.stop()
	}
}

func (c *Cache) lookMany(ctx context.Context, epoch uint64, s trackedRead, keys []string, past []bool, ttl bool) (items []store.Item) {
	began := time.Now()
	rctx, cancel := c.readContext(ctx, began.Add(c.budget()))
	defer cancel()
	if s.t != nil {
		items = s.t.GetMany(rctx, keys, true)
	} else {
		items = c.Store.GetMany(rctx, keys, ttl || s.longest > 0)
	}
	if c.deferred.Overtaken(epoch) {
		for i := range items {
			items[i] = store.Item{Err: errOvertaken}
		}
	}
	took := c.count.StoreTook(began, items[0].Err)
	c.pace.took(len(keys), took, c.budget())
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

// bypassed reports which of the keys bypass the store. It is nil if none does.
func (c *Cache) bypassed(keys []string) []bool {
	if c.deferred.Idle() {
		return nil
	}
	past := make([]bool, len(keys))
	for n, key := range keys {
		past[n] = c.recovery.Bypasses(key)
	}
	return past
}
