package redis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"
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
		if s.target.Mode == Cluster {
			slot = Slot(key)
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

func (s *Store) confirmGroup(ctx context.Context, sc *script, keys []string, group []int, args func(i int) []string, out []rueidis.RedisResult) {
	// The answer must come before ctx ends, else nothing is known; Redis looks at the limits of WAIT ten times a second.
	limit := 100 * time.Millisecond
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		limit = max(left-150*time.Millisecond, left/2, time.Millisecond)
	}
	for pause := time.Millisecond; ; pause *= 2 {
		c, release := s.c.Dedicate()
		cmds := make(rueidis.Commands, 0, len(group)+1)
		for _, i := range group {
			// By its text: a script that is not known would have to be sent again, behind the WAIT.
			cmds = append(cmds, c.B().Eval().Script(sc.src).Numkeys(2).Key(keys[i], sidecar(keys[i])).Arg(args(i)...).Build())
		}
		cmds = append(cmds, c.B().Wait().Numreplicas(int64(s.replicas)).Timeout(limit.Milliseconds()).Build())
		rs := c.DoMulti(ctx, cmds...)
		release()
		n, err := rs[len(group)].AsInt64()
		if err == nil && n < int64(s.replicas) {
			err = fmt.Errorf("done, but only %d of %d replicas have it: a failover may lose it", n, s.replicas)
		}
		elsewhere := false // the slot is on another node by now; the client has heard of it
		for at, i := range group {
			if out[i] = rs[at]; moved(rs[at].Error()) {
				elsewhere = true
			} else if rs[at].Error() == nil && err != nil {
				out[i] = rueidis.NewErrorResult(err)
			}
		}
		if !elsewhere || !pauseFor(ctx, pause) {
			return
		}
	}
}

// moved reports whether a command was not carried out, because its slot is on its way to another node or there already.
func moved(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	_, redirected := e.IsRedirect()
	_, gone := e.IsMoved()
	_, asked := e.IsAsk()
	return redirected || gone || asked || e.IsTryAgain()
}

// pauseFor waits, and reports whether ctx goes on.
func pauseFor(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
