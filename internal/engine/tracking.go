package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/near"
	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
)

// The in-process caches of a client are kept right by the store's pushes: one goroutine has the store track what is read, and
// each push drops its key from all of them.

// tiers are what all caches of a client have in common of their tiers in the process.
type tiers struct {
	clock *near.Clock
	began atomic.Bool                // the clock runs
	asked atomic.Bool                // tracking is begun
	track atomic.Pointer[trackingOf] // nil until the store tells of changes
	tells chan struct{}              // closed when it does for the first time
	all   atomic.Pointer[[]tier]     // replaced as a whole

	why atomic.Pointer[error] // there is no tracking

	shared []tier // those that divide NearBytes; guarded by Shared.mu
}

type trackingOf struct{ store.Tracking }

// tier is a near tier, whatever its types are.
type tier interface {
	changed(text string)
	lost()
	Clear()
	SetBytes(n uint64)
}

// tracking returns what tells of changes; nil while nothing does. The first who asks begins it: it has a connection of its
// own to each server.
func (s *Shared) tracking() store.Tracking {
	if s.near.asked.CompareAndSwap(false, true) {
		s.spawn(s.keepTracking)
	}
	if t := s.near.track.Load(); t != nil {
		return t.Tracking
	}
	return nil
}

// trackingStarted returns a channel that is closed when the store begins to send pushes; nil if it does already.
func (s *Shared) trackingStarted() <-chan struct{} {
	if s.near.track.Load() != nil {
		return nil
	}
	return s.near.tells
}

// How long after a failure the store is asked again to tell of changes: longer each time, unless it is away, which it says
// at once.
const (
	firstRetryTracking = 250 * time.Millisecond
	lastRetryTracking  = 10 * time.Second
)

// keepTracking has the store tell of changes, and tries again until it does.
func (s *Shared) keepTracking() {
	said := false
	for pause := firstRetryTracking; s.ctx.Err() == nil; {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		t, err := s.Store.Track(ctx, s.changed, s.lost)
		cancel()
		if err == nil {
			s.near.track.Store(&trackingOf{t})
			close(s.near.tells)
			if s.near.why.Swap(nil) != nil && said {
				s.Logger.Info("values are kept near: the store tells of changes")
			}
			<-s.ctx.Done()
			s.near.track.Store(nil)
			t.Close()
			return
		}
		wait := pause
		if errors.Is(err, store.ErrAway) { // which is said elsewhere
			wait = firstRetryTracking
		} else {
			pause = min(2*pause, lastRetryTracking)
			if !said && s.ctx.Err() == nil && s.near.began.Load() {
				said = true
				s.Logger.Warn("nothing is kept near: the store does not tell of changes", "error", err)
			}
			s.near.why.Store(&err)
		}
		retry.Sleep(s.ctx, wait)
	}
}

// Problems are those of the store and of the caches, and why nothing is kept near, if a cache has a near tier.
func (s *Shared) Problems() []string {
	ps := s.Store.Problems()
	s.mu.Lock()
	ails := s.ails
	s.mu.Unlock()
	for _, a := range ails {
		ps = append(ps, a.problems()...)
	}
	if why := s.near.why.Load(); why != nil && s.near.began.Load() {
		ps = append(ps, fmt.Sprintf("nothing is kept near: the store does not tell of changes: %v", *why))
	}
	return ps
}

// changed drops a key from all tiers. It is called in the order of the store's answers, and must not wait.
func (s *Shared) changed(key string) {
	if all := s.near.all.Load(); all != nil {
		for _, t := range *all {
			t.changed(key)
		}
	}
}

// lost ends what all tiers hold: changes may have been missed.
func (s *Shared) lost() {
	all := s.near.all.Load()
	if all == nil {
		return
	}
	for _, t := range *all {
		t.lost()
	}
	clear := func() {
		for _, t := range *all {
			t.Clear()
		}
	}
	if !s.spawn(clear) { // closed: nothing is to be served any more
		clear()
	}
}
