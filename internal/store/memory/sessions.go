package memory

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// Touch returns a value and prolongs its life.
func (s *Store) Touch(ctx context.Context, key string, life time.Duration) (item store.Item) {
	if err := s.ready(ctx); err != nil {
		return store.Item{Err: err}
	}
	now, sh := s.now(), s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.live(key, now)
	if e == nil || !e.found {
		return store.Item{}
	}
	if life > 0 && e.last > 0 {
		if e.until = min(after(now, life), e.last); sh.expire(e, now) || !e.found {
			return store.Item{}
		}
	}
	e.read = true
	return store.Item{Value: e.value, Found: true}
}

// Save stores a value.
func (s *Store) Save(ctx context.Context, r store.Record) store.Outcome {
	return write(s, ctx, []store.Record{r}, func(r store.Record) bool {
		k := s.lock(r.Key)
		defer k.unlock()
		k.put(r.Value, after(k.now, r.TTL))
		if !r.End.IsZero() {
			k.last = max(k.now+int64(store.Bounded(time.Until(r.End))), 1)
		}
		return true
	})[0]
}

// Scan names the keys of values, a shard at a time.
func (s *Store) Scan(ctx context.Context, glob string, found func(keys []string) error) error {
	if err := store.CheckGlob(glob); err != nil {
		return err
	}
	for i := range s.shards {
		if err := s.ready(ctx); err != nil {
			return err
		}
		sh, now := &s.shards[i], s.now()
		var keys []string
		sh.mu.Lock()
		for key, e := range sh.entries {
			if e.found && e.until > now && store.Match(glob, key) {
				keys = append(keys, key)
			}
		}
		sh.mu.Unlock()
		if len(keys) == 0 {
			continue
		}
		if err := found(keys); err != nil {
			return err
		}
	}
	return nil
}
