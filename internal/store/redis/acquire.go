package redis

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

// Acquire asks for leases: of one key by three plain commands in one trip, which cost the server two thirds of what acquire.lua
// costs it, of many by claims.lua, and by acquire.lua where those do not tell everything.
func (s *Store) Acquire(ctx context.Context, claims []store.Claim) []store.Grant {
	return perKind(claims, func(c *store.Claim) store.Kind { return c.Kind }, func(shape store.Kind, claims []store.Claim) []store.Grant {
		if shape != "" {
			return s.acquireCollections(ctx, shape, claims)
		}
		return s.acquireValues(ctx, claims)
	})
}

func (s *Store) acquireValues(ctx context.Context, claims []store.Claim) []store.Grant {
	out := make([]store.Grant, len(claims))
	err := s.unusable()
	if err == nil && len(claims) == 1 { // without the work of building what is not sent
		err = s.guards.For(claims[0].Key).Admits(ctx, health.Read)
	}
	if err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	if s.scripts.denied() {
		s.acquireApart(ctx, claims, indexes(len(claims)), out)
		return out
	}
	var simple, unclear []int
	for i := range claims {
		if simplest(&claims[i]) {
			simple = append(simple, i)
		} else {
			unclear = append(unclear, i)
		}
	}
	var left []int
	var unused []store.Lease
	if alike(claims, simple) {
		left = s.claimTogether(ctx, claims, simple, out)
	} else {
		simple = slices.DeleteFunc(simple, func(i int) bool {
			if claims[i].Again { // three commands do not see for how long another's lease stands
				unclear = append(unclear, i)
			}
			return claims[i].Again
		})
		left, unused = s.claimEach(ctx, claims, simple, out)
	}
	if unclear = append(unclear, left...); len(unclear) > 0 {
		s.acquireByScript(ctx, claims, unclear, out)
	}
	if len(unused) > 0 {
		s.Release(ctx, unused)
	}
	return out
}

// alike reports whether claims are for several leases with the same token and life.
func alike(claims []store.Claim, which []int) bool {
	for _, i := range which {
		if first := claims[which[0]]; claims[i].Token != first.Token || claims[i].Lease != first.Lease {
			return false
		}
	}
	return len(which) > 1
}

// simplest reports whether a claim can do without acquire.lua.
func simplest(c *store.Claim) bool { return c.Dead == nil && c.Stale == 0 && !c.TTL }

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// scripts knows whether the server forbids them, or what they do. Then no lease is taken: it could be neither filled nor given
// back, and others would wait for its end.
type scripts struct{ until atomic.Int64 } // Unix nanoseconds; zero: they are allowed

// scriptsPause is how long they are taken for forbidden. Then one claim tries again.
const scriptsPause = 5 * time.Second

// forbid begins a pause. It returns false if one was under way.
func (d *scripts) forbid() bool { return d.until.Swap(time.Now().Add(scriptsPause).UnixNano()) == 0 }

// allow ends the pause after a script that has ended a lease. It returns false if there was none.
func (d *scripts) allow() bool { return d.until.Load() != 0 && d.until.Swap(0) != 0 }

// denied reports whether no lease may be taken. After a pause it returns false once, and the next pause begins.
func (d *scripts) denied() bool {
	until := d.until.Load()
	if until == 0 {
		return false
	}
	now := time.Now()
	return now.UnixNano() < until || !d.until.CompareAndSwap(until, now.Add(scriptsPause).UnixNano())
}

// claimEach asks for leases by three commands for each, in one trip. It returns the claims that are left to the script, and the
// leases that were taken in vain.
func (s *Store) claimEach(ctx context.Context, claims []store.Claim, which []int, out []store.Grant) (unclear []int, unused []store.Lease) {
	cmds := make(rueidis.Commands, 0, 3*len(which))
	for _, i := range which {
		c := &claims[i]
		side := sidecar(c.Key)
		cmds = append(cmds, s.c.B().Set().Key(side).Value(c.Token).Nx().PxMilliseconds(max(c.Lease.Milliseconds(), 1)).Build(),
			s.c.B().Get().Key(c.Key).Build(), s.c.B().Get().Key(side).Build())
	}
	rs := s.send(ctx, health.Kind(len(claims) == 1), cmds) // one was let through before
	for n, i := range which {
		value, missing := rs[3*n+1].AsBytes()
		side, unread := rs[3*n+2].ToString()
		took, clear := granted(&claims[i], &out[i], rs[3*n].Error(), value, missing, side, unread)
		if state := out[i].State; clear && (state == store.Absent || state == store.Barrier) && s.barriers.Add(1)%looksPerTTL == 0 {
			clear = false
		}
		switch {
		case !clear:
			unclear = append(unclear, i)
		case took && out[i].State == store.Hit:
			unused = append(unused, store.Lease{Key: claims[i].Key, Token: claims[i].Token})
		}
	}
	return unclear, unused
}

// looksPerTTL is how many absences and barriers three commands may find until acquire.lua looks at one: they do not see whether it
// has an end, and one that another program has persisted must not stand for ever.
const looksPerTTL = 16

// granted reads the answers of SET sidecar NX, of a look at the value, and of one at the sidecar ("": there is none). They are not
// atomic, but in this order the lease stands before the value is looked at: a value that comes between is a hit, and a lease
// that goes between fails to fill. clear is false if a key holds another type, or if the sidecar went away meanwhile.
func granted(c *store.Claim, g *store.Grant, set error, value []byte, missing error, side string, unread error) (took, clear bool) {
	took = set == nil
	switch {
	case missing == nil:
		*g = store.Grant{State: store.Hit, Value: value}
		return took, true
	case reply.WrongType(missing):
		return took, false
	case !rueidis.IsRedisNil(missing):
		*g = store.Grant{Err: reply.Failed("acquire", c.Key, missing)}
	case !took && !rueidis.IsRedisNil(set):
		*g = store.Grant{Err: reply.Failed("acquire", c.Key, set)}
	case reply.WrongType(unread):
		return took, false
	case unread != nil && !rueidis.IsRedisNil(unread):
		*g = store.Grant{Err: reply.Failed("acquire", c.Key, unread)}
	case took, side == c.Token: // of an earlier sending
		g.State = store.Granted
	case side == "":
		return took, false
	case side == "-":
		g.State = store.Absent
	case side[0] == '!':
		g.State = store.Barrier
	default:
		g.State, g.Holder = store.Waiting, side
	}
	return took, true
}

// acquireByScript runs acquire.lua for some of the claims.
func (s *Store) acquireByScript(ctx context.Context, claims []store.Claim, which []int, out []store.Grant) {
	keys := make([]string, len(which))
	for n, i := range which {
		keys[n] = claims[i].Key
	}
	rs := s.run(ctx, health.Write, acquireScript, keys, func(n int) []string {
		c, kind, dead := claims[which[n]], "", ""
		switch {
		case c.Dead == nil:
		case c.Dead.Type != "":
			kind, dead = "t", c.Dead.Type
		default:
			kind, dead = "v", rueidis.BinaryString(c.Dead.Value)
		}
		return []string{c.Token, px(c.Lease), px0(c.Stale), kind, dead}
	})
	var parted []int
	for n, i := range which {
		out[i] = grant(rs[n], claims[i].Key)
		if err := rs[n].Error(); s.forbidden(acquireScript, err) || reply.InTransit(err) {
			parted = append(parted, i)
		}
	}
	if len(parted) > 0 {
		s.acquireApart(ctx, claims, parted, out)
	}
}

func grant(r rueidis.RedisResult, key string) (g store.Grant) {
	parts, err := r.ToArray()
	var state string
	if err == nil {
		state, err = parts[0].ToString()
	}
	if err != nil {
		return store.Grant{Err: reply.Failed("acquire", key, err)}
	}
	g.State = states[state[0]]
	if len(parts) > 2 {
		g.Value, _ = parts[1].AsBytes()
		ms, _ := parts[2].AsInt64()
		g.TTL = life(ms)
	}
	if len(parts) > 3 {
		g.Holder, _ = parts[3].ToString()
	}
	return g
}
