package fleet

import (
	"math"
	"time"
)

// Counts are what processes counted of a cache in a time. The zero value is that of a cache that was not used.
type Counts struct {
	// Reads, by where their answer came from: the words of nearside.Source. Their sum is Reads.
	Near     uint64 // answered by the in-process cache
	Store    uint64 // answered by Redis with a fresh value
	Load     uint64 // answered by the loader
	Stale    uint64 // answered with a value past its TTL, while a new one was loaded
	Negative uint64 // answered with a remembered ErrNotFound
	Errors   uint64 // failed

	// Calls of the loader, by how they ended. Their sum is Loads.
	LoadsOK       uint64 // returned a value
	LoadsAbsent   uint64 // returned ErrNotFound
	LoadsFailed   uint64 // returned another error, or panicked
	LoadsTimedOut uint64 // took longer than LoadTimeout

	Early          uint64 // loads that began because a value was about to be stale (Config.Refresh)
	Coalesced      uint64 // reads that shared the load of another read in their process
	CoalescedFleet uint64 // loads of other processes that a process waited for instead of loading

	// Saved is the loader time that was not spent: for each read that was answered without a load, what a load takes on average.
	Saved time.Duration

	// Keys that were invalidated, by cause. Their sum is Invalidations.
	Invalidated uint64 // by Invalidate
	Updated     uint64 // by Update, and by writes of members of collections
	Mutated     uint64 // by Mutate
	Set         uint64 // by Set
	Pushed      uint64 // dropped from in-process caches because another process changed them
	PushesLost  uint64 // times that a whole in-process cache was dropped because pushes may have been missed

	BytesRead    uint64 // of values, read from Redis
	BytesWritten uint64 // of values that were loaded, written to Redis

	Unfilled       uint64 // values that were loaded and not stored: invalidated meanwhile, or Redis was unavailable
	TooLarge       uint64 // values above MaxValue, which are not stored
	CodecErrors    uint64 // values that could not be encoded or decoded
	StoreErrors    uint64 // reads that Redis did not answer
	WritesDeferred uint64 // writes whose invalidation Redis did not take at once
	WritesInDoubt  uint64 // keys of writes that failed without telling whether they were committed
	Dropped        uint64 // collections dropped by a write whose order among others was not known
	Reread         uint64 // members that were read again because writes overlapped
}

// Reads returns how many reads ended, those that failed included.
func (c *Counts) Reads() uint64 {
	return c.Near + c.Store + c.Load + c.Stale + c.Negative + c.Errors
}

// Share returns which share of the reads n is, from 0 to 1: Share(c.Near) is that of the in-process cache. It returns 0 if there
// were no reads.
func (c *Counts) Share(n uint64) float64 {
	all := c.Reads()
	if all == 0 {
		return 0
	}
	return float64(n) / float64(all)
}

// HitRatio returns the share of reads that were answered without a load, from 0 to 1. It returns 0 if there were no reads.
func (c *Counts) HitRatio() float64 { return c.Share(c.Near + c.Store + c.Stale + c.Negative) }

// Loads returns how many calls of the loader ended.
func (c *Counts) Loads() uint64 { return c.LoadsOK + c.LoadsAbsent + c.LoadsFailed + c.LoadsTimedOut }

// Invalidations returns how many keys were invalidated, whatever the cause.
func (c *Counts) Invalidations() uint64 {
	return c.Invalidated + c.Updated + c.Mutated + c.Set + c.Pushed + c.PushesLost
}

// Add adds the counts of another cache, or of another time.
func (c *Counts) Add(o *Counts) {
	for _, w := range words {
		*w.count(c) += *w.count(o)
	}
	if c.Saved += o.Saved; c.Saved < 0 { // 292 years are the longest duration
		c.Saved = math.MaxInt64
	}
}
