package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/nearside/nearside/internal/store"
)

const sendings = 3 // of a begin or an end, within WriteBudget

// Update writes the database through the cache: write holds the whole transaction, commit included, and returns the new
// value. An error of write ends in an invalidation, since its outcome may be unknown.
func (c *Cache[K, V]) Update(ctx context.Context, k K, write func(context.Context) (V, error)) (v V, err error) {
	key, err := c.key(k)
	if err != nil {
		return v, err
	}
	in := c.begin(ctx, key)
	done := false
	defer func() {
		if !done { // write panicked, or called Goexit: nobody knows what it did
			c.endWrite(ctx, in, store.End{})
		}
	}()
	wctx, cancel := context.WithTimeout(ctx, c.LoadTimeout)
	v, err = write(wctx)
	cancel()
	done = true
	end := store.End{Hold: c.Hold}
	if err == nil {
		if value, e := c.Encode(v); e != nil {
			c.count.codec.Add(1)
		} else if len(value) > c.MaxValue {
			c.count.tooLarge.Add(1)
		} else {
			end.Value, end.Put, end.TTL = value, in.err == nil, c.Life(k, key, v)+c.Config.Stale
		}
	}
	behind := c.endWrite(ctx, in, end)
	switch {
	case err != nil:
		return v, err
	case behind != nil:
		return v, c.behind("update", key, behind)
	}
	c.count.written.Add(1)
	return v, nil
}

// intent is a begun write.
type intent struct {
	key     string
	token   string
	earlier []string
	err     error // no begin was answered
}

// begin announces a write. Each sending draws a fresh token and names the earlier ones: a late copy of an old one must
// not revive an intent that has ended.
func (c *Cache[K, V]) begin(ctx context.Context, key string) (in intent) {
	in.key = key
	ctx, cancel := c.detached(ctx, c.WriteBudget)
	defer cancel()
	for n := range sendings {
		if n > 0 {
			in.earlier = append(in.earlier, in.token)
		}
		in.token = store.NewToken()
		try, stop := context.WithTimeout(ctx, c.WriteBudget/sendings)
		in.err = c.Store.Begin(try, []store.Intent{{
			Key: key, Token: in.token, Earlier: in.earlier, Life: c.LoadTimeout + leaseMargin,
		}})[0].Err
		stop()
		if in.err == nil || ctx.Err() != nil {
			break
		}
	}
	return in
}

// endWrite tells the store that a write is over. An end that is sent again puts nothing: its intent is gone.
func (c *Cache[K, V]) endWrite(ctx context.Context, in intent, end store.End) (err error) {
	end.Key, end.Token, end.Earlier, end.Hold = in.key, in.token, in.earlier, c.Hold
	ctx, cancel := c.detached(ctx, c.WriteBudget)
	defer cancel()
	for range sendings {
		try, stop := context.WithTimeout(ctx, c.WriteBudget/sendings)
		err = c.Store.End(try, []store.End{end})[0].Err
		stop()
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	c.flights.Forget(in.key)
	return err
}

// Invalidate removes keys, after the database was changed. True: the key held a value. It does not end with ctx: a
// caller who leaves must not leave a stale value behind.
func (c *Cache[K, V]) Invalidate(ctx context.Context, ks []K) ([]bool, error) {
	keys, err := c.keys(ks)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	ctx, cancel := c.detached(ctx, c.WriteBudget)
	defer cancel()
	had := make([]bool, len(keys))
	for i, o := range c.Store.Invalidate(ctx, keys, c.Hold) {
		had[i] = o.OK
		c.flights.Forget(keys[i])
		if o.Err == nil {
			c.count.invalidated.Add(1)
		} else if err == nil {
			err = c.behind("invalidate", keys[i], o.Err)
		}
	}
	return had, err
}

// Put is a value for Set.
type Put[K comparable, V any] struct {
	K K
	V V
}

// Set stores values without asking anybody: for seeding. The last call wins, not the newest row.
func (c *Cache[K, V]) Set(ctx context.Context, vs []Put[K, V]) error {
	puts := make([]store.Put, len(vs))
	for i, p := range vs {
		key, err := c.key(p.K)
		if err != nil {
			return err
		}
		value, err := c.Encode(p.V)
		if err != nil {
			c.count.codec.Add(1)
			return fmt.Errorf("set %.100q: encode: %w", key, err)
		}
		if len(value) > c.MaxValue {
			c.count.tooLarge.Add(1)
			return fmt.Errorf("set %.100q: %w: %d bytes, at most %d are stored", key, ErrTooLarge, len(value), c.MaxValue)
		}
		puts[i] = store.Put{Key: key, Value: value, TTL: max(c.Life(p.K, key, p.V)+c.Config.Stale, time.Millisecond)}
	}
	if len(puts) == 0 {
		return nil
	}
	ctx, cancel := c.detached(ctx, c.WriteBudget)
	defer cancel()
	var err error
	for i, o := range c.Store.Put(ctx, puts, 0) {
		c.flights.Forget(puts[i].Key)
		if o.Err != nil && err == nil {
			err = c.behind("set", puts[i].Key, o.Err)
		}
	}
	return err
}

func (c *Cache[K, V]) behind(what, key string, cause error) error {
	c.count.behind.Add(1)
	return fmt.Errorf("%s %.100q: %w: %w", what, key, ErrUnavailable, cause)
}
