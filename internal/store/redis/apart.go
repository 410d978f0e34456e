package redis

import (
	"context"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

// While a slot moves to another node, a value may stand on the one and its sidecar on the other, and each that does not
// exist counts as missing: a script that names both is told TRYAGAIN, by either node, until the whole slot has moved. That
// takes as long as the slot has keys, and for ever if the move was interrupted. A command about one key is always answered
// by the node that has it, or would have it. So what cannot be done at once is done in two steps then, the sidecar first:
//
//   - Invalidate, Begin and End take the token from the sidecar, and then delete the value. A fill that came before the first
//     step has stored its value by the second; one that comes later has no token. An end puts nothing: it is not alone.
//   - Put does the same, and then stores.
//   - Fill is not done: between the look at the token and the store, somebody might take the token. It costs a load.
//   - Acquire reads the value, and grants nothing.
//   - Release is about the sidecar alone in any case; of a collection it leaves the load to its end.
//   - Collections stand on both nodes nearly always. A load is not begun, and none goes on. Of what became of a member the
//     collection is not told: it is invalidated, in two steps. So it is where all names stood on the first node and a script
//     was begun, which then misses one that it has deleted itself.

// apart does in two steps what could not be done in one, for some of the keys.
func (s *Store) apart(ctx context.Context, verb string, sc *script, keys []string, which []int, args func(i int) []string, out []store.Outcome) {
	names := make([]string, len(which))
	for n, i := range which {
		names[n] = keys[i]
	}
	if sc.parted == invalidated {
		for n, o := range s.invalidate(ctx, names, 0) {
			out[which[n]] = store.Outcome{Err: o.Err}
		}
		return
	}
	first, sideArgs := sc, func(n int) []string { return args(which[n]) }
	if sc == putScript {
		first, sideArgs = invalidateScript, func(n int) []string { return args(which[n])[2:] } // the hold
	}
	var second rueidis.Commands
	var of []int // whose they are
	for n, r := range s.run(ctx, health.Write, first.aside(), names, sideArgs) {
		i := which[n]
		had, err := r.AsInt64()
		if out[i] = (store.Outcome{OK: had == 1}); err != nil {
			out[i] = store.Outcome{Err: reply.Failed(verb, keys[i], err)}
			continue
		}
		if sc == putScript {
			a := args(i)
			ms, _ := strconv.ParseInt(a[1], 10, 64)
			second, of = append(second, s.c.B().Set().Key(keys[i]).Value(a[0]).PxMilliseconds(ms).Build()), append(of, i)
			out[i].OK = true
		}
		for _, name := range sc.rest(keys[i]) {
			second, of = append(second, s.c.B().Unlink().Key(name).Build()), append(of, i)
		}
	}
	for n, r := range s.send(ctx, health.Write, second) {
		i := of[n]
		deleted, _ := r.AsInt64()
		first := n == 0 || of[n-1] != i // the value
		switch err := r.Error(); {
		case err != nil:
			out[i] = store.Outcome{Err: reply.Failed(verb, keys[i], err)}
		case sc == invalidateScript && first:
			out[i].OK = deleted == 1
		}
	}
}

// rest is what goes in the second step, the value first.
func (sc *script) rest(key string) []string {
	switch sc {
	case invalidateScript:
		names := family(key)
		return []string{names[0], names[2], names[3], names[5]}
	case beginScript, endScript:
		return []string{key}
	}
	return nil
}

// acquireApart reads the values, and answers that nothing may be filled for now where there is none.
func (s *Store) acquireApart(ctx context.Context, claims []store.Claim, which []int, out []store.Grant) {
	keys := make([]string, len(which))
	for n, i := range which {
		keys[n] = claims[i].Key
	}
	items := s.getEach(ctx, keys, true, make([]store.Item, len(keys)))
	for n, i := range which {
		switch it := items[n]; {
		case it.Err != nil:
			out[i] = store.Grant{Err: it.Err}
		case it.Found:
			out[i] = store.Grant{State: store.Hit, Value: it.Value, TTL: it.TTL}
		default:
			out[i] = store.Grant{State: store.Barrier}
		}
	}
}
