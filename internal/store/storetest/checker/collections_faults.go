package checker

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// paced is a store with a profile's lives, and with small chunks that take their time.
type paced struct {
	store.Store
	p     CollectionProfile
	rng   *dice
	taken *atomic.Uint64 // fills that the store has accepted
}

func (s paced) Acquire(ctx context.Context, claims []store.Claim) []store.Grant {
	if s.p.Lease > 0 {
		for i := range claims {
			claims[i].Lease = s.p.Lease
		}
	}
	return s.Store.Acquire(ctx, claims)
}

func (s paced) BeginMember(ctx context.Context, in store.MemberIntent) store.Outcome {
	if s.p.Intent > 0 {
		in.Life = s.p.Intent
	}
	if s.p.Lease > 0 {
		in.Lease = s.p.Lease
	}
	return s.Store.BeginMember(ctx, in)
}

func (s paced) Begin(ctx context.Context, ins []store.Intent) []store.Outcome {
	if s.p.Intent > 0 {
		for i := range ins {
			ins[i].Life = s.p.Intent
		}
	}
	return s.Store.Begin(ctx, ins)
}

func (s paced) Chunk(ctx context.Context, c store.Chunk) (o store.Outcome) {
	for part := range slices.Chunk(c.Elements, chunkElements) {
		time.Sleep(s.rng.upTo(s.p.Load / 4))
		c.Elements = part
		if o = s.Store.Chunk(ctx, c); !o.OK {
			return o
		}
	}
	return o
}

// Fill sends a part of what comes with it as chunks, as for a collection that is larger.
func (s paced) Fill(ctx context.Context, fills []store.Fill) []store.Outcome {
	out := make([]store.Outcome, len(fills))
	for i, f := range fills {
		if some := s.rng.below(len(f.Last) + 1); some > 0 {
			o := s.Chunk(ctx, store.Chunk{Key: f.Key, Token: f.Token, Kind: f.Kind, Elements: f.Last[:some]})
			if f.Last = f.Last[some:]; !o.OK {
				out[i] = o
				continue
			}
		}
		time.Sleep(s.rng.upTo(s.p.Load / 4))
		if out[i] = s.Store.Fill(ctx, []store.Fill{f})[0]; out[i].OK {
			s.taken.Add(1)
		}
	}
	return out
}

// losses decides which commands are lost, and waits for those that are late.
type losses struct {
	mu    sync.Mutex
	rng   *rand.Rand
	share float64
	late  bool // what is lost comes late, and commands of loads are not lost
	wg    sync.WaitGroup
}

const latest = 40 * time.Millisecond // a command that is late

var errLost = errors.New("lost, as it was told to")

// lossy loses commands and answers, and has some come late, when their caller has given up.
type lossy struct {
	store.Store
	*losses
}

// lose carries out a command, or not. True: it is not answered.
func (l *losses) lose(mayBeLate bool, do func(context.Context)) bool {
	if l.share == 0 {
		return false
	}
	l.mu.Lock()
	n, behind := l.rng.Float64()/l.share, time.Duration(l.rng.Int64N(int64(latest)))
	l.mu.Unlock()
	switch {
	case n < 0.4 && !l.late:
		do(context.Background())
	case n < 0.6 && !l.late:
	case n < 1 && mayBeLate:
		l.wg.Go(func() {
			time.Sleep(behind)
			do(context.Background())
		})
	default:
		return false
	}
	return true
}

func (s lossy) Acquire(ctx context.Context, claims []store.Claim) []store.Grant {
	copied := slices.Clone(claims)
	if !s.late && s.lose(true, func(ctx context.Context) { s.Store.Acquire(ctx, copied) }) {
		return slices.Repeat([]store.Grant{{Err: errLost}}, len(claims))
	}
	return s.Store.Acquire(ctx, claims)
}

func (s lossy) Fill(ctx context.Context, fills []store.Fill) []store.Outcome {
	if s.late {
		return s.Store.Fill(ctx, fills)
	}
	copied := slices.Clone(fills)
	return s.many(ctx, true, len(fills), func(ctx context.Context) []store.Outcome { return s.Store.Fill(ctx, copied) })
}

func (s lossy) Release(ctx context.Context, leases []store.Lease) []store.Outcome {
	copied := slices.Clone(leases)
	return s.many(ctx, true, len(leases), func(ctx context.Context) []store.Outcome { return s.Store.Release(ctx, copied) })
}

func (s lossy) Invalidate(ctx context.Context, keys []string, hold time.Duration) []store.Outcome {
	copied := slices.Clone(keys)
	return s.many(ctx, true, len(keys), func(ctx context.Context) []store.Outcome { return s.Store.Invalidate(ctx, copied, hold) })
}

func (s lossy) Begin(ctx context.Context, ins []store.Intent) []store.Outcome {
	copied := slices.Clone(ins)
	return s.many(ctx, true, len(ins), func(ctx context.Context) []store.Outcome { return s.Store.Begin(ctx, copied) })
}

func (s lossy) End(ctx context.Context, ends []store.End) []store.Outcome {
	copied := slices.Clone(ends)
	return s.many(ctx, true, len(ends), func(ctx context.Context) []store.Outcome { return s.Store.End(ctx, copied) })
}

// Write is never late: a late one may replace what was written later, and is no more than documented.
func (s lossy) Write(ctx context.Context, changes []store.Change) []store.Outcome {
	copied := slices.Clone(changes)
	return s.many(ctx, false, len(changes), func(ctx context.Context) []store.Outcome { return s.Store.Write(ctx, copied) })
}

func (s lossy) Chunk(ctx context.Context, c store.Chunk) store.Outcome {
	if s.late {
		return s.Store.Chunk(ctx, c)
	}
	return s.many(ctx, true, 1, func(ctx context.Context) []store.Outcome { return []store.Outcome{s.Store.Chunk(ctx, c)} })[0]
}

func (s lossy) BeginMember(ctx context.Context, in store.MemberIntent) store.Outcome {
	in.Earlier = slices.Clone(in.Earlier)
	return s.many(ctx, true, 1, func(ctx context.Context) []store.Outcome { return []store.Outcome{s.Store.BeginMember(ctx, in)} })[0]
}

func (s lossy) EndMember(ctx context.Context, e store.MemberEnd) store.Ending {
	if s.lose(true, func(ctx context.Context) { s.Store.EndMember(ctx, e) }) {
		return store.Ending{Err: errLost}
	}
	return s.Store.EndMember(ctx, e)
}

func (s lossy) many(ctx context.Context, mayBeLate bool, n int, do func(context.Context) []store.Outcome) []store.Outcome {
	if s.lose(mayBeLate, func(ctx context.Context) { do(ctx) }) {
		return slices.Repeat([]store.Outcome{{Err: errLost}}, n)
	}
	return do(ctx)
}
