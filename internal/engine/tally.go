package engine

import "github.com/nearside/nearside/internal/tally"

// Tally returns the counters in the words of package tally, as far as they are counted.
func (s Stats) Tally() (t tally.Tally) {
	for c, n := range map[tally.Count]uint64{
		tally.Near: s.Near, tally.Store: s.Store, tally.Load: s.Load, tally.Stale: s.Stale, tally.Negative: s.Negative, tally.Error: s.Errors,
		tally.LoadOK: s.Loads, tally.LoadNotFound: s.LoadsAbsent, tally.LoadError: s.LoadErrors, tally.Early: s.Early,
		tally.CoalescedProcess: s.Coalesced,
		tally.ByInvalidate:     s.Invalidated, tally.ByUpdate: s.Written,
		tally.Unfilled: s.Unfilled, tally.TooLarge: s.TooLarge, tally.CodecError: s.CodecErrors, tally.StoreError: s.StoreErrors, tally.Behind: s.WritesBehind,
	} {
		t.Counts[c] = n
	}
	return t
}
