package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/nearside/nearside/internal/flight"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// deliverEarly answers the callers that need not wait for the fill. It comes after all are encoded, since rows of one load may
// have parts in common, which a caller may modify.
func (c *Cache) deliverEarly(js jobs, results []result) {
	early := false
	for i, j := range js {
		if c.answersBeforeFill(j, results[i].err) {
			j.call = j.call.Answer(&results[i], j.loadMark)
			early = true
		}
	}
	if early && len(js) > 1 {
		runtime.Gosched() // the callers go on now; on this processor they would otherwise wait until the fill has been sent
	}
}

// answersBeforeFill reports whether callers that joined before the load began are answered without waiting for the fill, saving a
// round trip. That is safe: the row was read after they asked. Callers that joined later must wait, because only an accepted fill
// proves that no invalidation came in between.
//
// It is false where nothing is gained or the answer depends on the fill:
//   - an in-process store (a fill is no round trip)
//   - a collection (large ones are read back from the store)
//   - a failed load (a caller that retries at once must not join the same call)
func (c *Cache) answersBeforeFill(j *job, err error) bool {
	return j.leased && c.shareUntil(j, err) == j.loadMark && c.kind == "" && !c.Store.Local()
}

// shareUntil returns the mark before which a caller must have joined to take the result if its fill is rejected.
func (c *Cache) shareUntil(j *job, err error) int {
	if err != nil && !errors.Is(err, ErrNotFound) {
		return flight.Everyone // a failure cannot be stale
	}
	return j.loadMark
}

// deliver answers the callers, by what became of the fills.
func (c *Cache) deliver(js jobs, out []Loaded, results []result) {
	var unresolved []store.Lease
	for i, j := range js {
		c.report(j, out[i].Err)
		until := c.shareUntil(j, results[i].err)
		if j.outcome.OK && until != flight.Everyone && c.kind == "" { // members that were written meanwhile are in the store, and not in the result
			until = j.fillMark // there was no invalidation until then
		}
		if j.unresolved || j.outcome.Err != nil {
			unresolved = append(unresolved, c.leaseOf(j))
		}
		j.phase = done
		c.finish(j, &results[i], until)
	}
	if len(unresolved) > 0 {
		c.release(js[0].ctx, unresolved)
	}
}

// finish ends a job. Callers that may not have its result share the next one.
func (c *Cache) finish(j *job, r *result, until int) {
	if next := j.call.Finish(r, until); next != nil {
		// If the store did not answer, callers that have waited for it once do not wait again.
		c.leadOne(newJob(job{key: j.key, of: j.of, ctx: untraced(j.ctx), call: next, keepAll: j.keepAll, miss: miss{bypass: j.bypass || j.unresolved}}))
	}
}

// report counts what became of a load that ended with err, and tells a trace of the fill.
func (c *Cache) report(j *job, err error) {
	if j.phase == delivering {
		c.reportNoLease(j, err)
		return
	}
	if j.phase == filling {
		tellFill(j.ctx, j.key, j.outcome)
	}
	switch o := j.outcome; {
	case o.OK && j.phase == filling:
		c.ails.filled()
	case o.OK:
	default:
		if o.Err != nil {
			c.count.Add(tally.StoreError)
		}
		c.countUnfilled(err)
		if j.phase == filling {
			c.reportNotStored(o.Err)
		}
	}
}

// countUnfilled counts a value that was loaded and is not stored.
func (c *Cache) countUnfilled(err error) {
	if err == nil {
		c.count.Add(tally.Unfilled)
	}
}

// reportNoLease counts what was loaded without a lease, and tells a trace why it is not filled.
func (c *Cache) reportNoLease(j *job, err error) {
	c.countUnfilled(err)
	switch {
	case err != nil:
	case j.unresolved || j.late:
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

// reportNotStored notes a fill that stored nothing.
func (c *Cache) reportNotStored(err error) {
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

// Absent is the error of a key without a row.
func (c *Cache) Absent(key string) error { return fmt.Errorf("%.100q: %w", key, ErrNotFound) }
