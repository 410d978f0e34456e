package engine

import (
	"context"
	"errors"
	"time"
)

// errNoGlob says that a cache's keys have no name that a store could look for.
var errNoGlob = errors.New("the cache has no glob of its keys")

// sweepAll sweeps the caches that are read past, until none is or the client is closed.
func (s *Shared) sweepAll() {
	p := &s.pending
	for pause := firstRepeat; p.rest(s.ctx, pause); pause = min(2*pause, lastRepeat) {
		if s.sweepOnce(s.ctx) {
			pause = firstRepeat / 2
		}
		p.mu.Lock()
		if len(p.over) == 0 {
			p.sweeping = false
			p.mu.Unlock()
			s.report()
			return
		}
		p.mu.Unlock()
	}
}

// sweepOnce sweeps each cache that is read past once. True: one of them at least is not any more.
func (s *Shared) sweepOnce(ctx context.Context) (some bool) {
	_, _, over := s.pending.size()
	for _, sp := range over {
		if s.sweep(ctx, sp) {
			some = true
		}
	}
	return some
}

// sweep invalidates all keys of a cache, and then has it read from the store again. What did not fit before the sweep began
// is covered by it, but for a load from a lagging replica: so it does not begin before the hold of the last one is over.
func (s *Shared) sweep(ctx context.Context, sp *space) bool {
	p := &s.pending
	p.mu.Lock()
	missed, now := sp.missed, time.Now()
	if !p.over[sp] || sp.sweeping {
		p.mu.Unlock()
		return false // another goroutine does it
	}
	if now.Sub(sp.missedAt) > sp.life() {
		p.swept(sp)
		p.mu.Unlock()
		s.Logger.Warn("a cache is read from the store again: what could not be invalidated has expired", "keys", sp.glob)
		return true
	}
	if now.Sub(sp.missedAt) < sp.hold {
		p.mu.Unlock()
		return false
	}
	sp.sweeping = true
	p.mu.Unlock()

	err := errNoGlob
	if sp.glob != "" {
		err = s.Store.Sweep(ctx, sp.glob, sp.ours)
	}

	p.mu.Lock()
	sp.sweeping = false
	done := err == nil && sp.missed == missed
	say := err != nil && !sp.said && ctx.Err() == nil
	if done {
		p.swept(sp)
	} else if err != nil {
		p.failure = err
		sp.said = sp.said || say
	}
	p.mu.Unlock()
	if done {
		s.Logger.Info("a cache is read from the store again: all of it is invalidated", "keys", sp.glob, "sweep", time.Since(now).Round(time.Millisecond))
	} else if say {
		s.Logger.Warn("a cache cannot be swept yet", "keys", sp.glob, "error", err)
	}
	return done
}

// swept has a cache read from the store again. p.mu is held.
func (p *pending) swept(sp *space) {
	delete(p.over, sp)
	sp.overflowed.Store(false)
	sp.said = false
	p.some.Add(-1)
}
