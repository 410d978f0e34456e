package serve

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/collection"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

// newCollection makes a cache of collections whose elements are text, as package shape does for elements of a type.
func newCollection(client *nearside.Client, spec Spec, log *journal) *typed.Collection[string] {
	inside := client.Inside()
	c := typed.NewCollection(inside.Shared, typed.CollectionConfig[string]{
		Policy: engine.Policy{
			Glob: spec.Key.Glob(), Ours: spec.owns, TTL: spec.TTL, Jitter: spec.Jitter, Stale: spec.Stale, NotFoundTTL: spec.NotFoundTTL,
			Hold: spec.Hold, InDoubt: time.Minute, LoadTimeout: spec.LoadTimeout, MaxLoads: spec.MaxLoads,
		},
		Kind:  spec.Shape,
		Key:   func(key string) (string, error) { return key, nil },
		Parse: func(key string) (string, bool) { return key, true },
		Load: func(ctx context.Context, key string, emit func(store.Element) error) error {
			args, ok := spec.Key.Match([]byte(key))
			if !ok {
				return nearside.ErrNotFound
			}
			var ended error // by who takes the elements: no failure of the database
			err := spec.Elements(ctx, args, func(e store.Element) error {
				ended = emit(e)
				return ended
			})
			if ended == nil {
				log.failed("load", spec.Name, key, err)
			}
			return err
		},
		MaxElements: spec.MaxRows,
	})
	inside.Register("nearside serve", spec.Name, c, c.Hash())
	return c
}

// Query asks for a part of the collection of a key. One that cannot be has no elements.
func (s *Service) Query(ctx context.Context, key []byte, kind store.Kind, q store.Query) (engine.View, error) {
	c, err := s.find(key)
	switch {
	case err != nil:
		return engine.View{}, err
	case c == nil:
		return engine.View{View: collection.New(kind).Query(q)}, nil
	case c.Shape != kind:
		return engine.View{}, errWrongType
	}
	return c.Query(ctx, string(key), q)
}

// Query asks for a part of the collection of a key.
func (c *Cache) Query(ctx context.Context, key string, q store.Query) (engine.View, error) {
	v, err := c.Shaped.Query(ctx, key, q)
	if q.Part == store.All && c.Shape == store.Hash && err == nil {
		v.Elements = c.ordered(v.Elements)
	}
	return v, err
}

// ordered puts fields into the order of the columns: no store keeps it, and clients put what HKEYS and HVALS say side by side.
func (c *Cache) ordered(fields []store.Element) []store.Element {
	fields = slices.Clone(fields) // what a store gives is shared
	place := make(map[string]int, len(c.Fields))
	for i, name := range c.Fields {
		place[name] = i
	}
	slices.SortFunc(fields, func(a, b store.Element) int {
		return cmp.Or(cmp.Compare(place[a.Member], place[b.Member]), cmp.Compare(a.Member, b.Member))
	})
	return fields
}

const picked = 1000 // members of one question

// Intersect returns the members that all of the sets have.
func (s *Service) Intersect(ctx context.Context, keys [][]byte) ([]store.Element, error) {
	caches := make([]*Cache, len(keys))
	empty := false
	for i, key := range keys {
		c, err := s.find(key)
		switch {
		case err != nil:
			return nil, err
		case c != nil && c.Shape != store.Set:
			return nil, errWrongType
		}
		caches[i], empty = c, empty || c == nil
	}
	switch {
	case empty:
		return nil, nil
	case len(keys) == 2 && caches[0] == caches[1]:
		return caches[0].Shaped.Intersect(ctx, string(keys[0]), string(keys[1]))
	}
	// The smallest is read, and the others are asked for its members.
	sizes := make(map[string]int64, len(keys))
	for i, key := range keys {
		v, err := caches[i].Shaped.Query(ctx, string(key), store.Query{Part: store.Size})
		if err != nil || v.N == 0 {
			return nil, err
		}
		sizes[string(key)] = v.N
	}
	order := slices.SortedFunc(slices.Values(keys), func(a, b []byte) int { return cmp.Compare(sizes[string(a)], sizes[string(b)]) })
	v, err := s.Query(ctx, order[0], store.Set, store.Query{Part: store.All})
	left := v.Elements
	for _, key := range order[1:] {
		var both []store.Element
		for part := range slices.Chunk(left, picked) {
			q := store.Query{Part: store.Pick, Names: make([]string, len(part))}
			for i, e := range part {
				q.Names[i] = e.Member
			}
			if v, err = s.Query(ctx, key, store.Set, q); err != nil {
				return nil, err
			}
			for i, has := range v.Has {
				if has {
					both = append(both, part[i])
				}
			}
		}
		left = both
	}
	return left, err
}
