package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// A store whose data set may have gone back in time (store.Historic) says which caches must not be read. One that is barred is
// bypassed as a key is whose invalidation is pending. One that must be emptied is bypassed until it was swept (sweep.go).
//
// A read that is under way when a cache is barred may be answered by the other data set. So each read of the store takes the
// epoch before it asks whether it may read (past), and does not use the answer if the epoch has changed.

// errOvertaken is the error of a read whose answer must not be used. It is not ErrAway: a claim may have been granted, and its
// lease is given back.
var errOvertaken = errors.New("the server was replaced while it was asked")

// keeper is the Shared that a store tells of its history.
type keeper struct{ *Shared }

// epoch is to be taken before past is asked, for stale.
func (p *pending) epoch() uint64 { return p.barred.Load() }

// overtaken reports whether the answer to a read must not be used: what was asked may have gone back in time since epoch.
func (p *pending) overtaken(epoch uint64) bool { return p.barred.Load() != epoch }

// register adds a cache to those that a store with a history can bar.
func (s *Shared) register(sp *space) {
	if h, ok := s.Store.(store.Historic); ok {
		s.pending.mu.Lock()
		s.pending.spaces = append(s.pending.spaces, sp)
		s.pending.mu.Unlock()
		h.Register(sp.glob) // which calls Bar, perhaps
	}
}

// of calls f for each cache with one of these globs. p.mu is held.
func (p *pending) of(globs []string, f func(*space)) {
	for _, sp := range p.spaces {
		if slices.Contains(globs, sp.glob) {
			f(sp)
		}
	}
}

// Bar implements store.Keeper.
func (s keeper) Bar(globs []string) {
	p := &s.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(globs, func(sp *space) {
		if !sp.barred.Swap(true) {
			p.some.Add(1)
		}
	})
	p.barred.Add(1) // behind the caches: who finds this number finds them barred
}

// Free implements store.Keeper.
func (s keeper) Free(globs []string) {
	p := &s.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(globs, func(sp *space) {
		if sp.barred.Swap(false) {
			p.some.Add(-1)
		}
	})
}

// Empty implements store.Keeper.
func (s keeper) Empty(globs []string, number uint64) {
	p := &s.pending
	p.mu.Lock()
	p.of(globs, func(sp *space) {
		p.bypass(sp, p.clock.Add(1), time.Now())
		sp.number, sp.emptying = number, sp.missed
	})
	p.barred.Add(1)
	begin := !p.sweeping && len(p.over) > 0
	p.sweeping = p.sweeping || begin
	p.mu.Unlock()
	s.Shared.lost() // what is kept near may be older, too
	if begin {
		s.spawn(func() {
			pauseFor(s.ctx, rand.N(emptyWithin)) // so that the first process spares others the work
			s.sweepAll()
		})
	}
}

// emptyWithin is how long processes wait at most before they begin to empty their caches, each for a time by chance.
const emptyWithin = 500 * time.Millisecond

// pauseFor waits for d, or until ctx ends.
func pauseFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Spare implements store.Keeper.
func (s keeper) Spare(globs []string, number uint64) {
	p := &s.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(globs, func(sp *space) {
		if p.over[sp] && sp.number == number && sp.missed == sp.emptying {
			p.swept(sp)
		}
	})
}

// leave ends all that a store's history has begun: at Close the caches are left to other processes, which know as much.
func (p *pending) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, sp := range p.spaces {
		if sp.barred.Swap(false) {
			p.some.Add(-1)
		}
		if p.over[sp] && sp.number != 0 && sp.missed == sp.emptying {
			p.swept(sp)
		}
	}
	p.spaces = nil
}

// emptied returns with which number the store is to be told that caches of a glob were swept; zero: it is not. p.mu is held.
func (p *pending) emptied(glob string, number uint64) uint64 {
	p.of([]string{glob}, func(sp *space) {
		if sp.number != 0 {
			number = 0 // another cache has such keys
		}
	})
	return number
}

// sweepStore sweeps caches in one run: in haste if they must be emptied.
func (s *Shared) sweepStore(ctx context.Context, sps []*space, hasty bool) error {
	glob, ours := sps[0].glob, sps[0].ours
	if len(sps) > 1 {
		glob, ours = "*", func(key string) bool {
			return slices.ContainsFunc(sps, func(sp *space) bool {
				return store.Match(sp.glob, key) && (sp.ours == nil || sp.ours(key))
			})
		}
	}
	if h, ok := s.Store.(store.Historic); ok && hasty {
		return h.Empty(ctx, glob, ours)
	}
	return s.Store.Sweep(ctx, glob, ours)
}
