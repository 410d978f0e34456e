package redis

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/conn"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

// An operator's walk must not be felt: it looks at fewer keys in a second than a sweep does, of all masters together.
const (
	walkCount = 90                    // keys that one SCAN looks at; it may be some more
	walkPause = 50 * time.Millisecond // from one SCAN to the next: 1,800 keys per second
)

// Keys walks over one master after the other.
func (s *Store) Keys(ctx context.Context, glob string, ours func(key string) bool, each func(key string) bool) (w store.Walk, err error) {
	if err := s.unusable(); err != nil {
		return w, err
	}
	if err := store.CheckGlob(glob); err != nil {
		return w, err
	}
	masters := s.masters()
	for _, c := range masters {
		n, err := c.Do(ctx, c.B().Dbsize().Build()).AsInt64()
		if reply.Denied(err) {
			n, err = 0, nil
		}
		if err != nil {
			return w, reply.Failed("dbsize", "", err)
		}
		w.Total += n
	}
	for _, c := range masters {
		for cursor := uint64(0); ; {
			began := time.Now()
			page, err := c.Do(ctx, c.B().Scan().Cursor(cursor).Match(glob).Count(walkCount).Build()).AsScanEntry()
			if err != nil {
				if reply.Denied(err) {
					return w, fmt.Errorf("the user %s %w scan; grant it: %s", s.target.UserName(), conn.ErrDenied, s.target.Grant("+scan"))
				}
				return w, reply.Failed("scan", "", err)
			}
			if w.Looked += walkCount; w.Total > 0 {
				w.Looked = min(w.Looked, w.Total)
			}
			for _, name := range page.Elements {
				if own(name) || ours != nil && !ours(name) {
					continue
				}
				if !each(name) {
					return w, nil
				}
			}
			if cursor = page.Cursor; cursor == 0 {
				break
			}
			if !retry.Sleep(ctx, walkPause-time.Since(began)) {
				return w, ctx.Err()
			}
		}
	}
	if w.All = true; w.Total > 0 {
		w.Looked = w.Total
	}
	return w, nil
}

// own reports whether a name is the layer's own, and not a key of a cache.
func own(name string) bool {
	_, beside := keyOf(name)
	return beside || strings.HasPrefix(name, "nearside:")
}

// Describe asks for types, lives, lengths and memory. What the user may not ask is unknown.
func (s *Store) Describe(ctx context.Context, keys []string) []store.Description {
	out := make([]store.Description, len(keys))
	infos := s.Inspect(ctx, keys)
	cmds := make(rueidis.Commands, 0, 2*len(keys))
	var at []int
	for i, key := range keys {
		out[i] = store.Description{Info: infos[i], Length: store.Unknown, Bytes: store.Unknown}
		if infos[i].Err != nil || infos[i].Type == "none" {
			continue
		}
		at = append(at, i)
		cmds = append(cmds, s.c.B().Arbitrary("MEMORY", "USAGE").Keys(key).ReadOnly())
		name := lengths[infos[i].Type]
		if name == "" {
			name = "EXISTS"
		}
		cmds = append(cmds, s.c.B().Arbitrary(name).Keys(key).ReadOnly())
	}
	if len(cmds) == 0 {
		return out
	}
	rs := s.send(ctx, health.Read, cmds)
	for n, i := range at {
		if bytes, err := rs[2*n].AsInt64(); err == nil {
			out[i].Bytes = bytes
		}
		if length, err := rs[2*n+1].AsInt64(); err == nil && lengths[out[i].Type] != "" {
			out[i].Length = length
		}
	}
	return out
}

// lengths are the commands that tell how large a key of a type is.
var lengths = map[string]string{
	"string": "STRLEN", "list": "LLEN", "set": "SCARD", "zset": "ZCARD", "hash": "HLEN", "stream": "XLEN",
}

// Head reads a part of a value, so that nobody waits for a large one.
func (s *Store) Head(ctx context.Context, key string, limit int64) store.Item {
	if err := s.unusable(); err != nil {
		return store.Item{Err: err}
	}
	if limit < 0 {
		return s.Get(ctx, key, true)
	}
	rs := s.send(ctx, health.Read, rueidis.Commands{
		s.c.B().Getrange().Key(key).Start(0).End(max(limit, 1) - 1).Build(), s.c.B().Pttl().Key(key).Build(),
	})
	text, err := rs[0].ToString()
	if reply.WrongType(err) {
		return store.Item{}
	}
	if err != nil {
		if reply.Denied(err) {
			it := s.Get(ctx, key, true)
			it.Value = it.Value[:min(int64(len(it.Value)), limit)]
			return it
		}
		return store.Item{Err: reply.Failed("getrange", key, err)}
	}
	it := store.Item{Value: []byte(text[:min(int64(len(text)), limit)]), Found: true}
	left(&it, rs[1], key) // which finds out that there is no such key
	return it
}

// Beside reads the sidecar.
func (s *Store) Beside(ctx context.Context, key string) (g store.Going, err error) {
	if err := s.unusable(); err != nil {
		return g, err
	}
	side := sidecar(key)
	rs := s.send(ctx, health.Read, rueidis.Commands{s.c.B().Get().Key(side).Build(), s.c.B().Pttl().Key(side).Build()})
	text, err := rs[0].ToString()
	if rueidis.IsRedisNil(err) {
		return g, nil
	}
	if err != nil {
		return g, reply.Failed("get", side, err)
	}
	switch {
	case text == "-":
		g.State = "absent"
	case text == "!":
		g.State = "hold"
	case strings.HasPrefix(text, "!"):
		g.State = "write"
	default:
		g.State = "load"
	}
	if ms, err := rs[1].AsInt64(); err == nil {
		g.Left = life(ms)
	}
	return g, nil
}
