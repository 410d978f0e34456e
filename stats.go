package nearside

import (
	"context"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/fleetstats"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// CacheStats counts what a cache did in this process since it was made.
type CacheStats struct {
	// Reads, by where their answer came from, with the words of Source. Errors are those that failed.
	Near, Store, Load, Stale, Negative, Errors uint64

	Loads          uint64 // calls of the loader that returned a value
	LoadsAbsent    uint64 // calls of the loader that returned ErrNotFound
	LoadErrors     uint64 // calls of the loader that failed, those that took too long included
	LoadTimeouts   uint64 // calls of the loader that took longer than LoadTimeout
	Early          uint64 // loads that began because a value was about to be stale (Config.Refresh)
	Coalesced      uint64 // reads that shared the load of another read in this process
	CoalescedFleet uint64 // loads of other processes that this one waited for instead of loading

	// Saved is the loader time that was not spent: for each read that was answered without a load, what a load takes by the moving
	// mean. It is zero before the first load.
	Saved time.Duration

	Unfilled    uint64 // values that were loaded and not stored: invalidated meanwhile, or the store was unavailable
	TooLarge    uint64 // values above MaxValue, which are not stored
	CodecErrors uint64 // values that could not be encoded, or did not decode and were loaded again
	StoreErrors uint64 // reads that the store did not answer

	Invalidated    uint64 // keys that Invalidate removed
	Written        uint64 // keys that were written: Updated, Mutated and Set
	Updated        uint64 // by Update, and members by their writes
	Mutated        uint64 // by Mutate
	Set            uint64 // by Set
	WritesDeferred uint64 // writes whose invalidation the store did not take at once
	WritesInDoubt  uint64 // keys of writes that failed without telling whether they were committed

	Pushed       uint64 // near entries dropped because another process changed the key
	PushesLost   uint64 // times that the whole near cache was dropped because pushes may have been missed
	BytesRead    uint64 // of values, from the store
	BytesWritten uint64 // of values that were loaded, to the store
	Dropped      uint64 // collections dropped by a write whose order among others was not known
	Reread       uint64 // members that were read again because writes overlapped

	NearEntries int    // entries of the near cache
	NearBytes   uint64 // about how many bytes they take; zero if only their number is bounded

	NearLatency  Histogram // of reads that this process answered; one in 256 is measured
	StoreLatency Histogram // of reads of the store
	LoadLatency  Histogram // of loads
}

// HitRatio returns the share of reads that were answered without a load, from 0 to 1. It returns 0 if there were no reads.
func (s *CacheStats) HitRatio() float64 {
	hits := s.Near + s.Store + s.Stale + s.Negative
	all := hits + s.Load + s.Errors
	if all == 0 {
		return 0
	}
	return float64(hits) / float64(all)
}

func cacheStats(m engine.Meter) CacheStats {
	t := m.Tally()
	n := &t.Counts
	s := CacheStats{
		Near: n[tally.Near], Store: n[tally.Store], Load: n[tally.Load], Stale: n[tally.Stale], Negative: n[tally.Negative], Errors: n[tally.Error],
		Loads: n[tally.LoadOK], LoadsAbsent: n[tally.LoadNotFound], LoadErrors: n[tally.LoadError] + n[tally.LoadTimeout], LoadTimeouts: n[tally.LoadTimeout],
		Early: n[tally.Early], Coalesced: n[tally.CoalescedProcess], CoalescedFleet: n[tally.CoalescedFleet], Saved: t.Saved(),
		Unfilled: n[tally.Unfilled], TooLarge: n[tally.TooLarge], CodecErrors: n[tally.CodecError], StoreErrors: n[tally.StoreError],
		Invalidated: n[tally.ByInvalidate], Written: n[tally.ByUpdate] + n[tally.ByMutate] + n[tally.BySet],
		Updated: n[tally.ByUpdate], Mutated: n[tally.ByMutate], Set: n[tally.BySet],
		WritesDeferred: n[tally.Deferred], WritesInDoubt: n[tally.InDoubt],
		Pushed: n[tally.ByPush], PushesLost: n[tally.ByLost], BytesRead: n[tally.BytesRead], BytesWritten: n[tally.BytesWritten],
		Dropped: n[tally.Dropped], Reread: n[tally.Reread],
		NearLatency:  fleetstats.Histogram(&t.Latency[tally.NearTier]),
		StoreLatency: fleetstats.Histogram(&t.Latency[tally.StoreTier]),
		LoadLatency:  fleetstats.Histogram(&t.Latency[tally.LoadTier]),
	}
	s.NearEntries, s.NearBytes = m.NearUsage()
	return s
}

// Histogram counts durations in buckets. Those of all processes together have the same type.
type Histogram = fleet.Histogram

// Breaker says whether a node of Redis is asked.
type Breaker struct {
	Node  string // its address
	State string // "closed": it is asked; "open": it is unavailable; "ramping": it is back, and more and more reads are sent
}

// Stats is a snapshot of a client.
type Stats struct {
	Caches map[string]CacheStats // by name

	// Problems are what Redis was found to be unable to do, each with what is lost and the command that grants it: a right
	// that is missing, for example. Caches that gain nothing are named too: none of their loads is stored, or their values do
	// not decode. Each was logged once, and is gone when it is over.
	Problems []string

	Deferred int    // keys whose invalidation could not be delivered yet; reads of this process bypass Redis for them
	Repeated uint64 // keys whose invalidation was delivered when Redis was back
	Bypassed int    // caches that bypass Redis as a whole, because more invalidations were deferred than are kept
	InDoubt  int    // keys for which nothing is cached, because the outcome of a write is not known

	Breakers []Breaker // whether each node is asked; none of a store in memory

	// Of the store; zero, with StoreErr set, if it did not answer.
	Keys     int64 // with a value, of whatever program
	Bytes    int64 // of memory used
	MaxBytes int64 // the bound; zero if there is none
	Evicted  int64 // values removed to keep the bound
	StoreErr error
}

const usageWait = time.Second // for the store to tell how full it is

// Stats returns the counters of all caches, and how full the store is. It waits for the store for up to 1 s.
func (c *Client) Stats(ctx context.Context) Stats {
	ctx, cancel := context.WithTimeout(ctx, usageWait)
	defer cancel()
	shared := c.inside.Shared
	recovery := shared.Recovery()
	out := Stats{
		Caches: make(map[string]CacheStats), Problems: shared.Problems(),
		Deferred: recovery.Pending, Repeated: recovery.Repeated, Bypassed: recovery.Past, InDoubt: shared.InDoubt(),
	}
	for name, m := range c.inside.Caches() {
		out.Caches[name] = cacheStats(m)
	}
	if g, ok := shared.Store.(store.Guarded); ok {
		for _, b := range g.Breakers() {
			out.Breakers = append(out.Breakers, Breaker(b))
		}
	}
	u, err := shared.Store.Usage(ctx)
	out.Keys, out.Bytes, out.MaxBytes, out.Evicted, out.StoreErr = u.Keys, u.Bytes, u.MaxBytes, u.Evicted, err
	return out
}

// CacheStats returns the counters of one cache in this process. ok is false if the client has no cache of that name.
func (c *Client) CacheStats(name string) (s CacheStats, ok bool) {
	m, ok := c.inside.Cache(name)
	if !ok {
		return s, false
	}
	return cacheStats(m), true
}
