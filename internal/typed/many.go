package typed

import (
	"context"
	"errors"

	"github.com/nearside/nearside/internal/engine"
)

// Answer is what GetMany found for one key.
type Answer[V any] struct {
	Entry Entry[V]
	Err   error
}

// GetMany is Get of many keys: one trip for what the store has, one claim and one load for the rest. The answers are in
// the order of ks.
func (c *Cache[K, V]) GetMany(ctx context.Context, ks []K) []Answer[V] {
	return c.many(ctx, ks, (*engine.Values).GetMany)
}

// Entries is GetMany with what is known about each value.
func (c *Cache[K, V]) Entries(ctx context.Context, ks []K) []Answer[V] {
	return c.many(ctx, ks, (*engine.Values).Entries)
}

// GetMap is GetMany for a map of what was found. failed has the errors that are not ErrNotFound. It is nil if there are none.
func (c *Cache[K, V]) GetMap(ctx context.Context, ks []K) (found map[K]V, failed map[K]error) {
	found = make(map[K]V, len(ks))
	if ks = c.takeNear(ctx, ks, found); len(ks) == 0 {
		return found, nil
	}
	keys, err := c.keys(ks)
	if err != nil {
		for i, a := range c.GetMany(ctx, ks) {
			failed = c.put(found, ks[i], a.Entry.Value, a.Err, failed)
		}
		return found, failed
	}
	for i, a := range c.Values.GetMany(ctx, keys) {
		failed = c.put(found, ks[i], value[V](a.Entry.Value), a.Err, failed)
	}
	return found, failed
}

// put adds an answer to found, or its error to failed, and returns failed.
func (c *Cache[K, V]) put(found map[K]V, k K, v V, err error, failed map[K]error) map[K]error {
	if err == nil {
		found[k] = v
	} else if !errors.Is(err, engine.ErrNotFound) {
		if failed == nil {
			failed = make(map[K]error)
		}
		failed[k] = err
	}
	return failed
}

// takeNear puts what is kept in the process into found, and returns the other keys. A batch that is near as a whole then costs
// nothing but the map.
func (c *Cache[K, V]) takeNear(ctx context.Context, ks []K, found map[K]V) (rest []K) {
	if c.near == nil {
		return ks
	}
	for _, k := range ks {
		switch e, ok := c.kept(ctx, k); {
		case !ok:
			rest = append(rest, k)
		case !e.Absent:
			found[k] = c.give(e)
		}
	}
	return rest
}

func (c *Cache[K, V]) many(ctx context.Context, ks []K, read func(*engine.Values, context.Context, []engine.Key) []engine.Answer) []Answer[V] {
	out := make([]Answer[V], len(ks))
	keys, at := c.distant(ctx, ks, func(i int, e engine.Entry, err error) { out[i].Entry, out[i].Err = entry[V](e, err) })
	if len(keys) == 0 {
		return out
	}
	for n, a := range read(c.Values, ctx, keys) {
		out[at[n]].Entry, out[at[n]].Err = entry[V](a.Entry, a.Err)
	}
	return out
}

// distant returns the keys that are not kept in the process, and the place of each in ks. It calls answer for the others, and for
// those that cannot be keys.
func (c *Keys[K]) distant(ctx context.Context, ks []K, answer func(i int, e engine.Entry, err error)) (keys []engine.Key, at []int) {
	keys, at = make([]engine.Key, 0, len(ks)), make([]int, 0, len(ks))
	for i, k := range ks {
		if c.near != nil {
			if e, ok := c.kept(ctx, k); ok {
				key, _ := c.write(k)
				e, err := c.cache.Near(key, e, true)
				answer(i, e, err)
				continue
			}
		}
		key, err := c.key(k)
		if err != nil {
			e, err := c.cache.Failed(err)
			answer(i, e, err)
			continue
		}
		keys, at = append(keys, key), append(at, i)
	}
	return keys, at
}
