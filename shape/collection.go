package shape

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/client"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/keytext"
	"github.com/nearside/nearside/internal/setting"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

// settings are those that all shapes have.
type settings struct {
	TTL, Stale, NotFoundTTL, LoadTimeout, SoftTimeout time.Duration
	Refresh                                           float64
	MaxLoads                                          int
	Jitter                                            float64
	MaxElements                                       int
	Cap                                               int // of a list
	Hold, InDoubt                                     time.Duration
}

// check sets the defaults, and returns an error for a setting that is out of its range.
func (s *settings) check() error {
	var c setting.Check
	setting.Default(&c, "TTL", &s.TTL, time.Hour)
	setting.Default(&c, "Stale", &s.Stale, 0)
	setting.Switch(&c, "NotFoundTTL", &s.NotFoundTTL, s.TTL)
	setting.Default(&c, "LoadTimeout", &s.LoadTimeout, 10*time.Second)
	setting.Default(&c, "SoftTimeout", &s.SoftTimeout, 0)
	setting.Default(&c, "Refresh", &s.Refresh, 0)
	setting.Default(&c, "MaxLoads", &s.MaxLoads, 0)
	setting.Switch(&c, "Jitter", &s.Jitter, 0.1)
	setting.Share(&c, "Jitter", s.Jitter)
	setting.Default(&c, "MaxElements", &s.MaxElements, 1_000_000)
	setting.Default(&c, "Cap", &s.Cap, 0)
	setting.Default(&c, "Hold", &s.Hold, 0)
	setting.Default(&c, "InDoubt", &s.InDoubt, time.Minute)
	return c.Err
}

// Collection is what the caches of all shapes have in common. It is part of List, Set, SortedSet and Hash, and of no use by itself.
type Collection[K comparable] struct {
	name   string
	client *nearside.Client
	e      *typed.Collection[K]
}

// init makes the cache; what is set in c but for Kind, Load, LoadOne and Versioned comes from s. It panics on what a programmer got
// wrong.
func (b *Collection[K]) init(client *nearside.Client, call, name string, s settings, key func(K) string, c typed.CollectionConfig[K]) {
	call = "shape." + call
	err := s.check()
	if c.Load == nil {
		err = errors.New("expected a Load or a Stream")
	}
	if err == nil {
		err = keytext.CheckName(name)
	}
	if err == nil {
		c.Key, err = keytext.KeyWriter(name, key)
	}
	if err != nil {
		panic(fmt.Sprintf("%s(%q): %v", call, name, err))
	}
	c.Policy = engine.Policy{
		Glob: name + ":*", TTL: s.TTL, Jitter: s.Jitter, Stale: s.Stale, NotFoundTTL: s.NotFoundTTL, Hold: s.Hold, InDoubt: s.InDoubt,
		LoadTimeout: s.LoadTimeout, SoftTimeout: s.SoftTimeout, Refresh: s.Refresh, MaxLoads: s.MaxLoads,
	}
	c.Parse, c.MaxElements = keytext.KeyReader(name, key), s.MaxElements
	inside := client.Inside()
	*b = Collection[K]{name, client, typed.NewCollection(inside.Shared, c)}
	inside.Register(call, name, b.e, b.e.Hash())
	inside.Shared.CheckKeys(c.Glob)
}

// Invalidate removes collections, after the database was changed. Once it has returned nil, no read of any process that
// begins later shows what the database held before. It does not end with ctx. ErrUnavailable if Redis could not be told.
func (b *Collection[K]) Invalidate(ctx context.Context, ks ...K) error {
	_, err := b.e.Invalidate(ctx, ks)
	return err
}

// Cached reports whether the store has the collection. It neither reads the elements nor loads them.
func (b *Collection[K]) Cached(ctx context.Context, k K) (bool, error) {
	_, err := b.TTL(ctx, k)
	if errors.Is(err, nearside.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// TTL returns how long the collection in the store stays fresh: zero if it is stale, nearside.Unknown if another program wrote it
// without a TTL. While an element is being written it is shorter. It returns ErrNotFound if the store has no collection. It neither
// reads the elements nor loads them.
func (b *Collection[K]) TTL(ctx context.Context, k K) (time.Duration, error) {
	v, err := b.e.Peek(ctx, k, store.Query{Part: store.Size})
	if err == nil && v.TTL < 0 {
		return nearside.Unknown, nil
	}
	return v.Fresh, err
}

// Prefetch loads collections that the store lacks, in the background. It never blocks and reports nothing.
func (b *Collection[K]) Prefetch(ctx context.Context, ks ...K) { b.e.Prefetch(ctx, ks) }

// Key returns the key of k as it stands in Redis, for logs and for Client.Mutate.
func (b *Collection[K]) Key(k K) nearside.Key {
	key, _ := b.e.Key(k)
	written, err := b.e.Written(k)
	return client.Key{Text: key, Written: written, Err: err}
}

// Name returns the name given when it was made.
func (b *Collection[K]) Name() string { return b.name }

// Stats returns the counters of this cache in this process.
func (b *Collection[K]) Stats() nearside.CacheStats {
	s, _ := b.client.CacheStats(b.name)
	return s
}

// written is the error of an Update whose database write went well, and whose value cannot be cached: the collection is dropped.
func (b *Collection[K]) written(k K, err error) error {
	return engine.Final(fmt.Errorf("%.100q: the database is written, and the cache is dropped: %w", b.Key(k), err))
}

// Len returns how many elements there are, or fields of a hash; 0 if there is no collection.
func (b *Collection[K]) Len(ctx context.Context, k K) (int, error) {
	v, err := b.e.Query(ctx, k, store.Query{Part: store.Size})
	return int(v.N), err
}
