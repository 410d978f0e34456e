package meter

import (
	"time"

	"github.com/nearside/nearside/internal/tally"
)

// Stats counts what a cache did since it was made.
type Stats struct {
	Near, Store, Load, Stale, Negative, Errors uint64 // reads by where their answer came from

	Loads          uint64 // calls of the loader that returned a value
	LoadsAbsent    uint64 // that said ErrNotFound
	LoadErrors     uint64 // that failed, those that took too long included
	LoadTimeouts   uint64 // that took longer than LoadTimeout
	Early          uint64 // loads begun because a value was about to be stale (Refresh)
	Coalesced      uint64 // reads that shared another one's load in this process
	CoalescedFleet uint64 // loads of other processes whose value this one waited for, in place of a load of its own
	// Saved is the time of the loader that was not spent: for each read that was answered without it, what a load takes by
	// the moving mean. Zero before the first load.
	Saved time.Duration

	Unfilled      uint64 // values that were loaded and served, but not stored: invalidated meanwhile, or the store was away
	TooLarge      uint64 // values above MaxValue: served, not stored
	CodecErrors   uint64 // values that could not be encoded, or did not decode and were loaded again
	StoreErrors   uint64 // reads of the store without an answer
	Invalidated   uint64 // keys invalidated by Invalidate
	Written       uint64 // keys written: the sum of the next three
	Updated       uint64 // by Update, and members by their writes
	Mutated       uint64 // by Mutate
	Set           uint64 // by Set
	WritesBehind  uint64 // writes that the store could not be told of
	WritesInDoubt uint64 // keys of writes that failed without saying whether they were committed
	Pushed        uint64 // keys dropped from near because another process changed them
	PushesLost    uint64 // times that all of near was dropped because pushes may have been missed
	BytesRead     uint64 // of values, from the store
	BytesWritten  uint64 // of values that were loaded, to the store
	Dropped       uint64 // collections dropped by a write whose order among others was not known
	Reread        uint64 // members read again, since others wrote them too

	NearEntries int    // kept in this process
	NearBytes   uint64 // what they weigh, about; zero if they are bounded by their number alone

	// How long reads took in this process (one in 256 is measured), reads of the store, and loads.
	NearLatency, StoreLatency, LoadLatency tally.Histogram
}

// Stats returns the counters of now, without what is kept in the process.
func (m *Meter) Stats() Stats {
	t := m.Tally()
	n := &t.Counts
	return Stats{
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
}
