package memory

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// Local implements store.Store.
func (s *Store) Local() bool { return true }

// Refuses says why reads are refused, by Options.Refuse.
func (s *Store) Refuses(string) error {
	if s.refuse == nil {
		return nil
	}
	return s.refuse(context.Background())
}

// Get returns the value of a key.
func (s *Store) Get(ctx context.Context, key string, ttl bool) store.Item {
	if err := s.ready(ctx); err != nil {
		return store.Item{Err: err}
	}
	return s.get(key, ttl)
}

// GetMany returns the values of keys.
func (s *Store) GetMany(ctx context.Context, keys []string, ttl bool) []store.Item {
	out, err := make([]store.Item, len(keys)), s.ready(ctx)
	for i, key := range keys {
		if err != nil {
			out[i].Err = err
		} else {
			out[i] = s.get(key, ttl)
		}
	}
	return out
}

func (s *Store) get(key string, ttl bool) (item store.Item) {
	now, sh := s.now(), s.shard(key)
	sh.mu.Lock()
	if e := sh.live(key, now); e != nil && e.found && e.kind() == "" {
		e.read = true
		item.Value, item.Found = e.value, true
		if ttl {
			item.TTL = time.Duration(e.until - now)
		}
	}
	sh.mu.Unlock()
	return item
}

// Inspect looks at keys, which does not count as reading them.
func (s *Store) Inspect(ctx context.Context, keys []string) []store.Info {
	out, err := make([]store.Info, len(keys)), s.ready(ctx)
	for i, key := range keys {
		if err != nil {
			out[i].Err = err
		} else {
			out[i] = s.inspect(key)
		}
	}
	return out
}

func (s *Store) inspect(key string) store.Info {
	now, sh := s.now(), s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.live(key, now); e != nil && e.found {
		return store.Info{Type: typeOf(e.kind()), TTL: time.Duration(e.until - now)}
	}
	return store.Info{Type: "none"}
}
