// Package meter counts what a cache does: on the way of a read it costs a few nanoseconds.
package meter

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/hotkeys"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// Meter counts for one cache. The zero value is ready.
type Meter struct {
	counts  [tally.Counts]atomic.Uint64 // but of Near
	near    stripes
	latency [tally.Tiers]tally.Recorder
	hot     hotkeys.Recorder
	cost    cost // of a load

	mu     sync.Mutex // guards the rest
	spared uint64     // reads whose loads are in saved already
	saved  time.Duration
}

// Add counts one. Near hits are counted by NearHit.
func (m *Meter) Add(c tally.Count) { m.counts[c].Add(1) }

// AddN counts n.
func (m *Meter) AddN(c tally.Count, n int) { m.counts[c].Add(uint64(n)) }

// Count returns how many were counted; not of Near.
func (m *Meter) Count(c tally.Count) uint64 { return m.counts[c].Load() }

// nearSample is of how many near hits one is examined. To record a key takes as long as ten hits.
const nearSample = 256

// Hit is a hit in the in-process cache that was counted.
type Hit struct {
	at *stripe
	n  uint64
}

// NearHit counts a hit in the in-process cache, at the price of one add to a striped counter. due is true for about one of 256
// hits: the caller then asks hit whether it is Chosen.
func (m *Meter) NearHit() (hit Hit, due bool) { // small enough to be inlined
	at, n := m.near.add()
	return Hit{at, n}, n >= at.next.Load()
}

// Chosen reports whether the caller is the one to examine its hit, and to call NearSampled.
func (h Hit) Chosen() bool { return h.at.chosen(h.n, nearSample) }

// NearSampled records the key of a near hit that is Chosen, unless it is empty, and how long such a hit takes.
func (m *Meter) NearSampled(key string, took time.Duration) {
	if key != "" {
		m.hot.Record(key, nearSample)
	}
	m.latency[tally.NearTier].Record(took)
}

// Answered counts a read of key by where its answer came from; not of near hits.
func (m *Meter) Answered(from tally.Count, key string) {
	if hotkeys.Chosen(m.counts[from].Add(1)) {
		m.hot.Record(key, hotkeys.Sample)
	}
}

// StoreTook records a read of the store that began at a time and ends now, and returns how long it took. A store that is
// unavailable is not asked: it refuses in some nanoseconds, which would look like a fast answer.
func (m *Meter) StoreTook(began time.Time, err error) time.Duration {
	if errors.Is(err, store.ErrAway) {
		return 0
	}
	took := time.Since(began)
	m.latency[tally.StoreTier].Record(took)
	return took
}

// LoadTook records how long a call of the loader took that returned.
func (m *Meter) LoadTook(d time.Duration) {
	m.cost.add(d)
	m.latency[tally.LoadTier].Record(d)
}

// LoadFailed counts a load that failed.
func (m *Meter) LoadFailed(err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		m.Add(tally.LoadTimeout)
	} else {
		m.Add(tally.LoadError)
	}
}

// RefreshDue decides whether a value that stays fresh for this long is loaded anew now.
func (m *Meter) RefreshDue(left time.Duration, eagerness float64) bool {
	return m.cost.due(left, eagerness)
}

// HotKeys returns the n keys that were read most since it was last called, the hottest first.
func (m *Meter) HotKeys(n int) []hotkeys.Key { return m.hot.Take(n) }

// Tally returns all counts. The time that was saved is that of a load of now for each read since it was last called.
func (m *Meter) Tally() (t tally.Tally) {
	for c := range t.Counts {
		t.Counts[c] = m.counts[c].Load()
	}
	t.Counts[tally.Near] = m.near.sum()
	for i := range t.Latency {
		t.Latency[i] = m.latency[i].Histogram()
	}
	spared := t.Counts[tally.Near] + t.Counts[tally.Store] + t.Counts[tally.Stale] + t.Counts[tally.Negative]
	m.mu.Lock()
	defer m.mu.Unlock()
	if mean := m.cost.mean.Load(); spared > m.spared && mean > 0 {
		m.saved += time.Duration(spared-m.spared) * time.Duration(mean)
		m.spared = spared
	}
	t.Counts[tally.SavedMicros] = uint64(m.saved / time.Microsecond)
	return t
}
