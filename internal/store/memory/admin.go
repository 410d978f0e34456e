package memory

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// Server tells what this process knows of itself.
func (s *Store) Server(ctx context.Context) store.ServerInfo {
	u, err := s.Usage(ctx)
	return store.ServerInfo{Nodes: []store.NodeInfo{{
		Address: "memory:", Err: err, Software: "nearside", Uptime: time.Since(s.start), Role: "master",
		Keys: u.Keys, Expiring: u.Keys, Used: u.Bytes, Max: u.MaxBytes, Evicted: u.Evicted, Policy: "sieve",
	}}}
}

// Probe returns nil: there is no server.
func (s *Store) Probe(context.Context) []store.Probe { return nil }

// Keys takes the names of a shard at a time, and needs no pace.
func (s *Store) Keys(ctx context.Context, glob string, ours func(key string) bool, each func(key string) bool) (w store.Walk, err error) {
	if err := store.CheckGlob(glob); err != nil {
		return w, err
	}
	w.Total = s.values.Load()
	for i := range s.shards {
		if err := s.ready(ctx); err != nil {
			return w, err
		}
		for _, key := range s.shards[i].names(s.now()) {
			w.Looked++
			if store.Match(glob, key) && (ours == nil || ours(key)) && !each(key) {
				return w, nil
			}
		}
	}
	w.Total, w.All = w.Looked, true
	return w, nil
}

// names returns the keys that hold a value.
func (sh *shard) names(now int64) (out []string) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for key, e := range sh.entries {
		if e.found && e.until > now {
			out = append(out, key)
		}
	}
	return out
}

// Describe looks at keys, which does not count as reading them.
func (s *Store) Describe(ctx context.Context, keys []string) []store.Description {
	out := make([]store.Description, len(keys))
	for i, info := range s.Inspect(ctx, keys) {
		out[i] = store.Description{Info: info, Length: store.Unknown, Bytes: store.Unknown}
		sh := s.shard(keys[i])
		sh.mu.Lock()
		if e := sh.live(keys[i], s.now()); e != nil && e.found {
			out[i].Bytes = e.size()
			if out[i].Length = int64(len(e.value)); e.kind() != "" {
				out[i].Length = int64(e.many.elements.Len())
			}
		}
		sh.mu.Unlock()
	}
	return out
}

// Head returns a part of a value.
func (s *Store) Head(ctx context.Context, key string, limit int64) store.Item {
	it := s.Get(ctx, key, true)
	if limit >= 0 {
		it.Value = it.Value[:min(int64(len(it.Value)), limit)]
	}
	return it
}

// Beside looks at the sidecar.
func (s *Store) Beside(ctx context.Context, key string) (g store.Going, err error) {
	if err := s.ready(ctx); err != nil {
		return g, err
	}
	now, sh := s.now(), s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.live(key, now); e != nil && e.side != nil {
		g.Left = e.side.left(now)
		switch {
		case e.side.is(absent):
			g.State = "absent"
		case e.side.is(hold):
			g.State = "hold"
		case e.side.intents():
			g.State = "write"
		default:
			g.State = "load"
		}
	}
	return g, nil
}
