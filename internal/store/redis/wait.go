package redis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store/redis/conn"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// waitsAtOnce is how many connections wait for replicas at once, for one batch.
const waitsAtOnce = 16

// confirmed runs a script for each key and then asks, on the same connection, whether the replicas have it: WAIT speaks of
// what its own connection wrote. It has connections of its own, since WAIT holds up all that comes behind it. An element
// whose replicas are too few by the end of ctx is an error: it is done, and a failover may lose it.
func (s *Store) confirmed(ctx context.Context, sc *script, keys []string, args func(i int) []string) []rueidis.RedisResult {
	out := make([]rueidis.RedisResult, len(keys))
	groups := make(map[uint16][]int) // of one connection each
	for i, key := range keys {
		slot := uint16(0)
		if s.target.Mode == redisurl.Cluster {
			slot = topology.Slot(key)
		}
		groups[slot] = append(groups[slot], i)
	}
	var all sync.WaitGroup
	places := make(chan struct{}, waitsAtOnce)
	for _, group := range groups {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			s.confirmGroup(ctx, sc, keys, group, args, out)
		})
	}
	all.Wait()
	return out
}

// confirmGroup is confirmed for the keys of one connection. A slot that is on another node by now, of which the client has
// heard, is tried there. A connection that is being made is waited for.
func (s *Store) confirmGroup(ctx context.Context, sc *script, keys []string, group []int, args func(i int) []string, out []rueidis.RedisResult) {
	g := s.guards.For(keys[group[0]])
	if err := g.Admits(ctx, health.Write); err != nil {
		for _, i := range group {
			out[i] = rueidis.NewErrorResult(err)
		}
		return
	}
	left := group
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		began := g.Now()
		rs := s.sendConfirmed(ctx, s.c, false, len(left), func(b rueidis.Builder, n int) rueidis.Completed {
			// By its text: a script that is not known would have to be sent again, behind the WAIT.
			i := left[n]
			return sc.command(b, true, keys[i], args(i))
		})
		g.Judge(began, reply.Worst(rs))
		var elsewhere []int
		for n, i := range left {
			if out[i] = rs[n]; sc.parted != inSteps && reply.InTransit(rs[n].Error()) {
				continue // apart.go does something else
			}
			if reply.InTransit(rs[n].Error()) {
				out[i] = s.confirmApart(ctx, sc, keys[i], args(i))
			}
			if err := out[i].Error(); reply.Moved(err) || conn.Unsent(err) {
				elsewhere = append(elsewhere, i)
			}
		}
		if left = elsewhere; len(left) == 0 || !retry.Sleep(ctx, pause) {
			return
		}
	}
}

const (
	firstPause = time.Millisecond // between attempts at a slot that is on its way
	lastPause  = 20 * time.Millisecond
)

// sendConfirmed sends commands and a WAIT behind them on a connection of their own. What was done, and is not on enough
// replicas, is an error.
func (s *Store) sendConfirmed(ctx context.Context, to rueidis.Client, asking bool, n int, cmd func(b rueidis.Builder, n int) rueidis.Completed) []rueidis.RedisResult {
	// The answer must come before ctx ends, else nothing is known; Redis looks at the limits of WAIT ten times a second.
	limit := 100 * time.Millisecond
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		limit = max(left-150*time.Millisecond, left/2, time.Millisecond)
	}
	c, release := to.Dedicate()
	defer release()
	var cmds rueidis.Commands
	for i := range n {
		if asking {
			cmds = append(cmds, c.B().Asking().Build())
		}
		cmds = append(cmds, cmd(c.B(), i))
	}
	cmds = append(cmds, c.B().Wait().Numreplicas(int64(s.replicas)).Timeout(limit.Milliseconds()).Build())
	rs := c.DoMulti(ctx, cmds...)
	have, err := rs[len(cmds)-1].AsInt64()
	if err == nil && have < int64(s.replicas) {
		err = fmt.Errorf("done, but only %d of %d replicas have it: a failover may lose it", have, s.replicas)
	}
	out := make([]rueidis.RedisResult, n)
	for i := range out {
		at := i
		if asking {
			at = 2*i + 1
		}
		if out[i] = rs[at]; err != nil && rs[at].Error() == nil {
			out[i] = rueidis.NewErrorResult(err)
		}
	}
	return out
}

// confirmApart does in two steps what cannot be done in one while a slot moves, as apart does, each with its WAIT.
func (s *Store) confirmApart(ctx context.Context, sc *script, key string, args []string) rueidis.RedisResult {
	side := s.confirmStep(ctx, func(b rueidis.Builder, _ int) rueidis.Completed {
		return sc.aside().command(b, true, key, args)
	})
	if side.Error() != nil {
		return side
	}
	out := side // which says of an end that nothing was put
	for n, name := range sc.rest(key) {
		r := s.confirmStep(ctx, func(b rueidis.Builder, _ int) rueidis.Completed { return b.Unlink().Key(name).Build() })
		if r.Error() != nil {
			return r
		}
		if n == 0 && sc == invalidateScript {
			out = r
		}
	}
	return out
}

// confirmStep sends a command about one key to where the key is: the node that has the slot, or the one that gets it.
func (s *Store) confirmStep(ctx context.Context, cmd func(rueidis.Builder, int) rueidis.Completed) rueidis.RedisResult {
	r := s.sendConfirmed(ctx, s.c, false, 1, cmd)[0]
	e, ok := rueidis.IsRedisErr(r.Error())
	if !ok {
		return r
	}
	if address, ask := e.IsAsk(); ask {
		if node := s.c.Nodes()[address]; node != nil {
			return s.sendConfirmed(ctx, node, true, 1, cmd)[0]
		}
	}
	return r
}
