package checker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/store"
)

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
		s.call(c.Key, from, "write %v %+v: %v", c.Op, c.Element, out[i])
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
