package nearside

import (
	"context"
	"fmt"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/typed"
)

// Update writes the database through the cache. write holds the whole transaction, commit included, and returns the new
// value, which is what the cache holds afterwards; its context ends after LoadTimeout, and with ctx.
//
// While write runs, the old value is gone and nothing is cached, so a process that dies in between leaves nothing stale.
// If writers overlap, none of their values is kept, and the next Get loads. The value is also gone if write fails: validate before
// Update, not in write.
//
// In an HTTP handler a client that leaves ends the context, perhaps while COMMIT is in flight. Give Update
// context.WithoutCancel(r.Context()) if the key should not be in doubt then (below).
//
// write runs even if Redis is unavailable. If Redis still cannot be reached afterwards, Update returns the new value and an error that
// wraps ErrUnavailable: the database is written, and the client repeats the invalidation until Redis has it. Do not report such a write
// as failed:
//
//	u, err := users.Update(ctx, id, write)
//	if errors.Is(err, nearside.ErrUnavailable) {
//		slog.Warn("written, and the cache is invalidated later", "error", err)
//		err = nil
//	}
//
// If write fails, the error is that of write and does not wrap ErrUnavailable, whether Redis can be reached or not.
//
// An error of write says more or less about what the database did:
//
//   - It is certain that nothing was committed: the error is marked by NotCommitted, wraps ErrNotFound, or has a method
//     SQLState (the errors of PostgreSQL in pgx and lib/pq do) with a code of a class in which the server rolls back: any but 00, 01, 02, 08, 57, 58 and XX, and
//     not 40003. The error is returned as it is, the value is gone, and the next Get loads.
//   - It is marked by InDoubt: nothing is cached for the key until the outcome is known.
//   - Any other error, such as the end of the context, and a panic: the commit may have been sent, and may still become
//     visible. Nothing is cached for the key for Config.InDoubt. Mark what is certain, so that a validation that fails does not
//     cost a minute of loads.
//
// In the last two cases the error wraps ErrInDoubt too. Update returns it at once, without waiting for the outcome. A write that
// tries its transaction again must not return the error of the last try alone: a COMMIT that an earlier one has sent is in doubt
// all the same.
func (c *Cache[K, V]) Update(ctx context.Context, k K, write func(context.Context) (V, error)) (V, error) {
	return c.e.Update(ctx, k, write)
}

// Mutate runs one database transaction that changes several cached values, of one cache or of many. write holds all of it,
// commit included; its context ends after the shortest LoadTimeout of the caches, and with ctx.
//
//	err := client.Mutate(ctx, transfer, accounts.Key(7), accounts.Key(8), totals.Key("today"))
//
// While write runs, the values are gone and nothing is cached; afterwards the next Get of each loads. What follows from an error of
// write is said at Update, of all the keys; of their Config.InDoubt the longest counts. ErrKey before write is called if one of the keys cannot be one. ErrUnavailable if the database is
// written and Redis could not be told.
func (c *Client) Mutate(ctx context.Context, write func(context.Context) error, keys ...Key) error {
	written := make([]engine.Written, len(keys))
	for i, k := range keys {
		if k == nil {
			return fmt.Errorf("mutate: %w: key %d is nil", ErrKey, i)
		}
		key := k.Inside()
		if key.Err != nil {
			return fmt.Errorf("mutate: %w", key.Err)
		}
		written[i] = key.Written
	}
	return c.inside.Shared.Mutate(ctx, written, write)
}

// Invalidate removes values, and what is remembered about their absence. Call it after the commit. Once it has returned
// nil, no Get of any process that begins later returns what the database held before; but for what another process keeps near
// (Config.NearSize), until the push is there. It does not end with ctx: a caller
// who leaves must not leave a stale value behind. ErrUnavailable if Redis could not be told.
func (c *Cache[K, V]) Invalidate(ctx context.Context, ks ...K) error {
	_, err := c.e.Invalidate(ctx, ks)
	return err
}

// Set stores a value without asking anybody, for seeding. Of two calls the last wins, not the one with the newer row: to
// write a row use Update.
func (c *Cache[K, V]) Set(ctx context.Context, k K, v V) error {
	return c.e.Set(ctx, []typed.Put[K, V]{{K: k, V: v}})
}

// SetMany is Set of many values, 500 in one round trip.
func (c *Cache[K, V]) SetMany(ctx context.Context, vs map[K]V) error {
	puts := make([]typed.Put[K, V], 0, len(vs))
	for k, v := range vs {
		puts = append(puts, typed.Put[K, V]{K: k, V: v})
	}
	return c.e.Set(ctx, puts)
}
