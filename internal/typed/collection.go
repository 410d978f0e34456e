package typed

import (
	"context"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
)

// CollectionConfig says how a cache of collections finds, reads and writes them: see engine.CollectionConfig.
type CollectionConfig[K comparable] struct {
	engine.Policy
	Kind        store.Kind
	Key         func(K) (string, error)
	Parse       func(string) (K, bool) // the key of a text; nil: it cannot be told
	Load        func(ctx context.Context, k K, emit func(store.Element) error) error
	LoadOne     func(ctx context.Context, k K, member string) (e store.Element, ok bool, err error)
	Versioned   bool
	MaxElements int
}

// Collection reads and writes the collections of one kind. It is safe for concurrent use.
type Collection[K comparable] struct {
	*engine.Collection
	Keys[K]
}

// NewCollection returns a cache of collections.
func NewCollection[K comparable](s *engine.Shared, cfg CollectionConfig[K]) *Collection[K] {
	c := &Collection[K]{Keys: newKeys(cfg.Key, cfg.Parse)}
	e := engine.CollectionConfig{
		Policy: cfg.Policy, Kind: cfg.Kind, Versioned: cfg.Versioned, MaxElements: cfg.MaxElements,
		Load: func(ctx context.Context, k engine.Key, emit func(store.Element) error) error {
			return cfg.Load(ctx, c.of(k), emit)
		},
	}
	if cfg.LoadOne != nil {
		e.LoadOne = func(ctx context.Context, k engine.Key, member string) (store.Element, bool, error) {
			return cfg.LoadOne(ctx, c.of(k), member)
		}
	}
	c.Collection = engine.NewCollection(s, e)
	c.cache = &c.Collection.Cache
	return c
}

// Query reads a part of the collection of k, loaded if need be: see engine.Collection.
func (c *Collection[K]) Query(ctx context.Context, k K, q store.Query) (engine.View, error) {
	return c.QueryChecked(ctx, k, q, nil)
}

// QueryChecked is Query for a caller who may find an element that is none: see engine.Collection.
func (c *Collection[K]) QueryChecked(ctx context.Context, k K, q store.Query, check func(store.View) (member string, err error)) (engine.View, error) {
	key, err := c.key(k)
	if err != nil {
		_, err = c.Failed(err)
		return engine.View{}, err
	}
	return c.Collection.QueryChecked(ctx, key, q, check)
}

// Peek reads a part of a collection, and never loads: see engine.Collection.
func (c *Collection[K]) Peek(ctx context.Context, k K, q store.Query) (engine.View, error) {
	key, err := c.key(k)
	if err != nil {
		return engine.View{}, err
	}
	return c.Collection.Peek(ctx, key, q)
}

// Intersect returns the members that the sets of both have.
func (c *Collection[K]) Intersect(ctx context.Context, a, b K) ([]store.Element, error) {
	keys, err := c.keys([]K{a, b})
	if err != nil {
		return nil, err
	}
	return c.Collection.Intersect(ctx, keys[0], keys[1])
}

// Write tells of members whose rows were changed, after the commit: see engine.Collection.
func (c *Collection[K]) Write(ctx context.Context, k K, changes ...store.Change) error {
	key, err := c.key(k)
	if err != nil {
		return err
	}
	return c.Collection.Write(ctx, key, changes...)
}

// Update writes the database and tells of one member: see engine.Collection.
func (c *Collection[K]) Update(ctx context.Context, k K, member string, write func(context.Context) (store.Change, float64, error)) error {
	key, err := c.key(k)
	if err != nil {
		return err
	}
	return c.Collection.Update(ctx, key, member, write)
}
