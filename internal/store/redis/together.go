package redis

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
)

// One script about many keys costs the server half of what it costs to run it for each, and this process less than that. But
// nobody else is served meanwhile, so there is a bound: what follows takes some tenths of a millisecond.
const (
	keysTogether  = 64
	bytesTogether = 256 << 10 // of values; a larger one is alone
)

// together divides fills into groups, by their places in the batch: each goes to the server in one command. In a cluster a
// command is about one slot.
func (s *Store) together(fills []store.Fill) [][]int {
	type group struct{ at, bytes int }
	latest := make(map[uint16]*group) // of each slot
	var groups [][]int
	var g *group
	for i := range fills {
		if s.target.Mode == Cluster {
			g = latest[Slot(fills[i].Key)]
		}
		size := len(fills[i].Value)
		if g == nil || len(groups[g.at]) == keysTogether || g.bytes+size > bytesTogether {
			g = &group{at: len(groups)}
			groups = append(groups, make([]int, 0, min(keysTogether, len(fills)-i)))
			if s.target.Mode == Cluster {
				latest[Slot(fills[i].Key)] = g
			}
		}
		groups[g.at] = append(groups[g.at], i)
		g.bytes += size
	}
	return groups
}

// fillValues runs fill.lua, for many keys at once.
func (s *Store) fillValues(ctx context.Context, fills []store.Fill) []store.Outcome {
	if len(fills) == 1 {
		key := fills[0].Key
		return s.outcomes(ctx, "fill", fillScript, []string{key}, func(int) []string { return fillArgs(nil, &fills[0]) })
	}
	out := make([]store.Outcome, len(fills))
	if err := s.unusable(); err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	alone := s.fillTogether(ctx, fills, s.together(fills), out)
	if len(alone) > 0 {
		s.fillTogether(ctx, fills, alone, out)
	}
	return out
}

// fillTogether fills groups. If the server says no to several keys, because of one of them, nobody knows which: they are to be
// sent once more, each by itself. What was done of them by then counts as not filled, which is always safe.
func (s *Store) fillTogether(ctx context.Context, fills []store.Fill, groups [][]int, out []store.Outcome) (alone [][]int) {
	rs := s.calls(ctx, write, fillScript, len(groups), func(n int) (names, args []string) {
		names, args = make([]string, 0, 2*len(groups[n])), make([]string, 0, 4*len(groups[n]))
		for _, i := range groups[n] {
			names, args = append(names, fills[i].Key, sidecar(fills[i].Key)), fillArgs(args, &fills[i])
		}
		return names, args
	})
	for n, r := range rs {
		filled, err := r.ToString()
		s.forbidden(fillScript, err)
		for at, i := range groups[n] {
			switch {
			case err == nil:
				out[i].OK = filled[at] == '1'
			case len(groups[n]) > 1 && answered(err) && !away(err):
				alone = append(alone, []int{i})
			default:
				out[i] = store.Outcome{Err: failed("fill", fills[i].Key, err)}
			}
		}
	}
	return alone
}

func fillArgs(args []string, f *store.Fill) []string {
	if f.Absent {
		return append(args, f.Token, "n", px(f.TTL), "")
	}
	return append(args, f.Token, "v", px(f.TTL), rueidis.BinaryString(f.Value))
}

// claimTogether asks for leases by one command for each, and two for all, in one trip: it takes them, and then looks at the
// values and at the sidecars, in the order that granted needs. A key of another type counts as missing here, and what is filled
// takes its place. Not in a cluster, whose MGET knows one slot alone. It returns the claims that are left to the script, and the
// leases that were taken in vain.
func (s *Store) claimTogether(ctx context.Context, claims []store.Claim, which []int, out []store.Grant) (unclear []int, unused []store.Lease) {
	keys, sides := make([]string, len(which)), make([]string, len(which))
	cmds := make(rueidis.Commands, 0, len(which)+2)
	for n, i := range which {
		keys[n], sides[n] = claims[i].Key, sidecar(claims[i].Key)
		cmds = append(cmds, s.c.B().Set().Key(sides[n]).Value(claims[i].Token).Nx().PxMilliseconds(max(claims[i].Lease.Milliseconds(), 1)).Build())
	}
	cmds = append(cmds, s.c.B().Mget().Key(keys...).Build(), s.c.B().Mget().Key(sides...).Build())
	rs := s.send(ctx, read, cmds)
	values, err := rs[len(which)].ToArray()
	if answered(err) && !away(err) { // because of one key, perhaps: who has taken a lease by now is told so again
		return s.claimEach(ctx, claims, which, out)
	}
	held, _ := rs[len(which)+1].ToArray()
	for n, i := range which {
		var value []byte
		var side string
		missing := err
		if err == nil {
			value, missing = values[n].AsBytes()
		}
		if held != nil {
			side, _ = held[n].ToString()
		}
		took, clear := granted(&claims[i], &out[i], rs[n].Error(), value, missing, side)
		switch {
		case !clear:
			unclear = append(unclear, i)
		case took && out[i].State == store.Hit:
			unused = append(unused, store.Lease{Key: claims[i].Key, Token: claims[i].Token})
		}
	}
	return unclear, unused
}
