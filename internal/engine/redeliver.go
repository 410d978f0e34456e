package engine

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

const (
	firstRepeat = 50 * time.Millisecond // before the first repetition
	lastRepeat  = 2 * time.Second
	repeatBatch = 1000 // keys at once
	probes      = 3    // batches that may fail as a whole until the next round: of 1, 10 and 100 keys
)

// keep has an invalidation that failed repeated until it is delivered, and the key read past the store until then.
func (s *Shared) keep(sp *space, key string, hold time.Duration, failure error) {
	most := s.MaxPending
	if most <= 0 {
		most = defaultMaxPending
	}
	n := s.pending.add(sp, key, hold, failure, most)
	if n.first {
		s.Logger.Warn("invalidations could not be delivered and are kept: their keys are read past the store until they are", "key", key, "error", failure)
	}
	if n.overflow {
		s.Logger.Warn("more invalidations could not be delivered than are kept: a cache is read past the store until all of it is invalidated",
			"keys", sp.glob, "kept", most)
	}
	if n.deliver {
		s.spawn(s.redeliver)
	}
	if n.sweep {
		s.spawn(s.sweepAll)
	}
}

// redeliver repeats what is pending until nothing is, or the client is closed.
func (s *Shared) redeliver() {
	p := &s.pending
	for pause := firstRepeat; ; pause = min(2*pause, lastRepeat) {
		if !p.rest(s.ctx, pause) {
			return // Close goes on
		}
		if s.deliver(s.ctx, false) > 0 {
			pause = firstRepeat / 2
		}
		p.mu.Lock()
		if len(p.keys) == 0 {
			p.delivering = false
			p.mu.Unlock()
			s.report()
			return
		}
		p.mu.Unlock()
	}
}

// rest waits for about d, with jitter so that the processes of a fleet do not come together, or until something was
// delivered otherwise. False: ctx has ended.
func (p *pending) rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d/2 + rand.N(d/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// recovered is called by the store when it answers again, before reads are let through. The store tells what was repeated.
func (s *Shared) recovered(ctx context.Context) (repeated int) {
	if s.pending.some.Load() != 0 {
		repeated = s.deliver(ctx, true)
		s.pending.rouse()
	}
	return repeated
}

// report says that nothing is pending any more, unless the store has told all of it.
func (s *Shared) report() {
	p := &s.pending
	p.mu.Lock()
	if len(p.keys)+len(p.over) > 0 || p.spell.began.IsZero() {
		p.mu.Unlock()
		return
	}
	was := p.spell
	p.spell, p.failure = spell{}, nil
	p.mu.Unlock()
	took := time.Since(was.began).Round(time.Millisecond)
	switch {
	case was.expired > 0:
		s.Logger.Warn("invalidations delivered, but for some whose values have expired meanwhile", "delivered", was.delivered, "expired", was.expired, "after", took)
	case was.delivered > 0:
		s.Logger.Info("invalidations delivered", "delivered", was.delivered, "after", took)
	}
}

// delivery is one key of a round.
type delivery struct {
	key    string
	hold   time.Duration
	number uint64
	tried  uint64
}

// deliver repeats everything that is pending once. It begins with a single key, and goes on with few until one was
// delivered: a store that does not answer shall not have its connection filled with thousands. told: the store will say how
// many were delivered.
func (s *Shared) deliver(ctx context.Context, told bool) (delivered int) {
	due, round := s.pending.due()
	size, failures := 1, 0
	for len(due) > 0 && failures < probes && ctx.Err() == nil {
		n := 1
		for n < min(size, len(due)) && due[n].hold == due[0].hold {
			n++
		}
		if done := s.deliverBatch(ctx, due[:n], round, told); done > 0 {
			delivered, size, failures = delivered+done, repeatBatch, 0
		} else {
			failures++
			size = min(size*10, 100)
		}
		due = due[n:]
	}
	return delivered
}

// due returns what is to be repeated: first what was not tried for longest, and else in no order, so that keys whose node
// is away do not keep others from theirs; by their holds, since a batch has one. What has outlived the values that it is
// about is forgotten.
func (p *pending) due() (due []delivery, round uint64) {
	p.mu.Lock()
	p.round++
	round = p.round
	now := time.Now()
	for key, k := range p.keys {
		if now.Sub(k.at) > k.space.life() {
			p.drop(key)
			p.spell.expired++
			continue
		}
		due = append(due, delivery{key, k.hold, k.number, k.tried})
	}
	p.mu.Unlock() // reads ask for it
	slices.SortFunc(due, func(a, b delivery) int {
		return cmp.Or(cmp.Compare(a.tried, b.tried), cmp.Compare(a.hold, b.hold))
	})
	return due, round
}

// deliverBatch repeats some invalidations.
func (s *Shared) deliverBatch(ctx context.Context, batch []delivery, round uint64, told bool) (delivered int) {
	keys := make([]string, len(batch))
	for i, d := range batch {
		keys[i] = d.key
	}
	ctx, cancel := context.WithTimeout(ctx, s.WriteBudget)
	defer cancel()
	outcomes := s.Store.Invalidate(ctx, keys, batch[0].hold)
	p := &s.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, o := range outcomes {
		if o.Err != nil {
			p.failure = o.Err
			if k := p.keys[keys[i]]; k != nil {
				k.tried = round
			}
			continue
		}
		delivered++
		if p.remove(keys[i], batch[i].number) {
			p.repeated.Add(1)
			if !told {
				p.spell.delivered++
			}
		}
	}
	return delivered
}

// drain repeats until nothing is pending or ctx ends, and then tells what is left.
func (s *Shared) drain(ctx context.Context) error {
	p := &s.pending
	for pause := firstRepeat; p.some.Load() != 0 && ctx.Err() == nil; pause = min(2*pause, lastRepeat) {
		s.deliver(ctx, false)
		s.sweepOnce(ctx)
		if p.some.Load() == 0 || !p.rest(ctx, pause) {
			break
		}
	}
	n, first, over := p.size()
	p.mu.Lock()
	cause := p.failure
	p.mu.Unlock()
	if n == 0 && len(over) == 0 {
		s.report()
		return nil
	}
	if cause == nil {
		cause = context.Cause(ctx)
	}
	var left []string
	if n > 0 {
		what := "invalidations"
		if n == 1 {
			what = "invalidation"
		}
		left = append(left, fmt.Sprintf("%d %s could not be delivered, such as %.100q", n, what, first))
	}
	for _, sp := range over {
		left = append(left, fmt.Sprintf("those of the keys %q were too many to be kept, and a sweep was not finished", sp.glob))
	}
	return fmt.Errorf("%s: %w: %w; old values may be served until their TTL", strings.Join(left, "; "), ErrUnavailable, cause)
}

// Recovery is what is pending, and what was.
type Recovery struct {
	Pending  int    // keys whose invalidation could not be delivered yet; they are read past the store
	Repeated uint64 // keys whose invalidation was delivered by repetition
	Past     int    // caches that are read past the store, since more failed than are kept
}

// Recovery counts the invalidations that could not be delivered at once.
func (s *Shared) Recovery() Recovery {
	s.pending.mu.Lock()
	defer s.pending.mu.Unlock()
	return Recovery{len(s.pending.keys), s.pending.repeated.Load(), len(s.pending.over)}
}
