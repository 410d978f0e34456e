package fleetstats

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/tally"
)

// counts returns the counts of a tally as the public type.
func counts(t *tally.Tally) fleet.Counts {
	n := &t.Counts
	return fleet.Counts{
		Near: n[tally.Near], Store: n[tally.Store], Load: n[tally.Load], Stale: n[tally.Stale], Negative: n[tally.Negative], Errors: n[tally.Error],
		LoadsOK: n[tally.LoadOK], LoadsAbsent: n[tally.LoadNotFound], LoadsFailed: n[tally.LoadError], LoadsTimedOut: n[tally.LoadTimeout],
		Early: n[tally.Early], Coalesced: n[tally.CoalescedProcess], CoalescedFleet: n[tally.CoalescedFleet],
		Saved:       time.Duration(min(n[tally.SavedMicros], math.MaxInt64/1000)) * time.Microsecond,
		Invalidated: n[tally.ByInvalidate], Updated: n[tally.ByUpdate], Mutated: n[tally.ByMutate], Set: n[tally.BySet],
		Pushed: n[tally.ByPush], PushesLost: n[tally.ByLost], BytesRead: n[tally.BytesRead], BytesWritten: n[tally.BytesWritten],
		Unfilled: n[tally.Unfilled], TooLarge: n[tally.TooLarge], CodecErrors: n[tally.CodecError], StoreErrors: n[tally.StoreError],
		WritesDeferred: n[tally.Deferred], WritesInDoubt: n[tally.InDoubt], Dropped: n[tally.Dropped], Reread: n[tally.Reread],
	}
}

// setWindow sets the counts and latencies of a window.
func setWindow(w *fleet.Window, t *tally.Tally) {
	w.Counts = counts(t)
	w.NearLatency = Histogram(&t.Latency[tally.NearTier])
	w.StoreLatency = Histogram(&t.Latency[tally.StoreTier])
	w.LoadLatency = Histogram(&t.Latency[tally.LoadTier])
}

// Histogram returns a histogram as the public type.
func Histogram(h *tally.Histogram) (out fleet.Histogram) {
	for bucket, n := range h {
		if n > 0 {
			out.Add(tally.Middle(bucket), n)
		}
	}
	return out
}

func quantiles(t *tally.Tally, tier tally.Tier) fleet.Quantiles {
	return fleet.Quantiles{P50: t.Latency[tier].Quantile(0.5), P99: t.Latency[tier].Quantile(0.99)}
}

// finish sorts the members of a view, and adds to its caches what the members say of them, and the sums.
func finish(v *fleet.View) {
	slices.SortFunc(v.Members, func(a, b fleet.Member) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), cmp.Compare(a.PID, b.PID), strings.Compare(a.ID, b.ID))
	})
	for i := range v.Caches {
		c := &v.Caches[i]
		for j := range v.Members {
			m := &v.Members[j]
			own, ok := m.Caches[c.Name]
			if !ok || !m.Alive(v.At) {
				continue
			}
			c.NearEntries += own.NearEntries
			c.NearBytes += own.NearBytes
			if own.Config != "" {
				if c.Configs == nil {
					c.Configs = make(map[string][]string)
				}
				c.Configs[own.Config] = append(c.Configs[own.Config], m.ID)
			}
		}
		v.Now.Add(&c.Now)
		v.Hour.Add(&c.Hour)
		v.Day.Add(&c.Day)
	}
}
