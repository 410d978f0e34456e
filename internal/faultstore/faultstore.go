// Package faultstore is a memory store that can be made to fail, and to come back, for the tests of users (package nearsidetest).
package faultstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
)

// errBroken says, as Redis' store does, that nobody was asked.
var errBroken = fmt.Errorf("the store was made to fail by its test: %w", store.ErrAway)

// Store is a memory store. While it is broken it keeps what it holds, as a Redis does that was cut off.
type Store struct {
	*memory.Store
	broken atomic.Bool

	mu        sync.Mutex // guards the rest; while it is held nothing is called
	recovered func(context.Context) int
	lost      map[*tracking]func()
}

// New returns an empty store that is whole.
func New() *Store {
	s := &Store{lost: make(map[*tracking]func())}
	s.Store = memory.New(memory.Options{Refuse: func(ctx context.Context) error {
		if s.broken.Load() && ctx.Value(through{}) != s {
			return errBroken
		}
		return nil
	}})
	return s
}

// Break has every verb fail from now on. Those who are told of changes hear that they may have missed some.
func (s *Store) Break() {
	if s.broken.Swap(true) {
		return
	}
	s.mu.Lock()
	var lost []func()
	for _, f := range s.lost {
		lost = append(lost, f)
	}
	s.mu.Unlock()
	for _, f := range lost {
		f()
	}
}

// through is the key of a context whose verbs are let through before the store is mended.
type through struct{}

// Mend has the store answer again, behind what Recovered has named.
func (s *Store) Mend() {
	s.mu.Lock()
	recovered := s.recovered
	s.mu.Unlock()
	if s.broken.Load() && recovered != nil {
		recovered(context.WithValue(context.Background(), through{}, s))
	}
	s.broken.Store(false)
}

// Recovered has f called by Mend.
func (s *Store) Recovered(f func(context.Context) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recovered = f
}

// Track tells of changes. While the store is broken it does not begin.
func (s *Store) Track(ctx context.Context, changed func(string), lost func()) (store.Tracking, error) {
	if err := s.Ping(ctx); err != nil {
		return nil, err
	}
	whole, err := s.Store.Track(ctx, changed, lost)
	if err != nil {
		return nil, err
	}
	t := &tracking{whole, s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[t] = lost
	return t, nil
}

type tracking struct {
	store.Tracking
	s *Store
}

// Close ends it.
func (t *tracking) Close() {
	t.s.mu.Lock()
	delete(t.s.lost, t)
	t.s.mu.Unlock()
	t.Tracking.Close()
}
