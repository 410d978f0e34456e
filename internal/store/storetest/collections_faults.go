package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// paced is a store with a profile's lives, and with small chunks that take their time.
type paced struct {
	store.Store
	p   CollectionProfile
	rng *dice
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

// losses decides which commands are lost, and waits for those that are late.
type losses struct {
	mu     sync.Mutex
	rng    *rand.Rand
	share  float64
	spared bool // commands of loads are not lost
	wg     sync.WaitGroup
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
	n, late := l.rng.Float64()/l.share, time.Duration(l.rng.Int64N(int64(latest)))
	l.mu.Unlock()
	switch {
	case n < 0.4:
		do(context.Background())
	case n < 0.6:
	case n < 1 && mayBeLate:
		l.wg.Go(func() {
			time.Sleep(late)
			do(context.Background())
		})
	default:
		return false
	}
	return true
}

func (s lossy) Acquire(ctx context.Context, claims []store.Claim) []store.Grant {
	copied := slices.Clone(claims)
	if !s.spared && s.lose(true, func(ctx context.Context) { s.Store.Acquire(ctx, copied) }) {
		return slices.Repeat([]store.Grant{{Err: errLost}}, len(claims))
	}
	return s.Store.Acquire(ctx, claims)
}

func (s lossy) Fill(ctx context.Context, fills []store.Fill) []store.Outcome {
	if s.spared {
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
	if s.spared {
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

// trace remembers the latest calls about each key, for the report of a violation.
type trace struct {
	mu   sync.Mutex
	keys map[string]*[]call
}

type call struct {
	from, to time.Time
	format   string
	args     []any
}

const tracedCalls = 400 // calls of each key

func (t *trace) add(key string, c call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	calls := t.keys[key]
	if calls == nil {
		calls = new([]call)
		t.keys[key] = calls
	}
	if *calls = append(*calls, c); len(*calls) > 2*tracedCalls {
		*calls = slices.Clone((*calls)[tracedCalls:])
	}
}

func (t *trace) note(key, format string, args ...any) {
	now := time.Now()
	t.add(key, call{now, now, format, args})
}

// of returns the latest calls about a key, by when they were sent.
func (t *trace) of(key string) (out []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys[key] == nil {
		return nil
	}
	calls := slices.Clone(*t.keys[key])
	slices.SortStableFunc(calls, func(a, b call) int { return a.from.Compare(b.from) })
	for _, c := range calls[max(0, len(calls)-tracedCalls):] {
		out = append(out, fmt.Sprintf("%s-%s ", c.from.Format(clock), c.to.Format(clock))+fmt.Sprintf(c.format, c.args...))
	}
	return out
}

// traced is a store whose calls are remembered.
type traced struct {
	store.Store
	t *trace
	n int
}

func (s traced) call(key string, from time.Time, format string, args ...any) {
	s.t.add(key, call{from, time.Now(), "store %d: " + format, append([]any{s.n}, args...)})
}

func (s traced) Query(ctx context.Context, queries []store.Query) []store.View {
	from := time.Now()
	out := s.Store.Query(ctx, queries)
	for i, q := range queries {
		s.call(q.Key, from, "query %d: found %v, %d elements, N %d, %v to live, %v", q.Part, out[i].Found, len(out[i].Elements), out[i].N, out[i].TTL, out[i].Err)
	}
	return out
}

func (s traced) Acquire(ctx context.Context, claims []store.Claim) []store.Grant {
	from := time.Now()
	out := s.Store.Acquire(ctx, claims)
	for i, c := range claims {
		s.call(c.Key, from, "acquire %s: %c %s %v", c.Token, out[i].State, out[i].Holder, out[i].Err)
	}
	return out
}

func (s traced) Fill(ctx context.Context, fills []store.Fill) []store.Outcome {
	from := time.Now()
	out := s.Store.Fill(ctx, fills)
	for i, f := range fills {
		s.call(f.Key, from, "fill %s: %v", f.Token, out[i])
	}
	return out
}

func (s traced) Release(ctx context.Context, leases []store.Lease) []store.Outcome {
	from := time.Now()
	out := s.Store.Release(ctx, leases)
	for i, l := range leases {
		s.call(l.Key, from, "release %s: %v", l.Token, out[i])
	}
	return out
}

func (s traced) Invalidate(ctx context.Context, keys []string, hold time.Duration) []store.Outcome {
	from := time.Now()
	out := s.Store.Invalidate(ctx, keys, hold)
	for i, key := range keys {
		s.call(key, from, "invalidate: %v", out[i])
	}
	return out
}

func (s traced) Begin(ctx context.Context, ins []store.Intent) []store.Outcome {
	from := time.Now()
	out := s.Store.Begin(ctx, ins)
	for i, in := range ins {
		s.call(in.Key, from, "begin %s: %v", in.Token, out[i])
	}
	return out
}

func (s traced) End(ctx context.Context, ends []store.End) []store.Outcome {
	from := time.Now()
	out := s.Store.End(ctx, ends)
	for i, e := range ends {
		s.call(e.Key, from, "end %s: %v", e.Token, out[i])
	}
	return out
}

func (s traced) Write(ctx context.Context, changes []store.Change) []store.Outcome {
	from := time.Now()
	out := s.Store.Write(ctx, changes)
	for i, c := range changes {
		s.call(c.Key, from, "write %c %+v: %v", c.Op, c.Element, out[i])
	}
	return out
}

func (s traced) Chunk(ctx context.Context, c store.Chunk) store.Outcome {
	from := time.Now()
	out := s.Store.Chunk(ctx, c)
	s.call(c.Key, from, "chunk %s %v: %v", c.Token, c.Elements, out)
	return out
}

func (s traced) BeginMember(ctx context.Context, in store.MemberIntent) store.Outcome {
	from := time.Now()
	out := s.Store.BeginMember(ctx, in)
	s.call(in.Key, from, "begin of %q %s, earlier %v, life %v: %v", in.Member, in.Token, in.Earlier, in.Life, out)
	return out
}

func (s traced) EndMember(ctx context.Context, e store.MemberEnd) store.Ending {
	from := time.Now()
	out := s.Store.EndMember(ctx, e)
	s.call(e.Key, from, "end of %q %s, %c %+v, version %.0f, again %v: %+v", e.Member, e.Token, e.Op, e.Element, e.Version, e.Again, out)
	return out
}
