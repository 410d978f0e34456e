package redis

import (
	"context"
	"math"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// Get is GET, and PTTL in the same trip if ttl is set.
func (s *Store) Get(ctx context.Context, key string, ttl bool) store.Item {
	if err := s.unusable(); err != nil {
		return store.Item{Err: err}
	}
	g := s.guards.For(key)
	if it, ok := s.getDirect(ctx, g, key, ttl); ok {
		return it
	}
	return get(ctx, g, s.c, health.Ordinary, key, ttl)
}

// get is GET, and PTTL in the same trip if ttl is set, by one of the clients.
func get(ctx context.Context, g *health.Guard, c rueidis.Client, l health.Line, key string, ttl bool) store.Item {
	began, err := g.Enter(ctx, l, health.Read)
	if err != nil {
		return store.Item{Err: err}
	}
	get := c.B().Get().Key(key).Build()
	if !ttl {
		r := c.Do(ctx, get)
		g.Leave(l, began, r.Error())
		return item(r, key)
	}
	rs := c.DoMulti(ctx, get, c.B().Pttl().Key(key).Build())
	g.Leave(l, began, reply.Worst(rs))
	it := item(rs[0], key)
	left(&it, rs[1], key)
	return it
}

// item reads the answer of GET. A key of another type holds no value of ours.
func item(r rueidis.RedisResult, key string) store.Item {
	m, err := r.ToMessage()
	if err == nil {
		var v []byte
		if v, err = m.AsBytes(); err == nil {
			return store.Item{Value: v, Found: true}
		}
	}
	if rueidis.IsRedisNil(err) || reply.WrongType(err) {
		return store.Item{}
	}
	return store.Item{Err: reply.Failed("get", key, err)}
}

// left adds the answer of PTTL. The value may have expired between the two commands.
func left(it *store.Item, r rueidis.RedisResult, key string) {
	if !it.Found {
		return
	}
	switch n, err := r.AsInt64(); {
	case err != nil:
		*it = store.Item{Err: reply.Failed("pttl", key, err)}
	case n == missing:
		*it = store.Item{}
	default:
		it.TTL = life(n)
	}
}

// life turns what PTTL says into a duration.
func life(ms int64) time.Duration {
	if ms < 0 {
		return store.NoTTL
	}
	return time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond // another program may have set more
}

// GetMany is one MGET, with the PTTLs behind it if ttl is set; in a cluster, whose MGET knows one slot alone, a pipeline of
// GETs to each node.
func (s *Store) GetMany(ctx context.Context, keys []string, ttl bool) []store.Item {
	out := make([]store.Item, len(keys))
	err := s.unusable()
	switch {
	case err != nil || len(keys) == 0:
		for i := range out {
			out[i].Err = err
		}
		return out
	case s.target.Mode == redisurl.Cluster:
		return s.getEach(ctx, keys, ttl, out)
	}
	g := s.guards.For(keys[0])
	if err := g.Admits(ctx, health.Read); err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	rs := g.Send(ctx, s.c, health.Ordinary, health.Write, mget(s.c, keys, ttl)) // it was let through as a read above
	mgot(rs, keys, ttl, out)
	return out
}

// mget is one MGET, with the PTTLs behind it if ttl is set.
func mget(c rueidis.Client, keys []string, ttl bool) rueidis.Commands {
	cmds := make(rueidis.Commands, 1, 1+len(keys))
	cmds[0] = c.B().Mget().Key(keys...).Build()
	if ttl {
		for _, key := range keys {
			cmds = append(cmds, c.B().Pttl().Key(key).Build())
		}
	}
	return cmds
}

// mgot reads what mget was answered.
func mgot(rs []rueidis.RedisResult, keys []string, ttl bool, out []store.Item) {
	values, err := rs[0].ToArray()
	for i, key := range keys {
		if err != nil {
			out[i].Err = reply.Failed("mget", key, err)
			continue
		}
		if v, err := values[i].AsBytes(); err == nil {
			out[i] = store.Item{Value: v, Found: true}
			if ttl {
				left(&out[i], rs[1+i], key)
			}
		}
	}
}

func (s *Store) getEach(ctx context.Context, keys []string, ttl bool, out []store.Item) []store.Item {
	per := 1
	if ttl {
		per = 2
	}
	cmds := make(rueidis.Commands, 0, per*len(keys))
	for _, key := range keys {
		cmds = append(cmds, s.c.B().Get().Key(key).Build())
		if ttl {
			cmds = append(cmds, s.c.B().Pttl().Key(key).Build())
		}
	}
	rs := s.send(ctx, health.Read, cmds)
	for i, key := range keys {
		if out[i] = item(rs[per*i], key); ttl {
			left(&out[i], rs[per*i+1], key)
		}
	}
	return out
}

// Inspect is TYPE and PTTL of each key.
func (s *Store) Inspect(ctx context.Context, keys []string) []store.Info {
	out := make([]store.Info, len(keys))
	if err := s.unusable(); err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	cmds := make(rueidis.Commands, 0, 2*len(keys))
	for _, key := range keys {
		cmds = append(cmds, s.c.B().Type().Key(key).Build(), s.c.B().Pttl().Key(key).Build())
	}
	rs := s.send(ctx, health.Write, cmds) // nobody else can tell
	for i, key := range keys {
		ty, err := rs[2*i].ToString()
		var ms int64
		if err == nil {
			ms, err = rs[2*i+1].AsInt64()
		}
		switch {
		case err != nil:
			out[i].Err = reply.Failed("inspect", key, err)
		case ty == "none" || ms == -2:
			out[i].Type = "none"
		default:
			out[i] = store.Info{Type: ty, TTL: life(ms)}
		}
	}
	return out
}

// Fill runs fill.lua.
func (s *Store) Fill(ctx context.Context, fills []store.Fill) []store.Outcome {
	s.repeats.Ended.Add(len(fills), func(i int) topology.Touched {
		return topology.Touched{Key: fills[i].Key, Kind: fills[i].Kind, Token: fills[i].Token}
	})
	return perKind(fills, func(f *store.Fill) store.Kind { return f.Kind }, func(shape store.Kind, fills []store.Fill) []store.Outcome {
		if shape == "" {
			return s.fillValues(ctx, fills)
		}
		return s.fillCollections(ctx, shape, fills)
	})
}

// Release runs release.lua.
func (s *Store) Release(ctx context.Context, leases []store.Lease) []store.Outcome {
	s.repeats.Ended.Add(len(leases), func(i int) topology.Touched {
		return topology.Touched{Key: leases[i].Key, Kind: leases[i].Kind, Token: leases[i].Token}
	})
	return s.release(ctx, leases)
}

// release is Release without a note of it.
func (s *Store) release(ctx context.Context, leases []store.Lease) []store.Outcome {
	return perKind(leases, func(l *store.Lease) store.Kind { return l.Kind }, func(shape store.Kind, leases []store.Lease) []store.Outcome {
		sc := releaseScript
		if shape != "" {
			sc = stopScript
		}
		return s.outcomes(ctx, "release", sc, keysOf(leases, func(l store.Lease) string { return l.Key }), func(i int) []string {
			return []string{leases[i].Token}
		})
	})
}

// Invalidate runs invalidate.lua.
func (s *Store) Invalidate(ctx context.Context, keys []string, hold time.Duration) []store.Outcome {
	s.repeats.Invalidated.Add(len(keys), func(i int) topology.Touched { return topology.Touched{Key: keys[i], Hold: hold} })
	return s.invalidate(ctx, keys, hold)
}

// invalidate is Invalidate without a note of it.
func (s *Store) invalidate(ctx context.Context, keys []string, hold time.Duration) []store.Outcome {
	return s.outcomes(ctx, "invalidate", invalidateScript, keys, func(int) []string { return []string{px0(hold)} })
}

// Put runs put.lua.
func (s *Store) Put(ctx context.Context, puts []store.Put, hold time.Duration) []store.Outcome {
	return s.outcomes(ctx, "put", putScript, keysOf(puts, func(p store.Put) string { return p.Key }), func(i int) []string {
		return []string{rueidis.BinaryString(puts[i].Value), px(puts[i].TTL), px0(hold)}
	})
}

// Begin runs begin.lua.
func (s *Store) Begin(ctx context.Context, intents []store.Intent) []store.Outcome {
	return s.outcomes(ctx, "begin", beginScript, keysOf(intents, func(n store.Intent) string { return n.Key }), func(i int) []string {
		return append([]string{intents[i].Token, px(intents[i].Life)}, intents[i].Earlier...)
	})
}

// End runs end.lua.
func (s *Store) End(ctx context.Context, ends []store.End) []store.Outcome {
	keys := keysOf(ends, func(e store.End) string { return e.Key })
	s.repeats.Invalidated.Add(len(ends), func(i int) topology.Touched { return topology.Touched{Key: ends[i].Key, Hold: ends[i].Hold} })
	return s.outcomes(ctx, "end", endScript, keys, func(i int) []string {
		e, how := ends[i], "D"
		if e.Put {
			how = "P"
		}
		return append([]string{px0(e.Hold), how, rueidis.BinaryString(e.Value), px(e.TTL), e.Token}, e.Earlier...)
	})
}

// outcomes runs a script that answers 0 or 1.
func (s *Store) outcomes(ctx context.Context, verb string, sc *script, keys []string, args func(int) []string) []store.Outcome {
	out := make([]store.Outcome, len(keys))
	err := s.unusable()
	if err == nil && len(keys) == 1 { // without the work of building what is not sent
		err = s.guards.For(keys[0]).Admits(ctx, health.Write)
	}
	if err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	var parted []int
	for i, r := range s.told(ctx, sc, keys, args) {
		n, err := r.AsInt64()
		if out[i].OK = n == 1; err != nil {
			out[i] = store.Outcome{Err: reply.Failed(verb, keys[i], err)}
		} else if out[i].OK && sc.fills() {
			s.permitted(sc)
		}
		if forbidden := s.forbidden(sc, err); reply.InTransit(err) || forbidden && sc.parted == invalidated {
			parted = append(parted, i)
		}
	}
	if len(parted) > 0 && sc.parted != givenUp {
		s.apart(ctx, verb, sc, keys, parted, args, out)
	}
	return out
}

// told runs a script, and waits for the replicas that must have what it tells.
func (s *Store) told(ctx context.Context, sc *script, keys []string, args func(int) []string) []rueidis.RedisResult {
	if s.replicas > 0 && sc.tells {
		return s.confirmed(ctx, sc, keys, args)
	}
	return s.run(ctx, health.Write, sc, keys, args)
}

func keysOf[T any](xs []T, key func(T) string) []string {
	out := make([]string, len(xs))
	for i, x := range xs {
		out[i] = key(x)
	}
	return out
}

// perKind calls f with what is about keys of one kind, which is nearly always all of it.
func perKind[T, R any](xs []T, kindOf func(*T) store.Kind, f func(store.Kind, []T) []R) []R {
	var shape store.Kind
	several := false
	for i := range xs {
		if k := kindOf(&xs[i]); i == 0 {
			shape = k
		} else if k != shape {
			several = true
		}
	}
	if !several {
		return f(shape, xs)
	}
	groups := make(map[store.Kind][]int)
	for i := range xs {
		k := kindOf(&xs[i])
		groups[k] = append(groups[k], i)
	}
	out := make([]R, len(xs))
	for k, group := range groups {
		some := make([]T, len(group))
		for n, i := range group {
			some[n] = xs[i]
		}
		for n, r := range f(k, some) {
			out[group[n]] = r
		}
	}
	return out
}
