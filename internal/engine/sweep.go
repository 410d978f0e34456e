package engine

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nearside/nearside/internal/store"
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
	s.pending.mu.Lock()
	var hasty []*space // those to be emptied: in one run, if there are several
	rest := over[:0]
	for _, sp := range over {
		if sp.number != 0 && sp.glob != "" {
			hasty = append(hasty, sp)
		} else {
			rest = append(rest, sp)
		}
	}
	s.pending.mu.Unlock()
	if len(hasty) > 0 && s.sweep(ctx, hasty...) {
		some = true
	}
	for _, sp := range rest {
		if s.sweep(ctx, sp) {
			some = true
		}
	}
	return some
}

// sweep invalidates all keys of some caches, and then has them read from the store again. What did not fit before the sweep began
// is covered by it, but for a load from a lagging replica: so it does not begin before the hold of the last one is over. True:
// one of them at least is not read past any more.
func (s *Shared) sweep(ctx context.Context, sps ...*space) (some bool) {
	p := &s.pending
	began := time.Now()
	var due []*space
	var missed []uint64
	hasty := true
	p.mu.Lock()
	for _, sp := range sps {
		switch since := began.Sub(sp.missedAt); {
		case !p.over[sp] || sp.sweeping: // another goroutine does it
		case since > sp.life():
			told := p.swept(sp)
			some = true
			p.mu.Unlock()
			s.tellEmptied(sp, told)
			s.Logger.Warn("a cache is read from the store again: what could not be invalidated has expired", "keys", sp.glob)
			p.mu.Lock()
		case since < sp.hold:
		default:
			sp.sweeping = true
			due, missed = append(due, sp), append(missed, sp.missed)
			hasty = hasty && sp.number != 0
		}
	}
	p.mu.Unlock()
	if len(due) == 0 {
		return some
	}

	err := errNoGlob
	if due[0].glob != "" {
		err = s.sweepStore(ctx, due, hasty)
	}

	var globs []string
	for i, sp := range due {
		p.mu.Lock()
		sp.sweeping = false
		done := err == nil && sp.missed == missed[i] && p.over[sp]
		say := err != nil && !sp.said && ctx.Err() == nil
		told := uint64(0)
		if done {
			told = p.swept(sp)
		} else if err != nil {
			p.failure = err
			sp.said = sp.said || say
		}
		p.mu.Unlock()
		if done {
			some = true
			globs = append(globs, sp.glob)
			s.tellEmptied(sp, told)
		} else if say {
			s.Logger.Warn("a cache cannot be swept yet", "keys", sp.glob, "error", err)
		}
	}
	if len(globs) > 0 {
		s.Logger.Info("a cache is read from the store again: all of it is invalidated", "keys", strings.Join(globs, " "), "sweep", time.Since(began).Round(time.Millisecond))
	}
	return some
}

// swept has a cache read from the store again. It returns with which number the store is to be told; see emptied. p.mu is held.
func (p *pending) swept(sp *space) uint64 {
	delete(p.over, sp)
	sp.overflowed.Store(false)
	sp.said = false
	p.some.Add(-1)
	number := sp.number
	sp.number = 0
	return p.emptied(sp.glob, number)
}

// tellEmptied tells a store with a history that a cache was swept.
func (s *Shared) tellEmptied(sp *space, number uint64) {
	if h, ok := s.Store.(store.Historic); ok && number != 0 {
		h.Emptied(sp.glob, number)
	}
}
