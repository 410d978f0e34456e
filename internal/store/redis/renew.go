package redis

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

// Renew runs renew.lua, for many leases of values at once.
func (s *Store) Renew(ctx context.Context, leases []store.Lease, life time.Duration) []store.Outcome {
	return perKind(leases, func(l *store.Lease) store.Kind { return l.Kind }, func(shape store.Kind, leases []store.Lease) []store.Outcome {
		if shape != "" {
			keys := keysOf(leases, func(l store.Lease) string { return l.Key })
			return s.outcomes(ctx, "renew", renewLoadScript, keys, func(i int) []string { return []string{leases[i].Token, px(life)} })
		}
		return s.renewValues(ctx, leases, life)
	})
}

func (s *Store) renewValues(ctx context.Context, leases []store.Lease, life time.Duration) []store.Outcome {
	out := make([]store.Outcome, len(leases))
	if err := s.unusable(); err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	groups := s.together(len(leases), func(i int) (key, token string, bytes int) { return leases[i].Key, "", 0 })
	alone := s.renewTogether(ctx, leases, life, groups, out)
	if len(alone) > 0 {
		s.renewTogether(ctx, leases, life, alone, out)
	}
	return out
}

// renewTogether renews the leases of each group by one command. It returns groups of one for those that the server refused to
// do together: their keys may be on two nodes while their slot moves.
func (s *Store) renewTogether(ctx context.Context, leases []store.Lease, life time.Duration, groups [][]int, out []store.Outcome) (alone [][]int) {
	rs := s.calls(ctx, health.Write, renewScript, len(groups), func(n int) (names, args []string) {
		args = append(args, px(life))
		for _, i := range groups[n] {
			names, args = append(names, sidecar(leases[i].Key)), append(args, leases[i].Token)
		}
		return names, args
	})
	for n, r := range rs {
		renewed, err := r.ToString()
		s.forbidden(renewScript, err)
		for at, i := range groups[n] {
			switch {
			case err == nil:
				out[i] = store.Outcome{OK: renewed[at] == '1'}
			case len(groups[n]) > 1 && reply.InTransit(err):
				alone = append(alone, []int{i})
			default:
				out[i] = store.Outcome{Err: reply.Failed("renew", leases[i].Key, err)}
			}
		}
	}
	return alone
}
