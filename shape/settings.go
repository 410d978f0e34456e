package shape

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/bind"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/keytext"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

// Settings are those that all shapes have. Zero means the default, negative switches off; what a field means is said at
// nearside.Config.
type Settings struct {
	TTL   time.Duration // how long a collection is fresh. 1 h if zero; it cannot be switched off
	Stale time.Duration // how much longer it is served while one process loads it anew, or when Load fails. Off if zero

	// NotFoundTTL is how long it is remembered that a collection has no elements. As long as TTL if zero, since to have none is
	// nothing special; off if negative.
	NotFoundTTL time.Duration

	// LoadTimeout is the limit of one load, and of the function given to Update. 10 s if zero; it cannot be switched off.
	LoadTimeout time.Duration
	SoftTimeout time.Duration // how long a read waits for a fresh collection before it is given a stale one. Off if zero
	Refresh     float64       // how eagerly a collection is loaded anew before it is stale; 1 is usual. Off if zero
	MaxLoads    int           // how many loads this process runs at once. Off if zero
	Jitter      float64       // shortens each key's TTL by a share between 0 and this. 0.1 if zero, at most 1

	// Hold is how long after an Invalidate nothing is cached: at least the lag of the replica that Load reads. Writes of single
	// members do not hold: where Load reads a replica, use Invalidate. Off if zero.
	Hold time.Duration

	// InDoubt is how long after an Update has failed its commit may still become visible; nearside.Config says more. Nothing of
	// the collection is cached for that long. 1 min if zero; it cannot be switched off.
	InDoubt time.Duration

	// MaxElements is how many a load may bring; more are an error. 1,000,000 if zero; it cannot be switched off.
	MaxElements int
}

// base is what all shapes have in common.
type base[K comparable] struct {
	name string
	e    *typed.Collection[K]
}

// newBase makes a cache of collections; what is set in c but for Kind, Load, LoadOne and Versioned comes from s. It panics on what
// a programmer got wrong.
func newBase[K comparable](client *nearside.Client, call, name string, s Settings, key func(K) string, c typed.CollectionConfig[K]) base[K] {
	call = "shape." + call
	var err error
	switch {
	case c.Load == nil:
		err = errors.New("expected a Load or a Stream")
	case s.Jitter > 1:
		err = fmt.Errorf("Jitter is %v: expected a share of the TTL between 0 and 1", s.Jitter)
	case s.InDoubt < 0:
		err = fmt.Errorf("InDoubt is %v: expected how long a commit may take to become visible after its write has failed", s.InDoubt)
	default:
		if err = keytext.CheckName(name); err == nil {
			c.Key, err = keytext.KeyWriter(name, key)
		}
	}
	if err != nil {
		panic(fmt.Sprintf("%s(%q): %v", call, name, err))
	}
	ttl := positive(s.TTL, time.Hour)
	c.Policy = engine.Policy{
		Glob: name + ":*", TTL: ttl, Jitter: max(cmp.Or(s.Jitter, 0.1), 0), Stale: max(s.Stale, 0),
		NotFoundTTL: max(cmp.Or(s.NotFoundTTL, ttl), 0), Hold: max(s.Hold, 0), InDoubt: cmp.Or(s.InDoubt, time.Minute),
		LoadTimeout: positive(s.LoadTimeout, 10*time.Second), SoftTimeout: max(s.SoftTimeout, 0), Refresh: max(s.Refresh, 0), MaxLoads: max(s.MaxLoads, 0),
	}
	c.Parse, c.MaxElements = keytext.KeyReader(name, key), max(s.MaxElements, 0)
	inside := bind.Of(client)
	b := base[K]{name, typed.NewCollection(inside.Shared, c)}
	inside.Register(call, name, b.e, b.e.Hash())
	inside.Shared.CheckKeys(c.Glob)
	return b
}

func positive(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// Invalidate removes collections, after the database was changed. Once it has returned nil, no read of any process that
// begins later shows what the database held before. It does not end with ctx. ErrUnavailable if Redis could not be told.
func (b base[K]) Invalidate(ctx context.Context, ks ...K) error {
	_, err := b.e.Invalidate(ctx, ks)
	return err
}

// TTL returns how long the collection in the store stays fresh: zero if it is stale, -1 if another program wrote it without a
// TTL. While a member is being written it is shorter. ErrNotFound if the store has none. It never loads.
func (b base[K]) TTL(ctx context.Context, k K) (time.Duration, error) {
	v, err := b.e.Peek(ctx, k, store.Query{Part: store.Size})
	if err == nil && v.TTL < 0 {
		return -1, nil
	}
	return v.Fresh, err
}

// Cached reports whether the store has the collection. It never loads.
func (b base[K]) Cached(ctx context.Context, k K) (bool, error) {
	_, err := b.e.Peek(ctx, k, store.Query{Part: store.Size})
	if errors.Is(err, nearside.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Prefetch loads collections that the store lacks, in the background. It never blocks and reports nothing.
func (b base[K]) Prefetch(ctx context.Context, ks ...K) { b.e.Prefetch(ctx, ks) }

// Key returns the key of k as it stands in Redis, for logs and for Client.Mutate.
func (b base[K]) Key(k K) nearside.Key {
	key, _ := b.e.Key(k)
	written, err := b.e.Written(k)
	return bind.Key(key, written, err).(nearside.Key)
}

// Name returns the name given when it was made.
func (b base[K]) Name() string { return b.name }

// Stats returns the counters of this cache in this process.
func (b base[K]) Stats() nearside.CacheStats { return b.e.Stats() }

// written is the error of an Update whose database write went well, and whose value cannot be cached: the collection is dropped.
func (b base[K]) written(k K, err error) error {
	return engine.Final(fmt.Errorf("%.100q: the database is written, and the cache is dropped: %w", b.Key(k), err))
}

// Len returns how many elements there are, or fields of a hash; 0 if there is no collection.
func (b base[K]) Len(ctx context.Context, k K) (int, error) {
	v, err := b.e.Query(ctx, k, store.Query{Part: store.Size})
	return int(v.N), err
}
