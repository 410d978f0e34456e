package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearside/nearside/internal/flight"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

const (
	leaseMargin = time.Second // an intent outlives its write by this
	loadsAtOnce = 16          // loads of one batch, where there is no LoadMany
	firstPoll   = 2 * time.Millisecond
	lastPoll    = 50 * time.Millisecond
	maxHolders  = 2 // leases of other processes that a call waits out before it loads without one
)

// job is a key that is being claimed, loaded and filled by this process.
type job[K comparable, V any] struct {
	k     K
	key   string
	ctx   context.Context // of the caller who started it; only its values are used
	call  *flight.Call[result[V]]
	ttl   bool          // the caller asks how long the value lives
	early time.Duration // a value with less than this to live is to be loaded anew, although it is fresh
	whole bool          // of a collection: the result has all of it, however large

	batch *batch  // nil: the job is not part of a large batch
	by    loading // whose loader asks for many; nil: the application

	useless        // what a read of the store found before
	token   string // of the claim
	fills   bool   // the token is a lease; else the load fills nothing
	claimed bool   // a claim was sent and not answered: its token must be released
	sent    int    // the mark of the latest claim
	began   int    // the mark of the load
	holder  string // who else holds the lease, and how many of them were seen
	holders int
	waits   time.Time // since when this holder is waited for; zero: no lease of another was seen
	held    held      // the lease, while it is renewed

	alone *alone[K, V] // nil until it is loaded by itself
}

// alone is what a job needs to be loaded by itself, in one piece: three allocations less for each load.
type alone[K comparable, V any] struct {
	attempt attempt[K, V]
	jobs    [1]*job[K, V]
	loaded  [1]loaded[V]
}

// one is a job that will be loaded by itself, all of it in one piece.
type one[K comparable, V any] struct {
	job   job[K, V]
	alone alone[K, V]
}

func newJob[K comparable, V any](j job[K, V]) *job[K, V] {
	one := &one[K, V]{job: j}
	one.job.alone = &one.alone
	return &one.job
}

// single makes room for what it takes to load j by itself, if there is none.
func (j *job[K, V]) single() *alone[K, V] {
	if j.alone == nil {
		j.alone = new(alone[K, V])
	}
	return j.alone
}

type jobs[K comparable, V any] []*job[K, V]

// lead runs new jobs in the background.
func (c *Cache[K, V]) lead(js jobs[K, V]) {
	if len(js) == 1 {
		c.leadOne(js[0])
	} else if len(js) > 0 && !c.spawn(func() { c.run(js) }) {
		c.closed(js...)
	}
}

func (c *Cache[K, V]) leadOne(j *job[K, V]) {
	j.single().attempt.c = c
	if !c.workers.Run(j) {
		c.closed(j)
	}
}

// Do is what leadOne has a worker do.
func (j *job[K, V]) Do() {
	c := j.alone.attempt.c
	if j.bypass && c.Config.Load != nil {
		c.loadOne(j) // the store is away: nothing is claimed, and nothing filled
	} else {
		c.run(jobs[K, V]{j})
	}
}

// closed ends jobs that nobody will run, and gives back what they hold: else other processes would wait for its end.
func (c *Cache[K, V]) closed(js ...*job[K, V]) {
	var held []store.Lease
	c.letGo(js)
	for _, j := range js {
		j.call.Finish(&result[V]{err: ErrClosed}, flight.Everyone)
		if j.fills || j.claimed {
			held = append(held, store.Lease{Key: j.key, Token: j.token, Kind: c.gather.kind})
		}
	}
	if len(held) > 0 {
		c.Store.Release(c.step(), held)
	}
}

// run claims, loads and fills. What is granted is loaded before anything is waited for: else two batches that hold
// what the other one wants would wait for each other.
func (c *Cache[K, V]) run(js jobs[K, V]) {
	var changed <-chan struct{} // at the next change of what is waited for; nil: nobody tells
	stop := func() {}
	for pause := firstPoll; ; pause = min(2*pause, lastPoll) {
		mine, waiting := c.claim(js)
		if len(waiting) == 0 {
			stop()
			c.loadAll(mine)
			return
		}
		if len(mine) > 0 && !c.spawn(func() { c.loadAll(mine) }) {
			c.closed(mine...)
		}
		var tells <-chan struct{} // when somebody begins to tell
		if js = waiting; changed == nil {
			tells = c.Shared.trackingStarted()
			if changed, stop = c.watch(js); changed != nil {
				continue // it may have changed before it was told of
			}
		}
		limit := pause
		if changed != nil {
			limit = c.leaseLife() / looksPerLife // of a lease that expires the store notifies late
		}
		timer := time.NewTimer(limit)
		select {
		case <-changed:
			stop()
			changed, stop, pause = nil, func() {}, firstPoll
		case <-tells: // the next look may be 50 ms away
		case <-timer.C:
		case <-c.Shared.ctx.Done():
			stop()
			timer.Stop()
			for _, j := range waiting {
				c.finish(j, &result[V]{err: ErrClosed}, flight.Everyone)
			}
			return
		}
		timer.Stop()
	}
}

// watch has the store tell of the next change of keys that others load. Nil: it does not.
func (c *Cache[K, V]) watch(js jobs[K, V]) (changed <-chan struct{}, stop func()) {
	t := c.Shared.tracking()
	if t == nil {
		return nil, func() {}
	}
	keys := make([]string, len(js))
	for i, j := range js {
		keys[i] = j.key
	}
	changed, stop, err := t.Await(c.step(), keys)
	if err != nil {
		return nil, func() {}
	}
	return changed, stop
}

// finish ends a job; who may not have its result shares the next one.
func (c *Cache[K, V]) finish(j *job[K, V], r *result[V], until int) {
	if next := j.call.Finish(r, until); next != nil {
		// If the store did not answer, those who have waited for it once do not wait again.
		c.leadOne(newJob(job[K, V]{k: j.k, key: j.key, ctx: untraced(j.ctx), call: next, whole: j.whole, useless: useless{bypass: j.bypass || j.claimed}}))
	}
}

// claim asks for the leases. It finishes what the store can answer, and sorts the rest: to be loaded by us, or being
// loaded elsewhere.
func (c *Cache[K, V]) claim(js jobs[K, V]) (mine, waiting jobs[K, V]) {
	for len(js) > 0 {
		var again jobs[K, V]
		claims := make([]store.Claim, 0, len(js))
		asked := make(jobs[K, V], 0, len(js))
		token := "" // of all keys: the claims are one command
		var leased map[string]bool
		if len(js) > 1 {
			leased = make(map[string]bool, len(js))
		}
		epoch := c.deferred.Epoch()
		for _, j := range js {
			if j.bypass || j.batch.isLate() || c.recovery.Bypasses(j.key) { // asked here too: the invalidation may have come before the call, and behind its read
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
			j.sent = j.call.Mark()
			asked = append(asked, j)
			claims = append(claims, store.Claim{
				Key: j.key, Token: j.token, Lease: c.leaseLife(), Again: !j.waits.IsZero(), Stale: max(c.Config.Stale, j.early), Dead: j.dead, TTL: j.ttl, Kind: c.gather.kind,
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
			switch c.granted(j, grants[i]) {
			case loadIt:
				mine = append(mine, j)
			case waitForIt:
				waiting = append(waiting, j)
			case claimAgain:
				again = append(again, j)
			}
		}
		c.hold(asked, sent)
		c.retainAbsences(asked, grants)
		js = again
	}
	return mine, waiting
}

// errOvertaken is the error of a read whose answer must not be used. It is not ErrAway: a claim may have been granted, and its
// lease is given back.
var errOvertaken = errors.New("the server was replaced while it was asked")

type todo int

const (
	nothing todo = iota
	loadIt
	waitForIt
	claimAgain
)

func (c *Cache[K, V]) granted(j *job[K, V], g store.Grant) todo {
	if g.Err != nil || g.State != store.Waiting || g.Holder != j.holder { // else it is asked again and again
		traceOf(j.ctx).claimed(j.key, g)
	}
	if g.Err != nil {
		c.count.Add(tally.StoreError)
		if j.bypass = errors.Is(g.Err, store.ErrAway); !j.bypass {
			j.claimed = true
			j.batch.note(g.Err)
		}
		return loadIt
	}
	switch g.State {
	case store.Granted:
		j.fills = true
		return loadIt
	case store.Barrier:
		return loadIt
	case store.Waiting:
		return c.waitFor(j, g.Holder)
	case store.Absent:
		c.finish(j, &result[V]{entry: Entry[V]{Source: Negative, Age: -1, TTL: g.TTL}, err: c.absent(j.key)}, j.sent)
		return nothing
	case store.Foreign:
		c.undecodable(j.key, fmt.Errorf("it is a %s", g.Holder))
		if j.dead != nil && j.dead.Type == g.Holder {
			j.claimed = true
			return loadIt // it came back: somebody else keeps writing it
		}
		j.dead = &store.Dead{Type: g.Holder}
		return claimAgain
	}
	c.count.AddN(tally.BytesRead, len(g.Value))
	v, err := c.Decode(g.Value)
	if err != nil {
		c.undecodable(j.key, err)
		if same(j.dead, g.Value) {
			j.claimed = g.State == store.Refresh
			return loadIt
		}
		j.dead = &store.Dead{Value: g.Value}
		return claimAgain
	}
	c.seen(true)
	if j.holders > 0 {
		c.count.Add(tally.CoalescedFleet)
	}
	r := &result[V]{entry: c.stored(j.k, j.key, v, g.TTL)}
	switch {
	case g.State == store.Stale && c.SoftTimeout > 0:
		return c.waitFor(j, g.Holder) // for the fresh value of somebody else
	case g.State != store.Refresh:
		c.finish(j, r, j.sent)
		return nothing
	case c.SoftTimeout > 0 && r.entry.Stale:
		j.fills = true // those who wait have a stale value, and want a fresh one
		return loadIt
	}
	// Whoever waits is given the stale value, and the load goes on behind it.
	j.call = j.call.Replace(r, j.sent)
	j.fills = true
	return loadIt
}

// waitFor decides whether another's load is waited for. A holder that lives ends its lease within LoadTimeout, and one that is dead
// loses it within a lease's life. So a longer wait is for a lease that is not one, or whose holder has other settings, and the
// job loads without a lease. A lease of this process that could not be given back is waited for within the budget alone.
func (c *Cache[K, V]) waitFor(j *job[K, V], holder string) todo {
	if now := time.Now(); holder != j.holder || j.waits.IsZero() {
		j.holder, j.waits = holder, now
		j.holders++
	} else if waited := now.Sub(j.waits); waited > c.LoadTimeout+2*c.leaseLife() || waited > c.budget() && c.isLost(j.key, holder) {
		return loadIt
	}
	if j.holders > maxHolders {
		return loadIt
	}
	return waitForIt
}

// loadAll loads what this process is to load.
func (c *Cache[K, V]) loadAll(js jobs[K, V]) {
	switch {
	case len(js) == 0:
	case len(js) == 1 && c.Config.Load != nil:
		c.loadOne(js[0])
	case c.LoadMany != nil:
		c.loadBatch(js)
	default:
		c.loadEach(js)
	}
}

// absent is the error of a key without a row.
func (c *Cache[K, V]) absent(key string) error { return fmt.Errorf("%.100q: %w", key, ErrNotFound) }
