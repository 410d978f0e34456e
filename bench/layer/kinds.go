package layer

import "time"

// The names of the kinds that scenarios ask for: the floors, and ours.
const (
	Otter        = "otter"
	Rueidis      = "rueidis"
	Tuned        = "rueidis, tuned"
	Nearside     = "nearside"
	NearsideNear = "nearside, near"
	RueidisNear  = "rueidis, client-side caching"
)

// OwnModule is the module that is compared with the others.
const OwnModule = "github.com/nearside/nearside"

// Kinds are all layers, the floors first.
var Kinds = []Kind{
	{Name: Otter, Module: "github.com/maypok86/otter/v2", New: newOtter, Near: true, NoRedis: true, Batch: true,
		Note: "the floor in the process: one process alone, told of nothing"},
	{Name: Rueidis, Module: "github.com/redis/rueidis", New: newRueidis(false, false), Batch: true, Bare: true,
		Note: "the floor on Redis: its default settings, GET, and SET after a miss"},
	{Name: Tuned, Module: "github.com/redis/rueidis", New: newRueidis(true, false), Batch: true, Bare: true,
		Note: "one connection, AlwaysPipelining, MaxFlushDelay 20 µs: much as nearside uses it"},
	{Name: Nearside, Module: OwnModule, New: newNearside(false), Batch: true,
		Note: "Budget 50 ms in place of 25: what goes past a Redis that is slower is not measured, but measured again"},
	{Name: NearsideNear, Module: OwnModule, New: newNearside(true), Near: true, Batch: true, Settles: 13 * time.Second,
		Note: "remembers for 10 s which leases it has ended, at most 100,000, in case a failover brings them back: that is waited for where memory is counted"},
	{Name: RueidisNear, Module: "github.com/redis/rueidis", New: newRueidis(false, true), Near: true, Batch: true, Bare: true,
		Note: "keeps bytes, which are decoded at each hit; bounded in bytes"},
	{Name: "rueidisaside", Module: "github.com/redis/rueidis/rueidisaside", New: newAside, Near: true,
		Note: "the only peer with a lease; its placeholder stands in the value's key, where other programs see it; after a FLUSHALL (1.0.78) callers waited for more than 30 s; always with client-side caching; no batches"},
	{Name: "go-redis", Module: "github.com/redis/go-redis/v9", New: newGoRedis, Batch: true, Bare: true},
	{Name: "go-redis, AutoPipeline", Module: "github.com/redis/go-redis/v9", New: newGoRedisAutoPipeline, Batch: true, Bare: true,
		Note: "experimental, says its documentation"},
	{Name: "go-redis, client-side caching", Module: "github.com/redis/go-redis/v9", New: newGoRedisNear, Near: true, Batch: true, Bare: true,
		Note: "experimental, says its documentation; bytes, decoded at each hit; pushes are read when a connection is used, or all 5 ms; a MGET is one entry, so that other selections of the same keys share nothing"},
	{Name: "go-redis/cache", Module: "github.com/go-redis/cache/v9", New: newGoRedisCache(false),
		Note: "merges reads of one key, also with one that was sent before; no batches"},
	{Name: "go-redis/cache, TinyLFU", Module: "github.com/go-redis/cache/v9", New: newGoRedisCache(true), Near: true,
		Note: "bytes, decoded at each hit; other processes are not told of changes"},
	{Name: "gocache", Module: "github.com/eko/gocache/lib/v4", New: newGocache,
		Note: "loadable over its Redis store; fills by one goroutine behind the answer, errors of the fill are dropped; its Close makes a Get under way panic; its own codec is msgpack, so strings of JSON are stored; no batches"},
	{Name: "gocache, rueidis store", Module: "github.com/eko/gocache/store/rueidis/v4", New: newGocacheNear, Near: true,
		Note: "client-side caching; the same"},
	{Name: "jetcache-go", Module: "github.com/mgtv-tech/jetcache-go", New: newJetcache(false), Batch: true,
		Note: "merges reads of one key; MGet has no error"},
	{Name: "jetcache-go, local", Module: "github.com/mgtv-tech/jetcache-go", New: newJetcache(true), Near: true, Batch: true,
		Note: "its TinyLFU, since its FreeCache is one for all caches of a process, whatever size the second asks for; its size is a 57th of what is asked for (ristretto counts 57 for each entry), made up for here; 1.2.0 shares a rand.Rand between goroutines without a lock; other processes are told only by a handler that the user writes"},
	{Name: "sturdyc", Module: "github.com/viccon/sturdyc", New: newSturdyc, Near: true, Batch: true,
		Note: "its distributed storage over rueidis; fills it behind the answer; other processes are not told of changes"},
	{Name: "hot", Module: "github.com/samber/hot", New: newHot, Near: true, Batch: true,
		Note: "its loader asks Redis first, over rueidis; loaders get no context; in one piece, since its WithSharding (0.13.0) leaves the shards without a lock, and the program dies of concurrent map writes; other processes are not told of changes"},
}

// OwnWithOldJSON is nearside with the peers' decoder, which shows how much of the difference that makes.
var OwnWithOldJSON = Kind{Name: "nearside, decoder of Go 1.26", Module: OwnModule, Batch: true, New: func(o Options) (Layer, error) {
	o.Codec = peersJSON{}
	return newNearside(false)(o)
}}

// Find returns the kinds of these names, in their order.
func Find(names ...string) (found []Kind) {
	for _, name := range names {
		for _, k := range Kinds {
			if k.Name == name {
				found = append(found, k)
			}
		}
	}
	return found
}

// Where returns the kinds of which want says so.
func Where(want func(Kind) bool) (found []Kind) {
	for _, k := range Kinds {
		if want(k) {
			found = append(found, k)
		}
	}
	return found
}
