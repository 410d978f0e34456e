package nearside

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearside/nearside/codec"
	"github.com/nearside/nearside/internal/client"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/keytext"
	"github.com/nearside/nearside/internal/setting"
	"github.com/nearside/nearside/internal/typed"
)

// Config says how a cache loads and keeps its values. Zero means the default, and a negative setting is an error.
type Config[K comparable, V any] struct {
	// Load asks the database for one row. It returns or wraps ErrNotFound if there is none: turn sql.ErrNoRows and pgx.ErrNoRows into
	// it, since any other error is a failed load, which is not remembered. A value that it returns together
	// with an error is not used. Its context has the limit LoadTimeout and the values of a caller's context, but not his
	// cancel: others may wait for the same row.
	//
	// The first Get returns the value that Load has returned itself, later ones what Codec has made of it. Load must not modify
	// it afterwards.
	Load func(context.Context, K) (V, error)

	// LoadMany asks for many rows at once. One call is given at most 500 keys, and one GetMany makes at most two calls at the
	// same time. Without it GetMany calls Load, at most 16 times at once, and for at most half of MaxLoads. Load or LoadMany
	// must be set; without Load, Get calls LoadMany with one key.
	//
	//   - The slice of keys is LoadMany's own: it may sort it, shorten it, append to it or keep it. It has no key twice, except
	//     where an invalidation came in between.
	//   - With a nil error, the map has the rows that were found. A key that it lacks has no row; that is remembered for
	//     NotFoundTTL. A key in it that was not asked for is ignored.
	//   - With an error every key fails, whatever the map has: it may be what was read until then. A BatchError is the
	//     exception: it says which keys failed.
	//   - ErrNotFound is such an error, since it does not say which rows are missing. It means that there is no row only if one
	//     key was asked for and the map is empty.
	//
	// Rows are matched to keys by ==, and where that finds nothing by the text of the key, as Key writes it: a time.Time in
	// another zone, or another pointer, is the same key if its text is the same. Times are written in UTC. Two rows of one text
	// that differ fail their key.
	//
	// Load and LoadMany may read caches, with the context that they are given. A read that would wait for the load that it is
	// part of fails at once with ErrCycle.
	LoadMany func(context.Context, []K) (map[K]V, error)

	TTL         time.Duration // how long a value is fresh. 1 h if zero
	Stale       time.Duration // how much longer it is served while one process loads it anew, or when Load fails. Off if zero
	NotFoundTTL time.Duration // how long it is remembered that a row does not exist. Off if zero
	LoadTimeout time.Duration // of one load, and of the function given to Update or Mutate. 10 s if zero

	// SoftTimeout is how long a read that finds a stale value waits for a fresh one, before it is given the stale one; the
	// load goes on and fills. It gets the stale one too if the load fails. Off if zero: stale values are served at once.
	SoftTimeout time.Duration

	// Refresh is how eagerly a value is loaded anew before it is stale, so that hot keys never are: 1 is usual, more is
	// earlier. A hit decides by the XFetch rule, from what is left of the value's life and how long loads take here; of all
	// processes one loads. It costs a PTTL with every hit. Off if zero.
	Refresh float64

	// MaxLoads is how many loads of this cache this process runs at once; a LoadMany counts as one. The excess waits, at
	// most for LoadTimeout, and then fails with ErrOverloaded; a load whose callers have all left by then is not run. A
	// load that a loader of this cache waits for runs on the place of that one. Off if zero.
	MaxLoads int

	// BatchLoads is how many calls of Load one GetMany runs at the same time, without a LoadMany. 16 if zero, and at most half of
	// MaxLoads.
	BatchLoads int

	// NearSize is how many decoded values are kept in this process, where a hit costs no trip and no decoding. They are
	// right: whatever changes a key tells all processes that keep it, within a millisecond as a rule, or within 2 s if the
	// connection was lost; this process' own writes are seen at once. Values are shared: see Clone. It needs a Redis that
	// tells of changes (CLIENT TRACKING), else nothing is kept, and Client.Stats says so. With NotFoundTTL, that a row does
	// not exist is kept too, as an entry like any other; in a cluster for 1 s at a time. Off if zero.
	NearSize int

	// NearBytes bounds the same in bytes of encoded values, with 160 for keeping each; both bounds hold where both are set. A
	// value that is compressed counts as many bytes as it has when it is not.
	// Off if zero.
	NearBytes int64

	// NearMax is how long a value is kept near at most, whatever its TTL: what no push reaches ends with it. 60 s if zero.
	NearMax time.Duration

	// NearUntracked is how long values are kept near where the store does not tell of changes: they may be stale for that
	// long. Off if zero.
	NearUntracked time.Duration

	// Clone copies a value for a caller that modifies what it gets. It must return a value that shares nothing with its argument. It is
	// for caches with a NearSize or NearBytes. If it is nil, values of the near cache, and those that were loaded, are shared.
	Clone func(V) V

	// Jitter shortens each key's TTL by a share of its own between 0 and this, so that keys that were loaded together
	// do not expire together. 0.1 if zero, at most 1. Off switches it off.
	Jitter float64

	// Hold is how long after an invalidation nothing is cached: at least the lag of the replica that Load reads. It must
	// be the same in all processes. Off if zero.
	Hold time.Duration

	// InDoubt is how long after an Update or a Mutate has failed its commit may still become visible, at most: the database
	// goes on while the caller has left, the answer to COMMIT is lost, a server waits for its standby. For that long nothing is
	// cached for the key, unless the error says that the outcome is known: see Update. It is also how long nothing is cached for
	// the keys of a process that died in the middle of a write. Compare it with what bounds a transaction whose client is gone:
	// idle_in_transaction_session_timeout and the TCP timeouts of the server, and how long a synchronous standby may be
	// unavailable. 1 min if zero.
	InDoubt time.Duration

	// Expire returns the TTL of one value, in place of TTL. Zero or less means TTL. It must not modify the value. The longest TTL, like
	// any other duration here, is 100 years: math.MaxInt64 is "never".
	Expire func(K, V) time.Duration

	// Key writes a key as text. Strings, integers, bools and encoding.TextMarshaler need none. Keys of the same text are one key,
	// so keys of different rows need different texts.
	Key func(K) string

	// Pattern is set if the keys in Redis do not begin with the name of the cache: a glob that all of them match, such as "email:*". Key
	// then returns the whole key of Redis:
	//
	//	Pattern: "email:*",
	//	Key:     func(address string) string { return "email:" + address }, // Load gets the address
	//
	// Without Key, keys are strings, and each is the whole key: Get and Load get "email:a@b.c". Two caches must not have the same keys.
	Pattern string

	// Owns reports whether a key in Redis that matches Pattern belongs to the cache. If nil, all of them do.
	Owns func(key string) bool

	// Codec writes values as bytes. JSON if nil, for []byte the bytes as they are.
	Codec codec.Codec[V]

	// MaxValue is the size in bytes of the largest value that is stored; larger ones are served, not stored, and
	// counted. 1 MiB if zero.
	MaxValue int
}

// Cache is a cache with its loader inside. It is safe for concurrent use. Its values are shared between callers: do not
// modify what a pointer, a slice or a map in them refers to.
type Cache[K comparable, V any] struct {
	name string
	e    *typed.Cache[K, V]
}

// New makes a cache whose keys are name, a colon, and the key: "user:42"; Config.Pattern changes that. It panics on what a programmer got wrong:
//
//   - a name that does not match [a-z0-9][a-z0-9_.-]*, or that the client has already
//   - no loader
//   - a type of keys that needs Config.Key
//   - a setting that is negative, or a Jitter above 1
func New[K comparable, V any](c *Client, name string, cfg Config[K, V]) *Cache[K, V] {
	cache, err := newCache(c, name, cfg)
	if err != nil {
		panic(fmt.Sprintf("nearside: New(%q): %v", name, err))
	}
	c.inside.Register("nearside.New", name, cache.e, cache.e.Hash())
	c.inside.Shared.CheckKeys(cache.e.Glob)
	return cache
}

func newCache[K comparable, V any](c *Client, name string, cfg Config[K, V]) (*Cache[K, V], error) {
	if err := keytext.CheckName(name); err != nil {
		return nil, err
	}
	if cfg.Load == nil && cfg.LoadMany == nil {
		return nil, errors.New("expected Config.Load or Config.LoadMany")
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	keys, err := keysOf(name, &cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Codec == nil {
		if b, ok := any(codec.Bytes()).(codec.Codec[V]); ok {
			cfg.Codec = b
		} else {
			cfg.Codec = codec.JSON[V]()
		}
	}
	var weigh func([]byte) int
	if c, ok := cfg.Codec.(interface{ DecodedSize([]byte) int }); ok {
		weigh = c.DecodedSize
	}
	var decodeTo func([]byte, *V) error
	if c, ok := cfg.Codec.(interface{ DecodeTo([]byte, *V) error }); ok {
		decodeTo = c.DecodeTo
	}
	return &Cache[K, V]{name: name, e: typed.New(c.inside.Shared, typed.Config[K, V]{
		Policy: engine.Policy{
			Glob: keys.glob, Ours: cfg.Owns, TTL: cfg.TTL, Jitter: cfg.Jitter, Stale: cfg.Stale, NotFoundTTL: cfg.NotFoundTTL,
			Hold: cfg.Hold, InDoubt: cfg.InDoubt, LoadTimeout: cfg.LoadTimeout, SoftTimeout: cfg.SoftTimeout,
			Refresh: cfg.Refresh, MaxLoads: cfg.MaxLoads, BatchLoads: cfg.BatchLoads,
		},
		Key: keys.write, Parse: keys.read, Load: cfg.Load, LoadMany: cfg.LoadMany,
		Encode: cfg.Codec.Encode, Decode: cfg.Codec.Decode, DecodeTo: decodeTo, Expire: cfg.Expire, MaxValue: cfg.MaxValue,
		Near: typed.NearConfig[V]{
			Size: cfg.NearSize, Bytes: uint64(cfg.NearBytes), Max: cfg.NearMax, Untracked: cfg.NearUntracked, Clone: cfg.Clone, Weigh: weigh,
		},
	})}, nil
}

// Off switches off a setting whose zero value means a default: Config.Jitter, and NotFoundTTL of package shape.
const Off = -1

var _ [Off - setting.Off]struct{} // package setting has the same

// check sets the defaults, and returns an error for a setting that is out of its range.
func (c *Config[K, V]) check() error {
	var s setting.Check
	setting.Default(&s, "Config.TTL", &c.TTL, time.Hour)
	setting.Default(&s, "Config.Stale", &c.Stale, 0)
	setting.Default(&s, "Config.NotFoundTTL", &c.NotFoundTTL, 0)
	setting.Default(&s, "Config.LoadTimeout", &c.LoadTimeout, 10*time.Second)
	setting.Default(&s, "Config.SoftTimeout", &c.SoftTimeout, 0)
	setting.Default(&s, "Config.Refresh", &c.Refresh, 0)
	setting.Default(&s, "Config.MaxLoads", &c.MaxLoads, 0)
	setting.Default(&s, "Config.BatchLoads", &c.BatchLoads, 0)
	setting.Default(&s, "Config.NearSize", &c.NearSize, 0)
	setting.Default(&s, "Config.NearBytes", &c.NearBytes, 0)
	setting.Default(&s, "Config.NearMax", &c.NearMax, time.Minute)
	setting.Default(&s, "Config.NearUntracked", &c.NearUntracked, 0)
	setting.Switch(&s, "Config.Jitter", &c.Jitter, 0.1)
	setting.Share(&s, "Config.Jitter", c.Jitter)
	setting.Default(&s, "Config.Hold", &c.Hold, 0)
	setting.Default(&s, "Config.InDoubt", &c.InDoubt, time.Minute)
	setting.Default(&s, "Config.MaxValue", &c.MaxValue, 1<<20)
	return s.Err
}

// keys is how the keys of a cache are written.
type keys[K comparable] struct {
	glob  string // that all match
	write func(K) (string, error)
	read  func(string) (K, bool) // nil: a key cannot be told from its text
}

func keysOf[K comparable, V any](name string, cfg *Config[K, V]) (k keys[K], err error) {
	if cfg.Pattern == "" {
		k.glob, k.read = name+":*", keytext.KeyReader(name, cfg.Key)
		k.write, err = keytext.KeyWriter(name, cfg.Key)
		return k, err
	}
	k.glob = cfg.Pattern
	k.write, k.read, err = keytext.WholeKeys(cfg.Key)
	return k, err
}

// Get returns the value of k: from the store, else loaded, by one process for all. ErrNotFound if there is no such row.
// An error of the loader is returned wrapped, and never remembered. What was loaded is on its way to Redis when Get returns it, and
// there a moment later. This cache's own methods know of it; who asks Redis itself may find nothing yet, and a process that ends
// without Client.Close may leave it undone.
func (c *Cache[K, V]) Get(ctx context.Context, k K) (V, error) { return c.e.Get(ctx, k) }

// GetEntry is Get with where the value came from, its age and its TTL. With ErrNotFound, Source says who knew.
func (c *Cache[K, V]) GetEntry(ctx context.Context, k K) (Entry[V], error) {
	return entry(c.e.Entry(ctx, k))
}

// GetLocal returns the copy of k that this process holds, in the near cache or in a store in memory. It never asks Redis, never loads
// and never blocks. ok is false if this process holds nothing that may be served; call Get then, which counts the miss. If this process
// knows that there is no such row, ok is true and err is ErrNotFound.
func (c *Cache[K, V]) GetLocal(k K) (v V, ok bool, err error) { return c.e.Local(k) }

// GetMany is Get of many keys: for each 500 of them, one round trip for those that the store has, and one load for the rest. A key
// without a row is not in the map and is no error. The error is nil or a KeyErrors, which names the keys that failed; the map has the
// others.
func (c *Cache[K, V]) GetMany(ctx context.Context, ks []K) (map[K]V, error) {
	found, failed := c.e.GetMap(ctx, ks)
	if failed != nil {
		return found, KeyErrors[K](failed)
	}
	return found, nil
}

// GetManyEntries is GetMany with where each value came from, its age and its TTL.
func (c *Cache[K, V]) GetManyEntries(ctx context.Context, ks []K) (map[K]Entry[V], error) {
	found, failed := make(map[K]Entry[V], len(ks)), KeyErrors[K]{}
	for i, a := range c.e.Entries(ctx, ks) {
		switch {
		case a.Err == nil:
			found[ks[i]], _ = entry(a.Entry, nil)
		case !errors.Is(a.Err, ErrNotFound):
			failed[ks[i]] = a.Err
		}
	}
	if len(failed) > 0 {
		return found, failed
	}
	return found, nil
}

// Peek returns what the store holds, and never loads. ErrNotFound if it holds nothing that can be read, and while an
// invalidation of k by this process could not be delivered.
func (c *Cache[K, V]) Peek(ctx context.Context, k K) (Entry[V], error) {
	return entry(c.e.Peek(ctx, k))
}

// Cached reports whether the store has a value of k. It neither reads the value nor loads it.
func (c *Cache[K, V]) Cached(ctx context.Context, k K) (bool, error) {
	_, err := c.TTL(ctx, k)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// TTL returns how long the value in the store stays fresh: zero if it is stale, Unknown if another program wrote it without a TTL. It
// returns ErrNotFound if the store has no value. It neither reads the value nor loads it.
func (c *Cache[K, V]) TTL(ctx context.Context, k K) (time.Duration, error) {
	infos, err := c.e.Inspect(ctx, []K{k})
	switch {
	case err != nil:
		return 0, err
	case infos[0].Err != nil:
		return 0, infos[0].Err
	case infos[0].Type == "none":
		return 0, ErrNotFound
	case infos[0].TTL < 0:
		return Unknown, nil
	}
	return max(infos[0].TTL-c.e.Stale, 0), nil
}

// Prefetch loads the keys that the store lacks, in the background, 500 at a time. It never blocks and reports nothing; keys
// that cannot be keys are left out.
func (c *Cache[K, V]) Prefetch(ctx context.Context, ks ...K) { c.e.Prefetch(ctx, ks) }

// Key returns the key of k, for logs and for Client.Mutate, which returns an error if k is invalid.
func (c *Cache[K, V]) Key(k K) Key {
	text, _ := c.e.Key(k)
	written, err := c.e.Written(k)
	return client.Key{Text: text, Written: written, Err: err}
}

// Name returns the name given to New.
func (c *Cache[K, V]) Name() string { return c.name }

// Stats returns the counters of this cache in this process.
func (c *Cache[K, V]) Stats() CacheStats { return cacheStats(c.e) }
