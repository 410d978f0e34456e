package redis

import (
	"context"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
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
//   - Release is about the sidecar alone in any case.

// split reports whether a script was not run because its keys stand on two nodes.
func split(r rueidis.RedisResult) bool {
	e, ok := rueidis.IsRedisErr(r.Error())
	return ok && e.IsTryAgain()
}

// apart does in two steps what could not be done in one, for some of the keys.
func (s *Store) apart(ctx context.Context, verb string, sc *script, keys []string, which []int, args func(i int) []string, out []store.Outcome) {
	names := make([]string, len(which))
	for n, i := range which {
		names[n] = keys[i]
	}
	first, sideArgs := sc, func(n int) []string { return args(which[n]) }
	if sc == putScript {
		first, sideArgs = invalidateScript, func(n int) []string { return args(which[n])[2:] } // the hold
	}
	var second rueidis.Commands
	var sent []int
	for n, r := range s.run(ctx, first, names, sidecarOnly, sideArgs) {
		i := which[n]
		if err := r.Error(); err != nil {
			out[i] = store.Outcome{Err: failed(verb, keys[i], err)}
			continue
		}
		sent = append(sent, i)
		if sc == putScript {
			a := args(i)
			ms, _ := strconv.ParseInt(a[1], 10, 64)
			second = append(second, s.c.B().Set().Key(keys[i]).Value(a[0]).PxMilliseconds(ms).Build())
		} else {
			second = append(second, s.c.B().Del().Key(keys[i]).Build())
		}
	}
	for n, r := range s.send(ctx, write, second) {
		i := sent[n]
		deleted, _ := r.AsInt64()
		switch err := r.Error(); {
		case err != nil:
			out[i] = store.Outcome{Err: failed(verb, keys[i], err)}
		case sc == invalidateScript:
			out[i] = store.Outcome{OK: deleted == 1}
		default:
			out[i] = store.Outcome{OK: sc != endScript}
		}
	}
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
