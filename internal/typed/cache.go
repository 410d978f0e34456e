// Package typed is the shell around the engine that knows the types of keys and values: it writes keys as text, and holds values
// behind pointers, which the engine does not look into. It is thin, since Go compiles it again for each type.
package typed

import (
	"context"
	"strings"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/near"
)

// Config says how a cache finds, reads and writes its values.
type Config[K comparable, V any] struct {
	engine.Policy
	Key      func(K) (string, error)
	Parse    func(string) (K, bool)                      // the key of a text; nil: it cannot be told
	Load     func(context.Context, K) (V, error)         // nil: LoadMany with one key
	LoadMany func(context.Context, []K) (map[K]V, error) // nil: Load for each key
	Encode   func(V) ([]byte, error)
	Decode   func([]byte) (V, error)
	DecodeTo func([]byte, *V) error   // Decode to where the value is kept, which saves a copy; nil: Decode
	Expire   func(K, V) time.Duration // how long a value is fresh; zero or less, and nil: TTL
	MaxValue int                      // bytes of one value
	Near     NearConfig[V]
}

// NearConfig are the settings of a cache's tier in the process: see engine.NearConfig. The zero value is: none.
type NearConfig[V any] struct {
	Size           int
	Bytes          uint64
	Max, Untracked time.Duration
	Weigh          func([]byte) int
	Clone          func(V) V
}

// Cache reads and writes the values of one kind. It is safe for concurrent use.
type Cache[K comparable, V any] struct {
	*engine.Values
	Keys[K]
	load     func(context.Context, K) (V, error)
	loadMany func(context.Context, []K) (map[K]V, error)
	clone    func(V) V
}

// New returns a cache.
func New[K comparable, V any](s *engine.Shared, cfg Config[K, V]) *Cache[K, V] {
	c := &Cache[K, V]{Keys: newKeys(cfg.Key, cfg.Parse), load: cfg.Load, loadMany: cfg.LoadMany, clone: cfg.Near.Clone}
	e := engine.Config{
		Policy: cfg.Policy, MaxValue: cfg.MaxValue,
		Encode: func(v any) ([]byte, error) { return cfg.Encode(*v.(*V)) },
		Decode: func(data []byte) (any, error) {
			if v := new(V); cfg.DecodeTo != nil {
				return v, cfg.DecodeTo(data, v)
			}
			v, err := cfg.Decode(data)
			return &v, err
		},
		Near: engine.NearConfig{
			Size: cfg.Near.Size, Bytes: cfg.Near.Bytes, Max: cfg.Near.Max, Untracked: cfg.Near.Untracked, Weigh: cfg.Near.Weigh,
			Make: func(clock *near.Clock, size int, bytes uint64) engine.NearTier {
				text := func(k K) string { text, _ := cfg.Key(k); return text }
				c.near = near.New(near.Options[K]{Size: size, Bytes: bytes, Text: text, Parse: cfg.Parse, Clock: clock})
				return c.near
			},
		},
	}
	if cfg.Load != nil {
		e.Load = c.loadOne
	}
	if cfg.LoadMany != nil {
		e.LoadMany = c.loadEach
	}
	if cfg.Expire != nil {
		e.Expire = func(k engine.Key, v any) time.Duration { return cfg.Expire(c.of(k), *v.(*V)) }
	}
	if clone := cfg.Near.Clone; clone != nil {
		e.Near.Clone = func(v any) any { return pointer(clone(*v.(*V))) }
	}
	c.Values = engine.New(s, e)
	c.cache = &c.Values.Cache
	return c
}

// pointer returns a value as the engine holds it.
func pointer[V any](v V) any { return &v }

// value returns the value behind a pointer that the engine held; zero if it held none.
func value[V any](v any) (out V) {
	if p, ok := v.(*V); ok {
		out = *p
	}
	return out
}

func (c *Cache[K, V]) loadOne(ctx context.Context, k engine.Key) (any, error) {
	v, err := c.load(ctx, c.of(k))
	return &v, err
}

func (c *Cache[K, V]) loadEach(ctx context.Context, keys []engine.Key, out []engine.Loaded) {
	ks := make([]K, len(keys))
	for i, k := range keys {
		ks[i] = c.of(k)
	}
	found, err := c.loadMany(ctx, ks) // it may do to ks what it wants
	if err == nil {
		matched, room := 0, make([]V, len(keys))
		for i, k := range keys {
			if v, ok := found[c.of(k)]; ok {
				room[i] = v
				out[i].Value = &room[i]
				matched++
			} else {
				out[i].Err = engine.ErrNotFound
			}
		}
		if matched == len(found) {
			return
		}
	}
	ks = make([]K, len(keys)) // the other one may be kept
	for i, k := range keys {
		ks[i] = c.of(k)
	}
	held := make(map[K]any, len(found))
	for k, v := range found {
		held[k] = &v
	}
	c.assign(keys, ks, held, err, out)
}

// Entry is a value and what is known about it.
type Entry[V any] struct {
	Value  V
	Source engine.Source
	Age    time.Duration // since it was loaded; -1 if another program wrote it with a life that tells nothing
	TTL    time.Duration // how long it stays fresh, zero if it is stale or has no TTL
	Stale  bool          // past its TTL
}

func entry[V any](e engine.Entry, err error) (Entry[V], error) {
	return Entry[V]{value[V](e.Value), e.Source, e.Age, e.TTL, e.Stale}, err
}

// give returns what is kept near for a caller, who may modify it if there is a Clone.
func (c *Cache[K, V]) give(e *near.Entry) V {
	if v := *e.Value.(*V); c.clone == nil {
		return v
	} else {
		return c.clone(v)
	}
}

// Get returns the value of k, loaded if need be.
func (c *Cache[K, V]) Get(ctx context.Context, k K) (v V, err error) {
	if c.near != nil {
		if e, ok := c.kept(ctx, k); ok {
			if e.Absent {
				return v, c.absent(k)
			}
			return c.give(e), nil
		}
	}
	key, err := c.key(k)
	if err != nil {
		_, err = c.Failed(err)
		return v, err
	}
	e, err := c.Values.Get(ctx, key)
	return value[V](e.Value), err
}

// Local returns what this process holds of k: in the near cache, or in a store in memory. It never waits. ok is false if the process
// holds nothing that may be served. err is ErrNotFound if it knows that there is no such row. Nothing refers to a k that is a string
// when it has returned, so that its bytes may be in a buffer that is used again.
func (c *Cache[K, V]) Local(k K) (v V, ok bool, err error) {
	if v, ok, err = c.Kept(k); ok || !c.Shared.Store.Local() {
		return v, ok, err
	}
	key, err := c.key(k)
	if err != nil {
		return v, false, nil
	}
	key.Text = strings.Clone(key.Text) // a refresh may begin, which keeps it
	held, ok := c.Values.Ready(key)
	return value[V](held), ok, nil
}

// Kept is Local for the near cache alone.
func (c *Cache[K, V]) Kept(k K) (v V, ok bool, err error) {
	if c.near == nil {
		return v, false, nil
	}
	e, ok := c.kept(context.Background(), k)
	switch {
	case !ok:
		return v, false, nil
	case e.Absent:
		return v, true, engine.ErrNotFound
	}
	return c.give(e), true, nil
}

// Entry is Get with what is known about the value. With ErrNotFound, Source says who knew.
func (c *Cache[K, V]) Entry(ctx context.Context, k K) (Entry[V], error) {
	if c.near != nil {
		if e, ok := c.kept(ctx, k); ok {
			key, _ := c.write(k)
			return entry[V](c.Near(key, e, true))
		}
	}
	key, err := c.key(k)
	if err != nil {
		return entry[V](c.Failed(err))
	}
	return entry[V](c.Values.Entry(ctx, key))
}

// Peek returns what the store holds, and never loads. ErrNotFound if there is nothing that may be served.
func (c *Cache[K, V]) Peek(ctx context.Context, k K) (Entry[V], error) {
	key, err := c.key(k)
	if err != nil {
		return Entry[V]{}, err
	}
	return entry[V](c.Values.Peek(ctx, key))
}
