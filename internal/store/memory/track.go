package memory

import (
	"context"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// trackers are those who are told of changes.
type trackers struct {
	mu   sync.RWMutex
	list []*tracking
}

// tracking tells of every change: the store is in the process, so there is no need to know who has read what.
type tracking struct {
	*Store
	changed func(key string)
	lost    func()
}

// Track tells of changes of values by anybody, before whoever makes them is answered. What expires or is evicted is not told
// of: nobody has changed it. A sweep calls lost instead: its keys may be kept elsewhere though they were evicted here.
func (s *Store) Track(_ context.Context, changed func(key string), lost func()) (store.Tracking, error) {
	t := &tracking{s, changed, lost}
	s.trackers.mu.Lock()
	defer s.trackers.mu.Unlock()
	s.trackers.list = append(s.trackers.list, t)
	return t, nil
}

// tell is called when no shard is locked.
func (s *Store) tell(key string) {
	s.trackers.mu.RLock()
	defer s.trackers.mu.RUnlock()
	for _, t := range s.trackers.list {
		t.changed(key)
	}
}

// tellSwept is tell for a sweep.
func (s *Store) tellSwept() {
	s.trackers.mu.RLock()
	defer s.trackers.mu.RUnlock()
	for _, t := range s.trackers.list {
		t.lost()
	}
}

// Absences looks at the sidecars of keys. Whatever ends an absence tells of its key.
func (t *tracking) Absences(ctx context.Context, keys []string) []time.Duration {
	out := make([]time.Duration, len(keys))
	if t.ready(ctx) != nil {
		return out
	}
	for i, key := range keys {
		now, sh := t.now(), t.shard(key)
		sh.mu.Lock()
		if e := sh.live(key, now); e != nil && !e.found && e.side.is(absent) {
			out[i] = e.side.left(now)
		}
		sh.mu.Unlock()
	}
	return out
}

// Await is not there: processes do not share this store, so nobody waits for another.
func (t *tracking) Await(context.Context, []string) (<-chan struct{}, func(), error) {
	return nil, nil, store.ErrNoPush
}

// Close ends the telling.
func (t *tracking) Close() {
	s := t.Store
	s.trackers.mu.Lock()
	defer s.trackers.mu.Unlock()
	for i, other := range s.trackers.list {
		if other == t {
			s.trackers.list = append(s.trackers.list[:i:i], s.trackers.list[i+1:]...)
			return
		}
	}
}
