package typed

import (
	"context"

	"github.com/nearside/nearside/internal/engine"
)

// Update writes the database through the cache: see engine.Values.
func (c *Cache[K, V]) Update(ctx context.Context, k K, write func(context.Context) (V, error)) (v V, err error) {
	key, err := c.key(k)
	if err != nil {
		return v, err
	}
	held, err := c.Values.Update(ctx, key, func(ctx context.Context) (any, error) {
		v, err := write(ctx)
		return &v, err
	})
	return value[V](held), err
}

// Put is a value for Set.
type Put[K comparable, V any] struct {
	K K
	V V
}

// Set stores values without asking anybody: for seeding. The last call wins, not the newest row.
func (c *Cache[K, V]) Set(ctx context.Context, vs []Put[K, V]) error {
	puts := make([]engine.Put, len(vs))
	for i := range vs {
		key, err := c.key(vs[i].K)
		if err != nil {
			return err
		}
		puts[i] = engine.Put{Key: key, Value: &vs[i].V}
	}
	return c.Values.Set(ctx, puts)
}
