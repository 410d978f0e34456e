package prom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nearside/nearside"
)

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// The families of each cache.
var ofCaches = []family[cacheNumber]{
	perCache("requests_total", "Reads by where their answer came from.", counter, "outcome", []row[cacheNumber]{
		count("near", func(s *nearside.CacheStats) uint64 { return s.Near }),
		count("store", func(s *nearside.CacheStats) uint64 { return s.Store }),
		count("load", func(s *nearside.CacheStats) uint64 { return s.Load }),
		count("stale", func(s *nearside.CacheStats) uint64 { return s.Stale }),
		count("negative", func(s *nearside.CacheStats) uint64 { return s.Negative }),
		count("error", func(s *nearside.CacheStats) uint64 { return s.Errors }),
	}),
	perCache("loads_total", "Calls of the loader, by row and how they ended.", counter, "result", []row[cacheNumber]{
		count("ok", func(s *nearside.CacheStats) uint64 { return s.Loads }),
		count("notfound", func(s *nearside.CacheStats) uint64 { return s.LoadsAbsent }),
		count("error", func(s *nearside.CacheStats) uint64 { return s.LoadErrors - s.LoadTimeouts }),
		count("timeout", func(s *nearside.CacheStats) uint64 { return s.LoadTimeouts }),
	}),
	perCache("early_loads_total", "Loads begun because a value was about to be stale.", counter, "", one(func(s *nearside.CacheStats) uint64 { return s.Early })),
	perCache("load_seconds_saved_total", "Time of the loader that was not spent, since reads were answered without it: by the moving mean of what a load takes.",
		counter, "", []row[cacheNumber]{{nil, func(s *nearside.CacheStats) float64 { return s.Saved.Seconds() }}}),
	perCache("coalesced_total", "Reads that shared somebody's load: of this process, or of another one in the fleet.", counter, "scope", []row[cacheNumber]{
		count("process", func(s *nearside.CacheStats) uint64 { return s.Coalesced }),
		count("fleet", func(s *nearside.CacheStats) uint64 { return s.CoalescedFleet }),
	}),
	perCache("invalidations_total", "Keys that were invalidated, by what did it; push: dropped from near, lost: times that all of near was dropped.", counter, "cause", []row[cacheNumber]{
		count("invalidate", func(s *nearside.CacheStats) uint64 { return s.Invalidated }),
		count("update", func(s *nearside.CacheStats) uint64 { return s.Updated }),
		count("mutate", func(s *nearside.CacheStats) uint64 { return s.Mutated }),
		count("set", func(s *nearside.CacheStats) uint64 { return s.Set }),
		count("push", func(s *nearside.CacheStats) uint64 { return s.Pushed }),
		count("lost", func(s *nearside.CacheStats) uint64 { return s.PushesLost }),
	}),
	perCache("bytes_total", "Bytes of values that were read from the store, and of loaded ones that were written to it.", counter, "dir", []row[cacheNumber]{
		count("read", func(s *nearside.CacheStats) uint64 { return s.BytesRead }),
		count("written", func(s *nearside.CacheStats) uint64 { return s.BytesWritten }),
	}),
	perCache("unfilled_total", "Values that were loaded and served, but not stored.", counter, "", one(func(s *nearside.CacheStats) uint64 { return s.Unfilled })),
	perCache("too_large_total", "Values above the largest size that is stored.", counter, "", one(func(s *nearside.CacheStats) uint64 { return s.TooLarge })),
	perCache("codec_errors_total", "Values that could not be encoded, or did not decode and were loaded again.", counter, "", one(func(s *nearside.CacheStats) uint64 { return s.CodecErrors })),
	perCache("store_errors_total", "Reads of the store without an answer.", counter, "", one(func(s *nearside.CacheStats) uint64 { return s.StoreErrors })),
	perCache("writes_deferred_total", "Writes whose invalidation the store did not take at once.", counter, "", one(func(s *nearside.CacheStats) uint64 { return s.WritesDeferred })),
	perCache("writes_in_doubt_total", "Keys of writes that failed without saying whether they were committed.", counter, "", one(func(s *nearside.CacheStats) uint64 { return s.WritesInDoubt })),
	perCache("collections_dropped_total", "Collections dropped by a write whose order among others was not known.", counter, "", one(func(s *nearside.CacheStats) uint64 { return s.Dropped })),
	perCache("members_reread_total", "Members read again, since others wrote them too.", counter, "", one(func(s *nearside.CacheStats) uint64 { return s.Reread })),
	perCache("near_entries", "Values kept in the process.", gauge, "", one(func(s *nearside.CacheStats) uint64 { return uint64(s.NearEntries) })),
	perCache("near_bytes", "What they weigh, about; zero where they are bounded by their number alone.", gauge, "", one(func(s *nearside.CacheStats) uint64 { return s.NearBytes })),
}

// The families of a client.
var ofClient = []family[clientNumber]{
	perClient("deferred_invalidations", "Keys whose invalidation could not be delivered yet.", gauge, func(s *nearside.Stats) (float64, bool) { return float64(s.Deferred), true }),
	perClient("repeated_invalidations_total", "Keys whose invalidation was delivered by repetition.", counter, func(s *nearside.Stats) (float64, bool) { return float64(s.Repeated), true }),
	perClient("caches_bypassed", "Caches that bypass the store, because more invalidations are deferred than are kept.", gauge, func(s *nearside.Stats) (float64, bool) { return float64(s.Bypassed), true }),
	perClient("keys_in_doubt", "Keys for which nothing is cached, since the outcome of a write is not known.", gauge, func(s *nearside.Stats) (float64, bool) { return float64(s.InDoubt), true }),
	perClient("problems", "What the store was found to be unable to do; the log and Client.Stats name it.", gauge, func(s *nearside.Stats) (float64, bool) { return float64(len(s.Problems)), true }),
	perClient("store_up", "1 if the store answers.", gauge, func(s *nearside.Stats) (float64, bool) {
		if s.StoreErr != nil {
			return 0, true
		}
		return 1, true
	}),
	perClient("store_keys", "Keys with a value in the store, of whatever program.", gauge, func(s *nearside.Stats) (float64, bool) { return float64(s.Keys), s.StoreErr == nil }),
	perClient("store_bytes", "Memory that the store uses.", gauge, func(s *nearside.Stats) (float64, bool) { return float64(s.Bytes), s.StoreErr == nil }),
	perClient("store_max_bytes", "Its bound; zero: none.", gauge, func(s *nearside.Stats) (float64, bool) { return float64(s.MaxBytes), s.StoreErr == nil }),
	perClient("store_evicted_total", "Values that the store removed to keep its bound, since it was started.", counter, func(s *nearside.Stats) (float64, bool) { return float64(s.Evicted), s.StoreErr == nil }),
}

var (
	loads    = desc("load_duration_seconds", "How long calls of the loader took.", "cache")
	tiers    = desc("tier_duration_seconds", "How long reads took: of the store, all of them; of near, one in 256.", "cache", "tier")
	breakers = desc("breaker_state", "Whether a node is asked. 0: it is, 1: it is back, and reads are let through little by little, 2: it is away.", "node")
)

type (
	cacheNumber  = func(*nearside.CacheStats) float64
	clientNumber = func(*nearside.Stats) (n float64, known bool)
)

// family is one metric; rows are its values, by their last label.
type family[F any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	rows []row[F]
}

type row[F any] struct {
	labels []string
	of     F
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("nearside_"+name, help, labels, nil)
}

func perCache(name, help string, kind prometheus.ValueType, label string, rows []row[cacheNumber]) family[cacheNumber] {
	labels := []string{"cache"}
	if label != "" {
		labels = append(labels, label)
	}
	return family[cacheNumber]{desc(name, help, labels...), kind, rows}
}

func perClient(name, help string, kind prometheus.ValueType, of clientNumber) family[clientNumber] {
	return family[clientNumber]{desc(name, help), kind, []row[clientNumber]{{nil, of}}}
}

func count(word string, of func(*nearside.CacheStats) uint64) row[cacheNumber] {
	return row[cacheNumber]{[]string{word}, one(of)[0].of}
}

func one(of func(*nearside.CacheStats) uint64) []row[cacheNumber] {
	return []row[cacheNumber]{{nil, func(s *nearside.CacheStats) float64 { return float64(of(s)) }}}
}
