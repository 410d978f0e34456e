package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// interpretAll converts what was read to results, and decides how each lease ends: with a fill, or by a release.
func (c *Cache) interpretAll(js jobs, out []Loaded, results []result) (fills []store.Fill, releases []store.Lease) {
	if slices.ContainsFunc(js, func(j *job) bool { return j.leased }) {
		c.letGo(js)
		fills = make([]store.Fill, 0, len(js))
	}
	for i, j := range js {
		fill, ok := c.interpret(j, &out[i], &results[i])
		if !j.leased {
			j.phase = delivering
			continue
		}
		j.fillMark = j.call.Mark()
		if !ok {
			j.phase = releasing
			releases = append(releases, c.leaseOf(j))
			continue
		}
		j.phase = filling
		fills = append(fills, fill)
		if !fill.Absent {
			c.readBack(j.k())
		}
	}
	return fills, releases
}

// interpret converts the loader's return values to a result and a fill. ok is false if there is nothing to store.
func (c *Cache) interpret(j *job, l *Loaded, r *result) (fill store.Fill, ok bool) {
	r.entry.Source = Load
	switch {
	case errors.Is(l.Err, ErrNotFound):
		c.count.Add(tally.LoadNotFound)
		c.loadHealth.Note(true)
		r.err = l.Err
		if l.Err == ErrNotFound { //lint:ignore errorlint one that is wrapped says more, and stays
			r.err = c.Absent(j.key)
		}
		if c.NotFoundTTL > 0 {
			return store.Fill{Key: j.key, Token: j.token, Absent: true, TTL: c.NotFoundTTL}, true
		}
		if j.leased {
			traceOf(j.ctx).filled(j.key, errAbsence)
		}
		return fill, false
	case l.Err != nil:
		c.count.LoadFailed(l.Err)
		c.loadHealth.Note(false)
		r.entry.Source = ""
		r.err = fmt.Errorf("load %.100q: %w", j.key, l.Err)
		return fill, false
	}
	c.count.Add(tally.LoadOK)
	c.loadHealth.Note(true)
	r.entry.Value = l.Value
	r.entry.TTL = c.freshFor(j.k(), l.Value)
	if !j.leased {
		return fill, false
	}
	fill, why := c.strategy.fill(j, l, r.entry.TTL)
	if why != nil {
		traceOf(j.ctx).filled(j.key, why)
		return fill, false
	}
	return fill, true
}

// fill ends the leases, and gives each job the outcome. Callers that joined after the load began wait here, so each piece has the
// budget of a step: a command that is not answered by then is carried out all the same, and counts as unfilled.
func (c *Cache) fill(js jobs, fills []store.Fill, releases []store.Lease) {
	if len(fills) > 0 {
		js.setOutcomes(filling, inPieces(fills, bytesOfFill, func(some []store.Fill) []store.Outcome { return c.Store.Fill(c.step(), some) }))
	}
	if len(releases) > 0 {
		js.setOutcomes(releasing, inPieces(releases, bytesOfLease, func(some []store.Lease) []store.Outcome { return c.Store.Release(c.step(), some) }))
	}
}

func bytesOfFill(f *store.Fill) int   { return len(f.Key) + len(f.Value) }
func bytesOfLease(l *store.Lease) int { return len(l.Key) }

// release gives back leases whose claim, fill or first release was not answered or was refused, after the load and without a
// caller. It tries again for a while, since other processes wait for a lease that is left until it expires: as often as other
// commands if it fails, and longer if the node was not asked, since a circuit that is open may be closed in a moment. At Close
// the load that calls this waits.
func (c *Cache) release(ctx context.Context, leases []store.Lease) {
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
