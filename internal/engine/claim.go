package engine

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

const (
	firstPoll  = 2 * time.Millisecond
	lastPoll   = 50 * time.Millisecond
	maxHolders = 2 // leases of other processes that a call waits out before it loads without one
)

// claim asks for the leases. It finishes what the store can answer, and sorts the rest: mine are to be read by this process, others
// are read by another one.
func (c *Cache) claim(js jobs) (mine, others jobs) {
	for len(js) > 0 {
		var again jobs
		claims := make([]store.Claim, 0, len(js))
		asked := make(jobs, 0, len(js))
		token := "" // of all keys: the claims are one command
		var leased map[string]bool
		if len(js) > 1 {
			leased = make(map[string]bool, len(js))
		}
		epoch := c.deferred.Epoch()
		for _, j := range js {
			if j.bypass || j.batch.isLate() || c.recovery.Bypasses(j.key) { // asked here too: the invalidation may have failed after the read, before the call
				j.phase = loading
				mine = append(mine, j)
				continue
			}
			if j.token == "" {
				if token == "" || leased[j.key] { // of two loads of a key none must fill by the lease of the other
					token = store.NewToken()
					clear(leased)
				}
				if j.token = token; leased != nil {
					leased[j.key] = true
				}
			}
			j.claimMark = j.call.Mark()
			asked = append(asked, j)
			claims = append(claims, store.Claim{
				Key: j.key, Token: j.token, Lease: c.leaseLife(), Again: !j.waits.IsZero(), Stale: max(c.Policy.Stale, j.early), Dead: j.dead, TTL: j.ttl, Kind: c.kind,
			})
		}
		if len(claims) == 0 {
			break
		}
		sent := time.Now()
		steps := c.steps()
		grants := c.Store.Acquire(steps.From(sent), claims)
		if len(claims) > 1 {
			c.pace.took(len(claims), time.Since(sent), steps.After())
		}
		if c.deferred.Overtaken(epoch) {
			for i := range grants {
				grants[i] = store.Grant{Err: errOvertaken}
			}
		}
		for i, j := range asked {
			switch j.phase = c.granted(j, grants[i]); j.phase {
			case loading:
				mine = append(mine, j)
			case waiting:
				others = append(others, j)
			case claiming:
				again = append(again, j)
			}
		}
		c.hold(asked, sent)
		c.retainAbsences(asked, grants)
		js = again
	}
	return mine, others
}

// errOvertaken is the error of a read whose answer must not be used. It is not ErrAway: a claim may have been granted, and its
// lease is given back.
var errOvertaken = errors.New("the server was replaced while it was asked")

// granted returns the phase that follows the answer to a claim. What the store could answer is done.
func (c *Cache) granted(j *job, g store.Grant) phase {
	if g.Err != nil || g.State != store.Waiting || g.Holder != j.holder { // else it is asked again and again
		traceOf(j.ctx).claimed(j.key, g)
	}
	if g.Err != nil {
		c.count.Add(tally.StoreError)
		if j.bypass = errors.Is(g.Err, store.ErrAway); !j.bypass {
			j.unresolved = true
			j.batch.note(g.Err)
		}
		return loading
	}
	switch g.State {
	case store.Granted:
		j.leased = true
		return loading
	case store.Barrier:
		return loading
	case store.Waiting:
		return c.waitFor(j, g.Holder)
	case store.Absent:
		c.finish(j, &result{entry: Entry{Source: Negative, Age: -1, TTL: g.TTL}, err: c.Absent(j.key)}, j.claimMark)
		return done
	case store.Foreign:
		c.undecodable(j.key, fmt.Errorf("it is a %s", g.Holder))
		if j.dead != nil && j.dead.Type == g.Holder {
			j.unresolved = true
			return loading // it came back: another program keeps writing it
		}
		j.dead = &store.Dead{Type: g.Holder}
		return claiming
	}
	c.count.AddN(tally.BytesRead, len(g.Value))
	v, err := c.strategy.decode(g.Value)
	if err != nil {
		c.undecodable(j.key, err)
		if same(j.dead, g.Value) {
			j.unresolved = g.State == store.Refresh
			return loading
		}
		j.dead = &store.Dead{Value: g.Value}
		return claiming
	}
	c.noteFound(true)
	if j.holders > 0 {
		c.count.Add(tally.CoalescedFleet)
	}
	r := &result{entry: c.newEntry(j.k(), v, g.TTL)}
	switch {
	case g.State == store.Stale && c.SoftTimeout > 0:
		return c.waitFor(j, g.Holder) // for the fresh value of another process
	case g.State != store.Refresh:
		c.finish(j, r, j.claimMark)
		return done
	case c.SoftTimeout > 0 && r.entry.Stale:
		j.leased = true // the waiters have a stale value, and want a fresh one
		return loading
	}
	// The waiters get the stale value, and the load goes on in the background.
	j.call = j.call.Replace(r, j.claimMark)
	j.leased = true
	return loading
}

// waitFor decides whether another's load is waited for. A holder that lives ends its lease within LoadTimeout, and one that is dead
// loses it within a lease's life. So a longer wait is for a lease that is not one, or whose holder has other settings, and the
// job loads without a lease. A lease of this process that could not be given back is waited for within the budget alone.
func (c *Cache) waitFor(j *job, holder string) phase {
	if now := time.Now(); holder != j.holder || j.waits.IsZero() {
		j.holder, j.waits = holder, now
		j.holders++
	} else if waited := now.Sub(j.waits); waited > c.LoadTimeout+2*c.leaseLife() || waited > c.budget() && c.isLost(j.key, holder) {
		return loading
	}
	if j.holders > maxHolders {
		return loading
	}
	return waiting
}

// waiter waits for the loads of other processes: until the store sends a push for one of them, and in any case for a while.
type waiter struct {
	c       *Cache
	changed <-chan struct{} // at the next push; nil: the store sends none
	unwatch func()
	pause   time.Duration // the last
}

// wait returns when the leases are to be claimed again. It returns false if the client is closed.
func (w *waiter) wait(js jobs) bool {
	w.pause = max(firstPoll, min(2*w.pause, lastPoll))
	var started <-chan struct{} // when the store begins to send pushes
	if w.changed == nil {
		started = w.c.trackingStarted()
		if w.watch(js); w.changed != nil {
			return true // it may have changed before it was watched
		}
	}
	limit := w.pause
	if w.changed != nil {
		limit = w.c.leaseLife() / looksPerLife // of a lease that expires the store notifies late
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-w.changed:
		w.stop()
		w.pause = firstPoll
	case <-started: // the next look may be 50 ms away
	case <-timer.C:
	case <-w.c.Shared.ctx.Done():
		w.stop()
		return false
	}
	return true
}

// watch has the store send a push at the next change of a key, if it can.
func (w *waiter) watch(js jobs) {
	t := w.c.Shared.tracking()
	if t == nil {
		return
	}
	keys := make([]string, len(js))
	for i, j := range js {
		keys[i] = j.key
	}
	if changed, unwatch, err := t.Await(w.c.step(), keys); err == nil {
		w.changed, w.unwatch = changed, unwatch
	}
}

// stop ends watch.
func (w *waiter) stop() {
	if w.changed != nil {
		w.unwatch()
		w.changed = nil
	}
}

// same reports whether a claim named these bytes as dead already.
func same(d *store.Dead, value []byte) bool {
	return d != nil && d.Type == "" && bytes.Equal(d.Value, value)
}
