package engine

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

// Meter is what is read of a cache for statistics.
type Meter interface {
	Stats() Stats
	// Tally is all that the cache counts.
	Tally() tally.Tally
	// HotKeys returns the n keys that were read most since it was last called.
	HotKeys(n int) []hotkeys.Key
}

// meter counts. What a hit in the process costs is one add to a striped counter; of 256 such hits one is looked at: which key it is,
// and how long it takes.
type meter struct {
	counts  [tally.Counts]atomic.Uint64 // but of Near
	near    stripes
	latency [tally.Tiers]tally.Recorder
	hot     hotkeys.Recorder
	cost    cost // of a load

	mu     sync.Mutex // guards the rest
	spared uint64     // reads whose loads are in saved already
	saved  time.Duration
}

func (m *meter) add(c tally.Count) { m.counts[c].Add(1) }

func (m *meter) addN(c tally.Count, n int) { m.counts[c].Add(uint64(n)) }

// answered counts a read by where its answer came from. Those from near count themselves.
func (m *meter) answered(s Source, key string) {
	c := tally.Error
	switch s {
	case Store:
		c = tally.Store
	case Load:
		c = tally.Load
	case Stale:
		c = tally.Stale
	case Negative:
		c = tally.Negative
	}
	if hotkeys.Chosen(m.counts[c].Add(1)) {
		m.hot.Record(key, hotkeys.Sample)
	}
}

// loaded counts how the load of a key ended.
func (m *meter) loaded(err error) {
	switch {
	case err == nil:
		m.add(tally.LoadOK)
	case errors.Is(err, ErrNotFound):
		m.add(tally.LoadNotFound)
	case errors.Is(err, context.DeadlineExceeded):
		m.add(tally.LoadTimeout)
	default:
		m.add(tally.LoadError)
	}
}

// waited counts how long a read of the store took that began at a time, and returns it. A store that is away is not
// asked, in some nanoseconds that would look like a fast one.
func (m *meter) waited(began time.Time, err error) time.Duration {
	if errors.Is(err, store.ErrAway) {
		return 0
	}
	took := time.Since(began)
	m.latency[tally.StoreTier].Record(took)
	return took
}

// took counts how long a call of the loader took.
func (m *meter) took(d time.Duration) {
	m.cost.add(d)
	m.latency[tally.LoadTier].Record(d)
}

// tally returns all counts. The time that was saved is that of a load of now for each read since it was last asked.
func (m *meter) tally() (t tally.Tally) {
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

// HotKeys returns the n keys that were read most since it was last called, the hottest first.
func (c *Cache[K, V]) HotKeys(n int) []hotkeys.Key { return c.count.hot.Take(n) }

// Tally returns all that the cache counts.
func (c *Cache[K, V]) Tally() tally.Tally { return c.count.tally() }

// Stats returns the counters of now.
func (c *Cache[K, V]) Stats() Stats {
	t := c.count.tally()
	n := &t.Counts
	s := Stats{
		Near: n[tally.Near], Store: n[tally.Store], Load: n[tally.Load], Stale: n[tally.Stale], Negative: n[tally.Negative], Errors: n[tally.Error],
		Loads: n[tally.LoadOK], LoadsAbsent: n[tally.LoadNotFound], LoadErrors: n[tally.LoadError] + n[tally.LoadTimeout], LoadTimeouts: n[tally.LoadTimeout],
		Early: n[tally.Early], Coalesced: n[tally.CoalescedProcess], CoalescedFleet: n[tally.CoalescedFleet], Saved: t.Saved(),
		Unfilled: n[tally.Unfilled], TooLarge: n[tally.TooLarge], CodecErrors: n[tally.CodecError], StoreErrors: n[tally.StoreError],
		Invalidated: n[tally.ByInvalidate], Written: n[tally.ByUpdate] + n[tally.ByMutate] + n[tally.BySet],
		Updated: n[tally.ByUpdate], Mutated: n[tally.ByMutate], Set: n[tally.BySet], WritesBehind: n[tally.Behind],
		Pushed: n[tally.ByPush], PushesLost: n[tally.ByLost], BytesRead: n[tally.BytesRead], BytesWritten: n[tally.BytesWritten],
		Dropped: n[tally.Dropped], Reread: n[tally.Reread], WritesInDoubt: n[tally.InDoubt],
		NearLatency: t.Latency[tally.NearTier], StoreLatency: t.Latency[tally.StoreTier], LoadLatency: t.Latency[tally.LoadTier],
	}
	if c.near != nil {
		s.NearEntries, s.NearBytes = c.near.Len(), c.near.Bytes()
	}
	return s
}
