package recovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

const (
	firstPause = 50 * time.Millisecond // before the first repetition
	lastPause  = 2 * time.Second
	batchKeys  = 1000 // at once
	probes     = 3    // batches that may fail as a whole until the next round: of 1, 10 and 100 keys
)

// repeat delivers until nothing is deferred, or the client is closed.
func (d *Invalidations) repeat() {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if !d.rest(d.ctx, pause) {
			return // Drain goes on
		}
		if d.deliver(d.ctx, false) > 0 {
			pause = firstPause / 2
		}
		d.mu.Lock()
		if len(d.keys) == 0 {
			d.delivering = false
			d.mu.Unlock()
			d.report()
			return
		}
		d.mu.Unlock()
	}
}

// rest waits for about this long, with jitter so that the processes of a fleet do not repeat at the same time, or until something
// was delivered otherwise. It returns false if ctx has ended.
func (d *Invalidations) rest(ctx context.Context, pause time.Duration) bool {
	t := time.NewTimer(pause/2 + rand.N(pause/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.woken:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// Recovered is to be called by the store when it answers again, before reads are let through. It returns how many invalidations it
// has delivered, for the store to report.
func (d *Invalidations) Recovered(ctx context.Context) (delivered int) {
	if !d.Idle() {
		delivered = d.deliver(ctx, true)
		d.wake()
	}
	return delivered
}

// report logs that nothing is deferred any more, unless the store has reported all of it.
func (d *Invalidations) report() {
	d.mu.Lock()
	if len(d.keys)+len(d.bypassed) > 0 || d.outage.began.IsZero() {
		d.mu.Unlock()
		return
	}
	was := d.outage
	d.outage, d.failure = outage{}, nil
	d.mu.Unlock()
	took := time.Since(was.began).Round(time.Millisecond)
	switch {
	case was.expired > 0:
		d.Logger.Warn("invalidations delivered, but for some whose values have expired meanwhile", "delivered", was.delivered, "expired", was.expired, "after", took)
	case was.delivered > 0:
		d.Logger.Info("invalidations delivered", "delivered", was.delivered, "after", took)
	}
}

// delivery is one key of a round.
type delivery struct {
	key    string
	hold   time.Duration
	number uint64
	round  uint64
}

// deliver repeats everything that is deferred once. It begins with a single key, and goes on with few until one was delivered: a
// store that does not answer must not have its connection filled with thousands. reported says that the store will report how
// many were delivered.
func (d *Invalidations) deliver(ctx context.Context, reported bool) (delivered int) {
	due, round := d.due()
	size, failures := 1, 0
	for len(due) > 0 && failures < probes && ctx.Err() == nil {
		n := 1
		for n < min(size, len(due)) && due[n].hold == due[0].hold {
			n++
		}
		if done := d.deliverBatch(ctx, due[:n], round, reported); done > 0 {
			delivered, size, failures = delivered+done, batchKeys, 0
		} else {
			failures++
			size = min(size*10, 100)
		}
		due = due[n:]
	}
	return delivered
}

// due returns what is to be repeated: first what was not tried for longest, and else in no order, so that keys of an unavailable
// node do not keep others from theirs; by their holds, since a batch has one. It forgets what has outlived the values that it is
// about.
func (d *Invalidations) due() (due []delivery, round uint64) {
	d.mu.Lock()
	d.round++
	round = d.round
	now := time.Now()
	for key, in := range d.keys {
		if now.Sub(in.failed) > in.cache.expiry() {
			d.drop(key)
			d.outage.expired++
			continue
		}
		due = append(due, delivery{key, in.hold, in.number, in.round})
	}
	d.mu.Unlock() // reads ask for it
	slices.SortFunc(due, func(a, b delivery) int {
		return cmp.Or(cmp.Compare(a.round, b.round), cmp.Compare(a.hold, b.hold))
	})
	return due, round
}

// deliverBatch repeats some invalidations.
func (d *Invalidations) deliverBatch(ctx context.Context, batch []delivery, round uint64, reported bool) (delivered int) {
	keys := make([]string, len(batch))
	for i, in := range batch {
		keys[i] = in.key
	}
	ctx, cancel := context.WithTimeout(ctx, d.WriteBudget)
	defer cancel()
	outcomes := d.Store.Invalidate(ctx, keys, batch[0].hold)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, o := range outcomes {
		if o.Err != nil {
			d.failure = o.Err
			if in := d.keys[keys[i]]; in != nil {
				in.round = round
			}
			continue
		}
		delivered++
		if d.remove(keys[i], batch[i].number) {
			d.repeated.Add(1)
			if !reported {
				d.outage.delivered++
			}
		}
	}
	return delivered
}

// ErrUnavailable says that the database is written and that the cache could not be invalidated.
var ErrUnavailable = errors.New("the cache could not be told")

// Drain delivers until nothing is deferred or ctx ends. Its error says what is left, and wraps ErrUnavailable.
func (d *Invalidations) Drain(ctx context.Context) error {
	for pause := firstPause; !d.Idle() && ctx.Err() == nil; pause = min(2*pause, lastPause) {
		d.deliver(ctx, false)
		d.sweepOnce(ctx)
		if d.Idle() || !d.rest(ctx, pause) {
			break
		}
	}
	left, cause := d.left()
	if len(left) == 0 {
		d.report()
		return nil
	}
	return fmt.Errorf("%s: %w: %w; old values may be served until their TTL", strings.Join(left, "; "), ErrUnavailable, cmp.Or(cause, context.Cause(ctx)))
}

// left says what is deferred, and why it was not delivered. Of the keys it names the one that failed first.
func (d *Invalidations) left() (texts []string, cause error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.keys); n > 0 {
		what := "invalidations"
		if n == 1 {
			what = "invalidation"
		}
		first := slices.MinFunc(slices.Collect(maps.Keys(d.keys)), func(a, b string) int {
			return cmp.Compare(d.keys[a].number, d.keys[b].number)
		})
		texts = append(texts, fmt.Sprintf("%d %s could not be delivered, such as %.100q", n, what, first))
	}
	for c := range d.bypassed {
		texts = append(texts, fmt.Sprintf("those of the keys %q were too many to be kept, and a sweep was not finished", c.Glob))
	}
	return texts, d.failure
}
