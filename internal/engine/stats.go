package engine

import "sync/atomic"

// Stats counts what a cache did since it was made.
type Stats struct {
	Near, Store, Load, Stale, Negative, Errors uint64 // reads by where their answer came from

	Loads        uint64 // calls of the loader that returned a value
	LoadsAbsent  uint64 // that said ErrNotFound
	LoadErrors   uint64 // that failed
	Early        uint64 // loads begun because a value was about to be stale (Refresh)
	Coalesced    uint64 // reads that shared another one's load in this process
	Unfilled     uint64 // values that were loaded and served, but not stored: invalidated meanwhile, or the store was away
	TooLarge     uint64 // values above MaxValue: served, not stored
	CodecErrors  uint64 // values that could not be encoded, or did not decode and were loaded again
	StoreErrors  uint64 // reads of the store without an answer
	Invalidated  uint64 // keys invalidated by Invalidate
	Written      uint64 // keys written by Update
	WritesBehind uint64 // writes that the store could not be told of
	Dropped      uint64 // collections dropped by a write whose order among others was not known
	Reread       uint64 // members read again, since others wrote them too

	NearEntries int    // kept in this process
	NearBytes   uint64 // what they weigh, about; zero if they are bounded by their number alone
}

type counters struct {
	store, load, stale, negative, errors               atomic.Uint64
	loads, absent, failed, coalesced, unfilled         atomic.Uint64
	tooLarge, codec, storeErrors, invalidated, written atomic.Uint64
	behind, early, dropped, reread                     atomic.Uint64
}

func (c *counters) answered(s Source) {
	switch s {
	case Store:
		c.store.Add(1)
	case Load:
		c.load.Add(1)
	case Stale:
		c.stale.Add(1)
	case Negative:
		c.negative.Add(1)
	default:
		c.errors.Add(1)
	}
}

// Stats returns the counters of now.
func (c *Cache[K, V]) Stats() Stats {
	n := &c.count
	s := Stats{
		Store: n.store.Load(), Load: n.load.Load(), Stale: n.stale.Load(), Negative: n.negative.Load(), Errors: n.errors.Load(),
		Loads: n.loads.Load(), LoadsAbsent: n.absent.Load(), LoadErrors: n.failed.Load(),
		Early: n.early.Load(), Coalesced: n.coalesced.Load(), Unfilled: n.unfilled.Load(), TooLarge: n.tooLarge.Load(),
		CodecErrors: n.codec.Load(), StoreErrors: n.storeErrors.Load(), Invalidated: n.invalidated.Load(),
		Written: n.written.Load(), WritesBehind: n.behind.Load(), Dropped: n.dropped.Load(), Reread: n.reread.Load(),
	}
	if c.near != nil {
		s.Near = c.near.hits.sum()
		s.NearEntries, s.NearBytes = c.near.Len(), c.near.Bytes()
	}
	return s
}
