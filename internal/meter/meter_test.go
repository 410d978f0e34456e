package meter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// All near hits are counted, whatever stripe they fall on, and about one of nearSample is examined.
func TestNearHits(t *testing.T) {
	const each, readers = 100_000, 4
	var m Meter
	var sampled [readers]int
	var all sync.WaitGroup
	for i := range readers {
		all.Go(func() {
			for range each {
				if hit, due := m.NearHit(); due && hit.Chosen() {
					sampled[i]++
					m.NearSampled("a", time.Microsecond)
				}
			}
		})
	}
	all.Wait()
	n := 0
	for _, s := range sampled {
		n += s
	}
	c := m.Tally()
	want(t, "hits", c.Counts[tally.Near], readers*each)
	want(t, "latencies", c.Latency[tally.NearTier].N(), uint64(n))
	if expected := readers * each / nearSample; n < expected/2 || n > 2*expected {
		t.Errorf("%d hits were examined, want about %d", n, expected)
	}
	if hot := m.HotKeys(1); len(hot) != 1 || hot[0].Key != "a" {
		t.Errorf("hot keys: %+v", hot)
	}
}

// A store that is unavailable refuses in some nanoseconds, which must not look like a fast answer.
func TestRefusalsAreNoReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Meter
		began := time.Now()
		time.Sleep(time.Second)
		want(t, "a read", m.StoreTook(began, nil), time.Second)
		want(t, "one that failed", m.StoreTook(began, errors.New("broken")), time.Second)
		want(t, "one that was refused", m.StoreTook(began, fmt.Errorf("by the test: %w", store.ErrAway)), 0)
		n := m.Tally()
		want(t, "reads", n.Latency[tally.StoreTier].N(), 2)
	})
}

// What reads have saved is what loads took, by the mean at the time at which it is asked for.
func TestSaved(t *testing.T) {
	var m Meter
	saved := func() time.Duration { n := m.Tally(); return n.Saved() }
	m.Answered(tally.Store, "a")
	want(t, "before a load", saved(), 0)
	m.LoadTook(8 * time.Millisecond)
	want(t, "after a load", saved(), 8*time.Millisecond)
	m.LoadTook(16 * time.Millisecond) // the mean moves by an eighth
	m.Answered(tally.Negative, "a")
	m.Answered(tally.Stale, "a")
	m.Answered(tally.Load, "a")
	want(t, "two reads more", saved(), 26*time.Millisecond)
	want(t, "asked again", saved(), 26*time.Millisecond)
}

func TestLoads(t *testing.T) {
	var m Meter
	m.Add(tally.LoadOK)
	m.LoadFailed(errors.New("broken"))
	m.LoadFailed(fmt.Errorf("slow: %w", context.DeadlineExceeded))
	n := m.Tally().Counts
	want(t, "loads", n[tally.LoadOK], 1)
	want(t, "errors", n[tally.LoadError], 1)
	want(t, "timeouts", n[tally.LoadTimeout], 1)
}

// The nearer the end of a value's TTL and the more a load costs, the likelier a refresh.
func TestRefreshDue(t *testing.T) {
	var m Meter
	want(t, "before a load", m.RefreshDue(time.Nanosecond, 1), false)
	m.LoadTook(100 * time.Millisecond)
	share := func(left time.Duration) (n int) {
		for range 10_000 {
			if m.RefreshDue(left, 1) {
				n++
			}
		}
		return n
	}
	want(t, "far from the end", share(time.Hour), 0)
	for left, expected := range map[time.Duration]int{0: 10_000, 100 * time.Millisecond: 3679, 300 * time.Millisecond: 498} { // exp(-left/cost)
		if n := share(left); n < expected*8/10 || n > expected*12/10 {
			t.Errorf("%v before the end: %d of 10000 reads refresh, want about %d", left, n, expected)
		}
	}
}

// After failures in a row one refresh in a second is tried, until the database answers.
func TestLoadHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h LoadHealth
		h.Note(false)
		h.Note(false)
		want(t, "two failures", h.SkipRefresh(), false)
		h.Note(false)
		want(t, "three", h.SkipRefresh(), true)
		time.Sleep(refreshPause)
		want(t, "the first after a pause", h.SkipRefresh(), false)
		want(t, "the next one", h.SkipRefresh(), true)
		h.Note(true)
		want(t, "the database answers", h.SkipRefresh(), false)
	})
}
