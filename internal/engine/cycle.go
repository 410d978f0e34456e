package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A loader may read caches, its own too. If what it reads waits for what it loads, all of them would wait until LoadTimeout. So
// this process knows which load waits for which key: a loader's context is its attempt, and a read with such a context is
// noted while it waits for a call. A read that would close a circle fails at once.
//
// Only reads of loaders are noted. A read of the application, a hit, and a load that reads no cache cost nothing.
//
// A load that waits holds its place among MaxLoads, and works for nobody meanwhile. What it waits for runs on that place, if it
// is a load of the same cache: else loads that wait for others of their cache would hold all places, and none could begin.

// resource is a key that is being loaded.
type resource struct {
	of  *Cache
	key string
}

// loadingKey is the key of the loading in the context of a loader.
type loadingKey struct{}

// loadingOf returns the load whose loader reads with ctx; nil if the application reads.
func loadingOf(ctx context.Context) *attempt {
	l, _ := ctx.Value(loadingKey{}).(*attempt)
	return l
}

// waitList says which loads of this process wait for which keys.
type waitList struct {
	some atomic.Int64 // entries of by

	mu     sync.Mutex
	by     map[resource][]*attempt
	places map[resource][]*queued // the loads that wait for a place, by each of their keys
}

var waits = waitList{by: make(map[resource][]*attempt), places: make(map[resource][]*queued)}

// enter notes that l waits for a key, until leave. The error wraps ErrCycle and names the circle that this would close.
func (w *waitList) enter(l *attempt, r resource) error {
	w.mu.Lock()
	if circle := w.circle(l, r); circle != nil {
		w.mu.Unlock()
		return fmt.Errorf("%w: %s", ErrCycle, strings.Join(circle, " -> "))
	}
	w.by[r] = append(w.by[r], l)
	w.some.Add(1)
	var free []*queued
	if len(w.places) > 0 {
		for _, r := range w.ahead(r) {
			if len(w.places[r]) > 0 && w.placedBehind(r) {
				free = append(free, w.places[r]...)
			}
		}
	}
	w.mu.Unlock()
	for _, q := range free {
		q.give(lent)
	}
	return nil
}

func (w *waitList) leave(l *attempt, r resource) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if removed(w.by, r, l) {
		w.some.Add(-1)
	}
}

// queue notes a load that waits for a place. It returns true if a load that holds a place waits for it already.
func (w *waitList) queue(q *queued) (lend bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range q.load.keys() {
		r := resource{q.load.c, key}
		w.places[r] = append(w.places[r], q)
		lend = lend || w.some.Load() > 0 && w.placedBehind(r)
	}
	return lend
}

func (w *waitList) unqueue(q *queued) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range q.load.keys() {
		removed(w.places, resource{q.load.c, key}, q)
	}
}

// removed takes x out of a list, once.
func removed[T comparable](m map[resource][]T, r resource, x T) bool {
	list := m[r]
	i := slices.Index(list, x)
	if i < 0 {
		return false
	}
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(m, r)
	} else {
		m[r] = list
	}
	return true
}

// ahead returns r and all that its load waits for, by way of others. w.mu is held.
func (w *waitList) ahead(r resource) []resource {
	found := []resource{r}
	seen := map[resource]bool{r: true}
	for i := 0; i < len(found); i++ {
		for next, ls := range w.by {
			if !seen[next] && slices.ContainsFunc(ls, func(l *attempt) bool { return l.covers(found[i].of, found[i].key) }) {
				seen[next] = true
				found = append(found, next)
			}
		}
	}
	return found
}

// step is a load that waits, by way of others, for the one that was asked about.
type step struct {
	load *attempt
	key  string // that it waits for
	next *step  // whose load has that key; nil: the one that was asked about
}

// behind calls visit for each load that waits for one of the keys of l, or for a load that does, until it returns false. w.mu
// is held.
func (w *waitList) behind(of *Cache, keys []string, visit func(*step) bool) {
	var queue []*step
	seen := make(map[*attempt]bool)
	add := func(of *Cache, keys []string, next *step) bool {
		for _, key := range keys {
			for _, l := range w.by[resource{of, key}] {
				if seen[l] {
					continue
				}
				seen[l] = true
				s := &step{l, key, next}
				if !visit(s) {
					return false
				}
				queue = append(queue, s)
			}
		}
		return true
	}
	for more := add(of, keys, nil); more && len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		more = add(s.load.c, s.load.keys(), s)
	}
}

// circle returns the keys of the circle that a wait of l for r would close; nil: none. w.mu is held.
func (w *waitList) circle(l *attempt, r resource) (keys []string) {
	if l.covers(r.of, r.key) {
		return []string{r.key, r.key}
	}
	w.behind(l.c, l.keys(), func(s *step) bool {
		if !s.load.covers(r.of, r.key) {
			return true
		}
		for keys = []string{r.key}; s != nil; s = s.next {
			keys = append(keys, s.key)
		}
		keys = append(keys, r.key)
		return false
	})
	return keys
}

// placedBehind reports whether a load that holds a place in the cache of r waits for it. w.mu is held.
func (w *waitList) placedBehind(r resource) (found bool) {
	w.behind(r.of, []string{r.key}, func(s *step) bool {
		found = s.load.c == r.of && s.load.placed()
		return !found
	})
	return found
}
