package nearside

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearside/nearside/codec"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/keytext"
	"github.com/nearside/nearside/internal/typed"
)

// Config says how a cache loads and keeps its values. Zero means the default, negative switches off.
type Config[K comparable, V any] struct {
	// Load asks the database for one row. It returns or wraps ErrNotFound if there is none. A value that it returns together
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

	TTL         time.Duration // how long a value is fresh. 1 h if zero; it cannot be switched off
	Stale       time.Duration // how much longer it is served while one process loads it anew, or when Load fails. Off if zero
	NotFoundTTL time.Duration // how long it is remembered that a row does not exist. Off if zero
	LoadTimeout time.Duration // of one load. 10 s if zero; it cannot be switched off

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

	// Clone copies a value for a caller who modifies what he gets. It must return a value that shares nothing with its argument. It is for caches with a NearSize or NearBytes. If it is nil,
	// values from near, and those that were loaded, are shared.
	Clone func(V) V

	// Jitter shortens each key's TTL by a share of its own between 0 and this, so that keys that were loaded together
	// do not expire together. 0.1 if zero, at most 1.
	Jitter float64

	// Hold is how long after an invalidation nothing is cached: at least the lag of the replica that Load reads. It must
	// be the same in all processes. Off if zero.
	Hold time.Duration

	// InDoubt is how long after an Update or a Mutate has failed its commit may still become visible, at most: the database
	// goes on while the caller has left, the answer to COMMIT is lost, a server waits for its standby. For that long nothing is
	// cached for the key, unless the error says that the outcome is known: see Update. It is also how long nothing is cached for
	// the keys of a process that died in the middle of a write. Compare it with what bounds a transaction whose client is gone:
	// idle_in_transaction_session_timeout and the TCP timeouts of the server, and how long a synchronous standby may be
	// unavailable. 1 min if zero; it cannot be switched off.
	InDoubt time.Duration

	// Expire returns the TTL of one value, in place of TTL. Zero or less means TTL. It must not modify the value. The longest TTL, like
	// any other duration here, is 100 years: math.MaxInt64 is "never".
	Expire func(K, V) time.Duration

	// Key writes a key as text. Strings, integers, bools and encoding.TextMarshaler need none. Keys of the same text are one key,
	// so keys of different rows need different texts.
	Key func(K) string

	// Codec writes values as bytes. JSON if nil, for []byte the bytes as they are.
	Codec codec.Codec[V]

	// MaxValue is the size in bytes of the largest value that is stored; larger ones are served, not stored, and
	// counted. 1 MiB if zero; it cannot be switched off.
	MaxValue int
}

// inDoubt is the default of Config.InDoubt.
const inDoubt = time.Minute

// Cache is a cache with its loader inside. It is safe for concurrent use. Its values are shared between callers: do not
// modify what a pointer, a slice or a map in them refers to.
type Cache[K comparable, V any] struct {
	name string
	e    *typed.Cache[K, V]
}

// New makes a cache whose keys are name, a colon, and the key: "user:42". It panics on what a programmer got wrong: a
// name that does not match [a-z0-9][a-z0-9_.-]* or is taken, no loader, keys that need Config.Key, a Jitter above 1.
func New[K comparable, V any](c *Client, name string, cfg Config[K, V]) *Cache[K, V] {
	cache, err := newCache(c, name, cfg)
	if err != nil {
		panic(fmt.Sprintf("nearside: New(%q): %v", name, err))
	}
	c.register("nearside.New", name, cache.e, cache.e.Hash())
	c.shared.CheckKeys(name + ":*")
	return cache
}

func newCache[K comparable, V any](c *Client, name string, cfg Config[K, V]) (*Cache[K, V], error) {
	if err := keytext.CheckName(name); err != nil {
		return nil, err
	}
	if cfg.Load == nil && cfg.LoadMany == nil {
		return nil, errors.New("expected Config.Load or Config.LoadMany")
	}
	if cfg.Jitter > 1 {
		return nil, fmt.Errorf("Config.Jitter is %v: expected a share of the TTL between 0 and 1", cfg.Jitter)
	}
	if cfg.InDoubt < 0 {
		return nil, fmt.Errorf("Config.InDoubt is %v: expected how long a commit may take to become visible after its write has failed", cfg.InDoubt)
	}
	key, err := keytext.KeyWriter(name, cfg.Key)
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
	if cfg.TTL <= 0 {
		cfg.TTL = time.Hour
	}
	if cfg.LoadTimeout <= 0 {
		cfg.LoadTimeout = 10 * time.Second
	}
	if cfg.MaxValue <= 0 {
		cfg.MaxValue = 1 << 20
	}
	if cfg.Jitter == 0 {
		cfg.Jitter = 0.1
	}
	if cfg.NearMax <= 0 {
		cfg.NearMax = time.Minute
	}
	var weigh func([]byte) int
	if c, ok := cfg.Codec.(interface{ DecodedSize([]byte) int }); ok {
		weigh = c.DecodedSize
	}
	var decodeTo func([]byte, *V) error
	if c, ok := cfg.Codec.(interface{ DecodeTo([]byte, *V) error }); ok {
		decodeTo = c.DecodeTo
	}
	return &Cache[K, V]{name: name, e: typed.New(c.shared, typed.Config[K, V]{
		Policy: engine.Policy{
			Glob: name + ":*", TTL: cfg.TTL, Jitter: max(cfg.Jitter, 0), Stale: max(cfg.Stale, 0), NotFoundTTL: max(cfg.NotFoundTTL, 0),
			Hold: max(cfg.Hold, 0), InDoubt: cmp.Or(cfg.InDoubt, inDoubt), LoadTimeout: cfg.LoadTimeout, SoftTimeout: max(cfg.SoftTimeout, 0),
			Refresh: max(cfg.Refresh, 0), MaxLoads: cfg.MaxLoads,
		},
		Key: key, Parse: keytext.KeyReader(name, cfg.Key), Load: cfg.Load, LoadMany: cfg.LoadMany,
		Encode: cfg.Codec.Encode, Decode: cfg.Codec.Decode, DecodeTo: decodeTo, Expire: cfg.Expire, MaxValue: cfg.MaxValue,
		Near: typed.NearConfig[V]{
			Size: max(cfg.NearSize, 0), Bytes: uint64(max(cfg.NearBytes, 0)), Max: cfg.NearMax, Untracked: max(cfg.NearUntracked, 0),
			Clone: cfg.Clone, Weigh: weigh,
		},
	})}, nil
}

// Source says where an answer came from.
type Source = engine.Source

// The sources, and the words for them in statistics, headers and metrics.
const (
	SourceNear     = engine.Near     // this process
	SourceStore    = engine.Store    // Redis, or the memory store
	SourceLoad     = engine.Load     // the database
	SourceStale    = engine.Stale    // the store, past its TTL
	SourceNegative = engine.Negative // the store knows that there is no such row
)

// Entry is a value and what is known about it.
type Entry[V any] = typed.Entry[V]

// Get returns the value of k: from the store, else loaded, by one process for all. ErrNotFound if there is no such row.
// An error of the loader is returned wrapped, and never remembered. What was loaded is on its way to Redis when Get returns it, and
// there a moment later. This cache's own methods know of it; who asks Redis itself may find nothing yet, and a process that ends
// without Client.Close may leave it undone.
func (c *Cache[K, V]) Get(ctx context.Context, k K) (V, error) { return c.e.Get(ctx, k) }

// GetEntry is Get with where the value came from, its age and its TTL. With ErrNotFound, Source says who knew.
func (c *Cache[K, V]) GetEntry(ctx context.Context, k K) (Entry[V], error) { return c.e.Entry(ctx, k) }

// GetMany is Get of many keys: for each 500 of them, one round trip for those that the store has, and one load for the rest. What does not exist is not
// in the map, and is no error. On an error the map holds what succeeded.
func (c *Cache[K, V]) GetMany(ctx context.Context, ks []K) (map[K]V, error) {
	return c.e.GetMap(ctx, ks)
}

// Peek returns what the store holds, and never loads. ErrNotFound if it holds nothing that can be read, and while an
// invalidation of k by this process could not be delivered.
func (c *Cache[K, V]) Peek(ctx context.Context, k K) (Entry[V], error) { return c.e.Peek(ctx, k) }

// TTL returns how long the value in the store stays fresh: zero if it is stale, -1 if another program wrote it without a
// TTL. ErrNotFound where Peek says so. It does not read the value.
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
		return -1, nil
	}
	return max(infos[0].TTL-c.e.Stale, 0), nil
}

// Prefetch loads the keys that the store lacks, in the background, 500 at a time. It never blocks and reports nothing; keys
// that cannot be keys are left out.
func (c *Cache[K, V]) Prefetch(ctx context.Context, ks ...K) { c.e.Prefetch(ctx, ks) }

// Key returns the key of k as it stands in Redis, for logs and for Client.Mutate, which reports what is wrong with it.
func (c *Cache[K, V]) Key(k K) Key {
	text, _ := c.e.Key(k)
	written, err := c.e.Written(k)
	return Key{text, written, err}
}

// Name returns the name given to New.
func (c *Cache[K, V]) Name() string { return c.name }

// Stats returns the counters of this cache in this process.
func (c *Cache[K, V]) Stats() CacheStats { return c.e.Stats() }
