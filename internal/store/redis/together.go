package redis

import (
	"context"
	"strings"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// One script about many keys costs the server half of what it costs to run it for each, and this process less than that. But
// nobody else is served meanwhile, so there is a bound: what follows takes some tenths of a millisecond.
const (
	keysTogether  = 64
	bytesTogether = 256 << 10 // of values; a larger one is alone
)

// together divides what is about n keys into groups, by their places in the batch: each has one token, and goes to the server in
// one command. In a cluster a command is about one slot.
func (s *Store) together(n int, about func(i int) (key, token string, bytes int)) [][]int {
	type group struct {
		at, bytes int
		token     string
	}
	latest := make(map[uint16]*group) // of each slot
	var groups [][]int
	var g *group
	for i := range n {
		key, token, size := about(i)
		if s.target.Mode == redisurl.Cluster {
			g = latest[topology.Slot(key)]
		}
		if g == nil || g.token != token || len(groups[g.at]) == keysTogether || g.bytes+size > bytesTogether {
			g = &group{at: len(groups), token: token}
			groups = append(groups, make([]int, 0, min(keysTogether, n-i)))
			if s.target.Mode == redisurl.Cluster {
				latest[topology.Slot(key)] = g
			}
		}
		groups[g.at] = append(groups[g.at], i)
		g.bytes += size
	}
	return groups
}

// namesOf are the names that a script about many keys takes.
func namesOf(which []int, key func(i int) string) []string {
	names := make([]string, 2*len(which))
	for n, i := range which {
		names[n], names[len(which)+n] = key(i), sidecar(key(i))
	}
	return names
}

// fillValues runs fill.lua, for many keys at once.
func (s *Store) fillValues(ctx context.Context, fills []store.Fill) []store.Outcome {
	if len(fills) == 1 {
		key := fills[0].Key
		return s.outcomes(ctx, "fill", fillScript, []string{key}, func(int) []string { return fillArgs(fills, []int{0}) })
	}
	out := make([]store.Outcome, len(fills))
	if err := s.unusable(); err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	groups := s.together(len(fills), func(i int) (key, token string, bytes int) {
		return fills[i].Key, fills[i].Token, len(fills[i].Value)
	})
	alone := s.fillTogether(ctx, fills, groups, out)
	if len(alone) > 0 {
		s.fillTogether(ctx, fills, alone, out)
	}
	return out
}

// fillTogether fills groups. If the server says no to several keys, because of one of them, nobody knows which: they are to be
// sent once more, each by itself. What was done of them by then counts as not filled, which is always safe.
func (s *Store) fillTogether(ctx context.Context, fills []store.Fill, groups [][]int, out []store.Outcome) (alone [][]int) {
	rs := s.calls(ctx, health.Write, fillScript, len(groups), func(n int) (names, args []string) {
		return namesOf(groups[n], func(i int) string { return fills[i].Key }), fillArgs(fills, groups[n])
	})
	for n, r := range rs {
		filled, err := r.ToString()
		s.forbidden(fillScript, err)
		if strings.Contains(filled, "1") {
			s.permitted(fillScript)
		}
		for at, i := range groups[n] {
			switch {
			case err == nil:
				out[i].OK = filled[at] == '1'
			case len(groups[n]) > 1 && reply.Answered(err) && !reply.Unavailable(err):
				alone = append(alone, []int{i})
			default:
				out[i] = store.Outcome{Err: reply.Failed("fill", fills[i].Key, err)}
			}
		}
	}
	return alone
}

// fillArgs are the arguments of some fills that have one token.
func fillArgs(fills []store.Fill, which []int) []string {
	args := make([]string, 1, 1+2*len(which))
	args[0] = fills[which[0]].Token
	for _, i := range which {
		if f := &fills[i]; f.Absent {
			args = append(args, "n"+px(f.TTL), "")
		} else {
			args = append(args, px(f.TTL), rueidis.BinaryString(f.Value))
		}
	}
	return args
}

// claimTogether asks for leases by one command for many keys, of which it may take those that have one token: claims.lua. It
// returns the claims that are left to acquire.lua.
func (s *Store) claimTogether(ctx context.Context, claims []store.Claim, which []int, out []store.Grant) (left []int) {
	key := func(i int) string { return claims[i].Key }
	groups := s.together(len(which), func(n int) (string, string, int) { return key(which[n]), claims[which[n]].Token, 0 })
	for _, g := range groups {
		for n := range g {
			g[n] = which[g[n]]
		}
	}
	rs := s.calls(ctx, health.Read, claimsScript, len(groups), func(n int) (names, args []string) {
		first := claims[groups[n][0]]
		return namesOf(groups[n], key), []string{first.Token, px(first.Lease)}
	})
	for n, r := range rs {
		parts, err := r.ToArray()
		var answers string
		if err == nil {
			answers, err = parts[0].ToString()
		}
		if s.forbidden(claimsScript, err) {
			s.acquireApart(ctx, claims, groups[n], out)
			continue
		}
		if reply.Answered(err) && !reply.Unavailable(err) && !reply.Full(err) { // because of one key, perhaps
			left = append(left, groups[n]...)
			continue
		}
		more := 1
		for at, i := range groups[n] {
			if err != nil {
				out[i] = store.Grant{Err: reply.Failed("acquire", claims[i].Key, err)}
				continue
			}
			if answers[at] == unclear {
				left = append(left, i)
				continue
			}
			switch out[i].State = states[answers[at]]; out[i].State {
			case store.Hit:
				out[i].Value, _ = parts[more].AsBytes()
				more++
			case store.Waiting:
				out[i].Holder, _ = parts[more].ToString()
				more++
			}
		}
	}
	return left
}
