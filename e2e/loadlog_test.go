package e2e

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// loadLog remembers when each key was loaded lately, by whomever, so that what a read takes can be told from what its
// loader takes.
type loadLog struct {
	mu   sync.Mutex
	keys map[string]*[8]*interval // the last ones, in no order
}

type interval struct{ began, ended time.Time } // ended is zero until it is over

// begin notes a load, until the returned function is called.
func (l *loadLog) begin(key string) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil {
		l.keys = make(map[string]*[8]*interval)
	}
	last := l.keys[key]
	if last == nil {
		last = new([8]*interval)
		l.keys[key] = last
	}
	oldest := 0
	for i, old := range last {
		if old == nil || last[oldest] != nil && old.began.Before(last[oldest].began) {
			oldest = i
		}
	}
	load := &interval{began: time.Now()}
	last[oldest] = load
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		load.ended = time.Now()
	}
}

// within returns for how much of a time the key was being loaded by anybody.
func (l *loadLog) within(key string, began, ended time.Time) (sum time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.keys[key]
	if last == nil {
		return 0
	}
	var parts []interval
	for _, load := range last {
		if load == nil {
			continue
		}
		p := interval{latest(load.began, began), ended}
		if !load.ended.IsZero() && load.ended.Before(ended) {
			p.ended = load.ended
		}
		if p.began.Before(p.ended) {
			parts = append(parts, p)
		}
	}
	return covered(parts)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// hits waits for the first hit from the store after a fault.
type hits struct {
	after atomic.Int64 // Unix nanoseconds; reads that began earlier do not count. Zero: nobody waits
	first atomic.Int64 // when the first hit was there
	wants atomic.Pointer[func(key string) bool]
}

// await begins to wait for a hit of one of the keys.
func (h *hits) await(after time.Time, wants func(key string) bool) {
	h.wants.Store(&wants)
	h.first.Store(0)
	h.after.Store(after.UnixNano())
}

func (h *hits) note(key string, began time.Time) {
	if after := h.after.Load(); after == 0 || began.UnixNano() < after || !(*h.wants.Load())(key) {
		return
	}
	h.first.CompareAndSwap(0, time.Now().UnixNano())
}

// took returns how long the first hit took; zero if there is none yet.
func (h *hits) took() time.Duration {
	if first := h.first.Load(); first > 0 {
		return time.Duration(first - h.after.Load())
	}
	return 0
}

// covered is the length of a union.
func covered(parts []interval) (sum time.Duration) {
	slices.SortFunc(parts, func(a, b interval) int { return a.began.Compare(b.began) })
	var until time.Time
	for _, p := range parts {
		if p.ended.After(until) {
			sum += p.ended.Sub(latest(p.began, until))
			until = p.ended
		}
	}
	return sum
}
