package engine

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// Snapshot is what a client counts.
type Snapshot struct {
	Caches map[string]Stats // by name

	// Problems are what Redis was found to be unable to do, each with what is lost and the command that grants it: a right
	// that is missing, for example. Caches that gain nothing are named too: none of their loads is stored, or their values do
	// not decode. Each was logged once, and is gone when it is over.
	Problems []string

	Pending  int    // keys whose invalidation could not be delivered yet; this process reads them past Redis
	Repeated uint64 // keys whose invalidation was delivered when Redis was back
	Past     int    // caches that are read past Redis as a whole, since more was pending than is kept

	InDoubt int // keys of which a write has failed whose outcome is not known: nothing is cached for them

	Breakers []store.Breaker // whether each node is asked; none of a store in memory

	// Of the store; zero, with StoreErr set, if it did not answer.
	Keys     int64 // with a value, of whatever program
	Bytes    int64 // of memory used
	MaxBytes int64 // its bound; zero: none
	Evicted  int64 // values removed to keep the bound
	StoreErr error
}

const usageWait = time.Second // for the store to tell how full it is

// Snapshot returns what is known of all caches, whose counters are given, and of the store.
func (s *Shared) Snapshot(ctx context.Context, caches map[string]Stats) Snapshot {
	ctx, cancel := context.WithTimeout(ctx, usageWait)
	defer cancel()
	recovery := s.Recovery()
	out := Snapshot{Caches: caches, Problems: s.Problems(), Pending: recovery.Pending, Repeated: recovery.Repeated, Past: recovery.Past, InDoubt: s.InDoubt()}
	if g, ok := s.Store.(store.Guarded); ok {
		out.Breakers = g.Breakers()
	}
	u, err := s.Store.Usage(ctx)
	out.Keys, out.Bytes, out.MaxBytes, out.Evicted, out.StoreErr = u.Keys, u.Bytes, u.MaxBytes, u.Evicted, err
	return out
}

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
