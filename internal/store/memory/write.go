package memory

import (
	"context"
	"slices"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// Invalidate removes values.
func (s *Store) Invalidate(ctx context.Context, keys []string, hold time.Duration) []store.Outcome {
	return write(s, ctx, keys, func(key string) bool {
		k := s.lock(key)
		defer k.unlock()
		k.disturb(hold, k.now)
		k.many.unsure()
		return k.drop()
	})
}

// Sweep invalidates keys, a shard at a time: a key has its value and its sidecar in one entry, so no fill gets by. Trackers are told
// at the end, so that they keep nothing that they have read meanwhile; also of a sweep that ends early.
func (s *Store) Sweep(ctx context.Context, glob string, ours func(key string) bool) error {
	if err := store.CheckGlob(glob); err != nil {
		return err
	}
	defer s.tellSwept()
	for i := range s.shards {
		if err := s.ready(ctx); err != nil {
			return err
		}
		sh, now := &s.shards[i], s.now()
		sh.mu.Lock()
		for key, e := range sh.entries {
			if store.Match(glob, key) && (ours == nil || ours(key)) && !sh.expire(e, now) {
				e.disturb(0, now)
				e.many.unsure()
				sh.drop(e)
				sh.settle(e)
			}
		}
		sh.mu.Unlock()
	}
	return nil
}

// Put stores values.
func (s *Store) Put(ctx context.Context, puts []store.Put, hold time.Duration) []store.Outcome {
	return write(s, ctx, puts, func(p store.Put) bool {
		k := s.lock(p.Key)
		defer k.unlock()
		k.disturb(hold, k.now)
		k.put(p.Value, after(k.now, p.TTL))
		return true
	})
}

// Begin announces writes.
func (s *Store) Begin(ctx context.Context, intents []store.Intent) []store.Outcome {
	return write(s, ctx, intents, func(in store.Intent) bool {
		k := s.lock(in.Key)
		defer k.unlock()
		k.drop()
		side := &sidecar{kind: clean, until: after(k.now, in.Life)}
		if k.side.barrier() {
			if k.side.has(in.Token) {
				return true
			}
			side.until = max(side.until, k.side.until)
			if side.tokens = k.side.without(in.Earlier...); len(side.tokens) > 0 {
				side.kind = dirty
			}
		}
		side.tokens = append(side.tokens, in.Token)
		k.side = side
		return true
	})
}

// End tells that writes are over.
func (s *Store) End(ctx context.Context, ends []store.End) []store.Outcome {
	return write(s, ctx, ends, func(n store.End) bool {
		k := s.lock(n.Key)
		defer k.unlock()
		put := n.Put && k.side.is(clean) && k.side.has(n.Token)
		k.drop()
		if put {
			k.put(n.Value, after(k.now, n.TTL))
		}
		if k.side.intents() {
			k.side.tokens = k.side.without(append(n.Earlier[:len(n.Earlier):len(n.Earlier)], n.Token)...)
			if len(k.side.tokens) > 0 {
				k.disturb(n.Hold, k.now)
				return put
			}
		}
		k.hold(n.Hold, k.now)
		return put
	})
}

// without returns the tokens but those gone.
func (c *sidecar) without(gone ...string) (left []string) {
	for _, t := range c.tokens {
		if !slices.Contains(gone, t) {
			left = append(left, t)
		}
	}
	return left
}

// locked is the entry of a key while its shard is locked. It may be a new one: unlock makes known what has come of it.
type locked struct {
	*entry
	sh      *shard
	now     int64
	changed bool // its value is another one, or is to be gone
}

func (s *Store) lock(key string) locked {
	k := locked{sh: s.shard(key), now: s.now()}
	k.sh.mu.Lock()
	if k.entry = k.sh.live(key, k.now); k.entry == nil {
		k.entry = &entry{key: key}
	}
	return k
}

func (k *locked) put(value []byte, until int64) {
	k.changed = true
	k.sh.put(k.entry, value, until)
}

func (k *locked) drop() bool {
	k.changed = true // also where there is none: one that was evicted may be kept elsewhere
	return k.sh.drop(k.entry)
}

// unlock also keeps the bound. A value larger than all of it goes at once: to make room for it would empty the store. So would a
// load, which grows and cannot be evicted: it may take half.
func (k *locked) unlock() {
	s := k.sh.s
	k.sh.settle(k.entry)
	if l := k.side.loading(); l != nil && l.size() > s.max/2 {
		k.side = nil
		k.sh.settle(k.entry)
	}
	if k.cost > s.max {
		k.sh.spill(k.entry)
	}
	k.sh.mu.Unlock()
	if k.changed {
		s.tell(k.key)
	}
	s.trim()
}

// write runs a verb on every element of a batch.
func write[T any](s *Store, ctx context.Context, batch []T, verb func(T) bool) []store.Outcome {
	out, err := make([]store.Outcome, len(batch)), s.ready(ctx)
	for i, x := range batch {
		if err != nil {
			out[i].Err = err
		} else {
			out[i].OK = verb(x)
		}
	}
	return out
}
