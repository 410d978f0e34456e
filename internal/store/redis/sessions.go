package redis

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

// The end of a session stands in its sidecar, as "e" and the ms since 1970 by the clock of who saved it, and lives as long as
// the value. If it is evicted alone, the session is not prolonged any more: it ends early, never late.
//
// All of this goes by what is let through for writes, since nobody else has what is asked for. Errors do not name keys: whoever
// knows the key of a session is in it.

// Touch runs touch.lua, or GET where nothing is to be prolonged.
func (s *Store) Touch(ctx context.Context, key string, life time.Duration) store.Item {
	if err := s.unusable(); err != nil {
		return store.Item{Err: err}
	}
	var r rueidis.RedisResult
	if life <= 0 {
		r = s.one(ctx, health.Write, key, func() rueidis.Completed { return s.c.B().Get().Key(key).Build() })
	} else {
		r = s.run(ctx, health.Write, touchScript, []string{key}, func(int) []string {
			return []string{px(life), strconv.FormatInt(time.Now().UnixMilli(), 10)}
		})[0]
		if reply.InTransit(r.Error()) {
			r = s.touchApart(ctx, key, life)
		}
	}
	v, err := r.ToString()
	switch {
	case err == nil:
		return store.Item{Value: []byte(v), Found: true}
	case rueidis.IsRedisNil(err), reply.WrongType(err):
		return store.Item{}
	}
	return store.Item{Err: s.sessionError("find a session", err)}
}

// Save runs save.lua.
func (s *Store) Save(ctx context.Context, r store.Record) store.Outcome {
	if err := s.unusable(); err != nil {
		return store.Outcome{Err: err}
	}
	end := "0"
	if !r.End.IsZero() {
		end = strconv.FormatInt(r.End.UnixMilli(), 10)
	}
	out := s.run(ctx, health.Write, saveScript, []string{r.Key}, func(int) []string {
		return []string{rueidis.BinaryString(r.Value), px(r.TTL), end}
	})[0]
	err := out.Error()
	if reply.InTransit(err) {
		err = s.saveApart(ctx, r, end)
	}
	if err != nil {
		return store.Outcome{Err: s.sessionError("save a session", err)}
	}
	return store.Outcome{OK: true}
}

// sessionError also remembers that a right is missing.
func (s *Store) sessionError(what string, err error) error {
	if reply.Denied(err) || reply.DeniedInside(err) {
		s.problems.Add("the user %s may not do what sessions need: %v; grant it: %s", s.target.UserName(), err, s.target.Grant("+eval", "+evalsha", "+get", "+set", "+del", "+pexpire"))
	}
	return reply.Failed(what, "", err)
}

// touchApart and saveApart do one key after the other, while their slot is on its way to another node; see apart.go. What comes
// between leaves a session with an older end at worst.
func (s *Store) touchApart(ctx context.Context, key string, life time.Duration) rueidis.RedisResult {
	b, side := s.c.B(), sidecar(key)
	r := s.one(ctx, health.Write, key, func() rueidis.Completed { return b.Get().Key(side).Build() })
	text, err := r.ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		return r
	}
	get := b.Get().Key(key).Build()
	end, isEnd := strings.CutPrefix(text, "e")
	last, err := strconv.ParseInt(end, 10, 64)
	if !isEnd || err != nil {
		return s.one(ctx, health.Write, key, func() rueidis.Completed { return get })
	}
	ms := min(max(life.Milliseconds(), 1), last-time.Now().UnixMilli()) // without an ms left they are deleted
	return s.send(ctx, health.Write, rueidis.Commands{
		b.Pexpire().Key(side).Milliseconds(ms).Build(), b.Pexpire().Key(key).Milliseconds(ms).Build(), get,
	})[2]
}

func (s *Store) saveApart(ctx context.Context, r store.Record, end string) error {
	b, side, ms := s.c.B(), sidecar(r.Key), max(r.TTL.Milliseconds(), 1)
	first := b.Del().Key(side).Build()
	if end != "0" {
		first = b.Set().Key(side).Value("e" + end).PxMilliseconds(ms).Build()
	}
	for _, out := range s.send(ctx, health.Write, rueidis.Commands{
		first, b.Set().Key(r.Key).Value(rueidis.BinaryString(r.Value)).PxMilliseconds(ms).Build(),
	}) {
		if err := out.Error(); err != nil {
			return err
		}
	}
	return nil
}

// Scan goes over all masters by SCAN, at the pace of a sweep.
func (s *Store) Scan(ctx context.Context, glob string, found func(keys []string) error) error {
	if err := s.unusable(); err != nil {
		return err
	}
	if err := store.CheckGlob(glob); err != nil {
		return err
	}
	w := &sweep{s: s, glob: glob, pause: scanPause}
	var mu sync.Mutex // one call of found at a time
	err := w.all(ctx, func(ctx context.Context, c rueidis.Client) error {
		return w.pages(ctx, c, glob, func(names []string) error {
			var keys []string
			for _, name := range names {
				if store.Match(glob, name) && store.CheckKey(name) == nil {
					keys = append(keys, name)
				}
			}
			if len(keys) == 0 {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			return found(keys)
		})
	})
	if err != nil {
		return reply.Failed("scan", glob, err)
	}
	return nil
}
