package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/nearside/nearside/internal/flight"
	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// settle fills what was loaded, and gives it to those who may have it.
func (c *Cache[K, V]) settle(js jobs[K, V], out []loaded[V]) {
	if len(js) == 1 && !js[0].fills && !js[0].claimed {
		c.settleUnfilled(js[0], &out[0])
		return
	}
	c.letGo(js)
	fills := make([]store.Fill, 0, len(js))
	var leases []store.Lease
	results := make([]result[V], len(js))
	sent := make([]int, len(js)) // the mark before the lease is ended, for those that hold one
	for i, j := range js {
		fill, ok := c.judge(j, &out[i], &results[i])
		if !j.fills {
			continue
		}
		sent[i] = j.call.Mark()
		if ok {
			fills = append(fills, fill)
			if !fill.Absent {
				c.readBack(j.k, j.key)
			}
		} else {
			leases = append(leases, store.Lease{Key: j.key, Token: j.token, Kind: c.gather.kind})
		}
	}
	answered := false
	for i, j := range js { // when all are encoded: rows of one load may have parts in common
		if c.ahead(j, results[i].err) {
			j.call = j.call.Answer(&results[i], j.began)
			answered = true
		}
	}
	if answered && len(js) > 1 {
		runtime.Gosched() // who was answered goes on now; else he would wait, on this processor, until the fill has been sent
	}
	filled, released := c.end(fills, leases)
	var lost []store.Lease
	for i, j := range js {
		until := c.fit(j, results[i].err)
		if j.fills {
			var ended *[]store.Outcome
			if len(fills) > 0 && fills[0].Key == j.key && fills[0].Token == j.token {
				ended, fills = &filled, fills[1:]
				tellFill(j.ctx, j.key, filled[0])
			} else {
				ended = &released
			}
			switch o := (*ended)[0]; {
			case o.OK:
				if ended == &filled {
					c.ails.filled()
				}
				if c.gather.kind == "" && until != flight.Everyone { // what was written of members meanwhile is in the store, and not in the result
					until = sent[i] // nobody had invalidated until then
				}
			case o.Err != nil:
				c.count.Add(tally.StoreError)
				lost = append(lost, store.Lease{Key: j.key, Token: j.token, Kind: c.gather.kind})
				fallthrough
			default:
				c.unfilled(out[i].err)
				if ended == &filled {
					c.overtaken(o.Err)
				}
			}
			*ended = (*ended)[1:]
		} else {
			c.unleased(j, out[i].err)
			if j.claimed {
				lost = append(lost, store.Lease{Key: j.key, Token: j.token, Kind: c.gather.kind})
			}
		}
		c.finish(j, &results[i], until)
	}
	if len(lost) > 0 {
		c.release(js[0].ctx, lost)
	}
}

// settleUnfilled is settle for a load that has nothing to do with the store.
func (c *Cache[K, V]) settleUnfilled(j *job[K, V], out *loaded[V]) {
	r := new(result[V])
	c.judge(j, out, r)
	c.unleased(j, out.err)
	c.finish(j, r, c.fit(j, r.err))
}

// ahead reports whether who has waited since before the load is answered before the fill is, which saves him a trip. Others must
// know that the fill was taken: that nobody had invalidated by then. Not where a fill takes no trip, nor for a trace, which tells
// of it, nor of collections, which are read from the store if they are large; and not of a failure, which who tries again at once
// would be given again.
func (c *Cache[K, V]) ahead(j *job[K, V], err error) bool {
	return j.fills && c.fit(j, err) == j.began && c.gather.kind == "" && !c.Store.Local() && traceOf(j.ctx) == nil
}

// fit is the event before which one must have joined for what a load has found, whatever becomes of its fill.
func (c *Cache[K, V]) fit(j *job[K, V], err error) (until int) {
	if err != nil && !errors.Is(err, ErrNotFound) {
		return flight.Everyone // a failure cannot be stale
	}
	return j.began
}

func (c *Cache[K, V]) unfilled(err error) {
	if err == nil {
		c.count.Add(tally.Unfilled)
	}
}

// unleased counts what was loaded without a lease, and tells why it is not filled.
func (c *Cache[K, V]) unleased(j *job[K, V], err error) {
	c.unfilled(err)
	switch {
	case err != nil:
	case j.claimed || j.late:
		c.ails.unfilled(late, c.budget().String())
	case !j.bypass && !j.batch.isLate() && j.holders <= maxHolders:
		c.ails.unfilled(barred, "")
	}
	if t := traceOf(j.ctx); t != nil && (err == nil || errors.Is(err, ErrNotFound)) {
		why := errNoLease
		if j.bypass {
			why = errNotAsked
		}
		t.filled(j.key, why)
	}
}

// overtaken counts a fill that stored nothing.
func (c *Cache[K, V]) overtaken(err error) {
	switch {
	case err == nil:
		c.ails.unfilled(overtaken, "")
	case unanswered(err):
		c.ails.unfilled(late, c.budget().String())
	case !errors.Is(err, store.ErrAway) && !errors.Is(err, store.ErrClosed):
		c.ails.unfilled(failed, err.Error())
	}
}

// tellFill tells a trace how a fill ended.
func tellFill(ctx context.Context, key string, o store.Outcome) {
	t := traceOf(ctx)
	switch {
	case o.Err != nil:
		t.filled(key, o.Err)
	case !o.OK:
		t.filled(key, errInvalidated)
	default:
		t.filled(key, nil)
	}
}

// judge turns the loader's words into a result, and into what is to be filled; not ok: nothing is.
func (c *Cache[K, V]) judge(j *job[K, V], l *loaded[V], r *result[V]) (fill store.Fill, ok bool) {
	r.entry.Source = Load
	switch {
	case errors.Is(l.err, ErrNotFound):
		c.count.Add(tally.LoadNotFound)
		c.loadHealth.Note(true)
		r.err = l.err
		if l.err == ErrNotFound {
			r.err = c.absent(j.key)
		}
		if c.NotFoundTTL > 0 {
			return store.Fill{Key: j.key, Token: j.token, Absent: true, TTL: c.NotFoundTTL}, true
		}
		if j.fills {
			traceOf(j.ctx).filled(j.key, errAbsence)
		}
		return fill, false
	case l.err != nil:
		c.count.LoadFailed(l.err)
		c.loadHealth.Note(false)
		r.entry.Source = ""
		r.err = fmt.Errorf("load %.100q: %w", j.key, l.err)
		return fill, false
	}
	c.count.Add(tally.LoadOK)
	c.loadHealth.Note(true)
	r.entry.Value = l.v
	r.entry.TTL = c.Life(j.k, j.key, l.v)
	switch {
	case !j.fills:
		return fill, false
	case l.partial != nil:
		traceOf(j.ctx).filled(j.key, l.partial)
		c.unfilled(l.err)
		if l.partial != errLost {
			c.count.Add(tally.StoreError)
			c.overtaken(l.partial)
		} else {
			c.overtaken(nil)
		}
		return fill, false
	case c.gather.kind != "":
		return store.Fill{Key: j.key, Token: j.token, Kind: c.gather.kind, Last: l.last, TTL: r.entry.TTL + c.Config.Stale, Empty: c.NotFoundTTL}, true
	}
	value, err := c.Encode(l.v)
	if err != nil {
		c.count.Add(tally.CodecError)
		c.ails.unencodable(j.key, err)
		c.ails.unfilled(notEncoded, err.Error())
		traceOf(j.ctx).filled(j.key, err)
		return fill, false
	}
	c.ails.good(unencoded)
	if len(value) > c.MaxValue {
		c.count.Add(tally.TooLarge)
		c.ails.unfilled(tooLarge, fmt.Sprintf("%d bytes, and %d are allowed", len(value), c.MaxValue))
		traceOf(j.ctx).filled(j.key, fmt.Errorf("%w: %d bytes, at most %d are stored", ErrTooLarge, len(value), c.MaxValue))
		return fill, false
	}
	c.count.AddN(tally.BytesWritten, len(value))
	return store.Fill{Key: j.key, Token: j.token, Value: value, TTL: r.entry.TTL + c.Config.Stale}, true
}

// end ends leases. Callers that joined after the load began wait here, so each piece has the budget of a step: a command that is
// not answered by then is carried out all the same, and counts as unfilled.
func (c *Cache[K, V]) end(fills []store.Fill, leases []store.Lease) (filled, released []store.Outcome) {
	if len(fills) > 0 {
		filled = inPieces(fills, bytesOfFill, func(some []store.Fill) []store.Outcome { return c.Store.Fill(c.step(), some) })
	}
	if len(leases) > 0 {
		released = inPieces(leases, bytesOfLease, func(some []store.Lease) []store.Outcome { return c.Store.Release(c.step(), some) })
	}
	return filled, released
}

func bytesOfFill(f *store.Fill) int   { return len(f.Key) + len(f.Value) }
func bytesOfLease(l *store.Lease) int { return len(l.Key) }

// release gives back leases whose claim, fill or first release was not answered or was refused, after the load and without a
// caller. It tries again for a while, since other processes wait for a lease that is left until it expires: as often as other
// commands if it fails, and longer if the node was not asked, since a circuit that is open may be closed in a moment. At Close
// the load that calls this waits.
func (c *Cache[K, V]) release(ctx context.Context, leases []store.Lease) {
	c.lose(leases)
	limit := min(c.WriteBudget, releaseLimit)
	give := func() {
		ctx, cancel := c.detached(ctx, limit)
		defer cancel()
		for n, failures := 1, 0; ; n++ {
			try, stop := context.WithTimeout(ctx, limit/retry.Attempts)
			outcomes := c.Store.Release(try, leases)
			stop()
			var left []store.Lease
			refused := true
			for i, o := range outcomes {
				if o.Err != nil && !errors.Is(o.Err, store.ErrClosed) {
					left = append(left, leases[i])
					refused = refused && errors.Is(o.Err, store.ErrAway)
				}
			}
			if leases = left; !refused {
				failures++
			}
			if len(leases) == 0 || failures == retry.Attempts || !retry.Pause(ctx, min(n, maxReleasePause)) {
				return
			}
		}
	}
	if !c.spawn(give) {
		give()
	}
}

const (
	releaseLimit    = 2 * time.Second // a lease that is left longer is left to expire
	maxReleasePause = 5               // as retry.Pause counts: a quarter of a second
)
