package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// Update writes the database through the cache: write holds the whole transaction, commit included, and returns the new
// value. An error of write ends in an invalidation: at once if the error says that the outcome is final, else when it is
// known (doubt.go).
func (c *Values) Update(ctx context.Context, k Key, write func(context.Context) (any, error)) (v any, err error) {
	key := k.Text
	if err := c.check(key); err != nil {
		return nil, err
	}
	in := c.intent(key)
	c.begin(ctx, []*intent{in})
	traceOf(ctx).writeBegan(key, in.err)
	ends := []store.End{{}}
	done := false
	defer func() {
		if !done { // write panicked, or called Goexit: nobody knows what it did
			c.lostWrite(ctx, []*intent{in})
		}
	}()
	wctx, cancel := context.WithTimeout(ctx, c.LoadTimeout)
	began := time.Now()
	v, err = write(wctx)
	cancel()
	done = true
	traceOf(ctx).writeEnded(key, time.Since(began), err)
	if err != nil {
		return v, c.failedWrite(ctx, "update", []*intent{in}, err)
	}
	end := &ends[0]
	if value, failed := c.values.encode(key, v); failed == nil { // else the end only invalidates: the database is written
		end.Value, end.Put, end.TTL = value, in.err == nil, c.freshFor(k, v)+c.Policy.Stale
	}
	if behind := c.endWrites(ctx, []*intent{in}, ends); behind != nil {
		c.count.Add(tally.Deferred)
		return v, unavailable("update", key, behind)
	}
	c.count.Add(tally.ByUpdate)
	return v, nil
}

func (c *Cache) intent(key string) *intent { return &intent{c: c, key: key, limit: c.LoadTimeout} }

// InvalidateKeys removes keys, after the database was changed. True: the key held a value. It does not end with ctx: a
// caller who leaves must not leave a stale value behind.
func (c *Cache) InvalidateKeys(ctx context.Context, keys []string) ([]bool, error) {
	if err := c.checkAll(keys); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, nil
	}
	c.drop(keys...)
	ctx, cancel := c.detached(ctx, c.WriteBudget*piecesOf(len(keys)))
	defer cancel()
	had, mark := make([]bool, len(keys)), c.deferred.Mark()
	var failed error
	for i, o := range retry.SendEach(ctx, c.WriteBudget, retry.LongFirst, func(a retry.Attempt, left []int) []store.Outcome {
		return sendPieces(a, pick(keys, left), bytesOfKey, func(ctx context.Context, some []string) []store.Outcome {
			return c.Store.Invalidate(ctx, some, c.Hold)
		})
	}) {
		if o.Err == nil {
			had[i] = o.OK
			c.deferred.Done(keys[i], mark)
			c.count.Add(tally.ByInvalidate)
		} else {
			c.recovery.Keep(keys[i], c.Hold, o.Err)
			if failed == nil {
				failed = c.behind("invalidate", keys[i], o.Err)
			}
		}
		c.forget(keys[i])
	}
	return had, failed
}

// Put is a value for Set.
type Put struct {
	Key   Key
	Value any
}

// Set stores values without asking anybody: for seeding. The last call wins, not the newest row.
func (c *Values) Set(ctx context.Context, vs []Put) error {
	puts := make([]store.Put, len(vs))
	for i, p := range vs {
		key := p.Key.Text
		if err := c.check(key); err != nil {
			return err
		}
		value, err := c.values.encode(key, p.Value)
		if err != nil {
			return fmt.Errorf("set %.100q: %w", key, err)
		}
		puts[i] = store.Put{Key: key, Value: value, TTL: max(c.freshFor(p.Key, p.Value)+c.Policy.Stale, time.Millisecond)}
	}
	if len(puts) == 0 {
		return nil
	}
	c.count.AddN(tally.BySet, len(puts))
	for _, p := range puts {
		c.drop(p.Key)
	}
	var err error
	outcomes := inPieces(puts, func(p *store.Put) int { return len(p.Key) + len(p.Value) }, func(some []store.Put) []store.Outcome {
		ctx, cancel := c.detached(ctx, c.WriteBudget)
		defer cancel()
		return c.Store.Put(ctx, some, 0)
	})
	for i, o := range outcomes {
		if o.Err != nil { // the value that stands there must not live on
			c.recovery.Keep(puts[i].Key, 0, o.Err)
		}
		c.forget(puts[i].Key)
		if o.Err != nil && err == nil {
			err = c.behind("set", puts[i].Key, o.Err)
		}
	}
	return err
}

func (c *Cache) behind(what, key string, cause error) error {
	c.count.Add(tally.Deferred)
	return unavailable(what, key, cause)
}
