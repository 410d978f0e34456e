package checker

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// BrokenCollections is a profile with a rule left out, in which the checker must find violations in one of the shapes.
type BrokenCollections struct {
	CollectionProfile
	Shapes []Shape
}

var (
	ofOne      = Shape{Kind: store.SortedSet}
	ofVersions = Shape{Kind: store.SortedSet, Versioned: true}
	ofPushes   = Shape{Kind: store.List}
)

// Busy is a profile in which loads and writers overlap all the time: few collections with one hot member, that live for no
// longer than a few loads.
func Busy() CollectionProfile {
	return CollectionProfile{
		Full: 1, Sparse: 1, Hot: 1, Plain: 0.3, Invalidate: 0.02, TTL: 40 * time.Millisecond, Load: 6 * time.Millisecond,
		Commit: 3 * time.Millisecond, Pause: 5 * time.Millisecond, ReadPause: time.Millisecond,
	}
}

// Quiet is a profile in which half of the writers die, and nobody but expiry heals.
func Quiet() CollectionProfile {
	p := quiet()
	p.Writers, p.Pause, p.CrashWrite, p.Load, p.TTL, p.Plain, p.Invalidate = 6, 60*time.Millisecond, 0.5, time.Millisecond, time.Second, 0, 0
	return p
}

// BrokenCollectionRules are those that can be left out in front of a store.
func BrokenCollectionRules() []BrokenCollections {
	rule := func(name string, p CollectionProfile, wrap func(store.Store) store.Store, shapes ...Shape) BrokenCollections {
		p.Name, p.Wrap, p.Enough = name, wrap, true
		return BrokenCollections{p, shapes}
	}
	slow := Busy() // as if two writers of a member were one behind the other
	slow.TTL, slow.Commit, slow.Reread, slow.Plain = time.Minute, 8*time.Millisecond, 8*time.Millisecond, 0
	retried := Busy()
	retried.Lost, retried.TTL, retried.Commit, retried.Writers, retried.Pause = 0.15, time.Minute, 0, 1, 2*time.Millisecond
	retried.Load, retried.Lease, retried.Intent, retried.Invalidate = time.Millisecond, 60*time.Millisecond, 100*time.Millisecond, 0
	again := retried
	again.Full, again.Sparse, again.Writers, again.Lost, again.Late, again.Intent = 12, 0, 6, 0.5, true, 300*time.Millisecond
	doubt := Busy()
	doubt.Doubt, doubt.Forgotten, doubt.TTL, doubt.Load, doubt.Plain = 0.5, true, time.Minute, time.Millisecond, 0
	return []BrokenCollections{
		rule("an end before the outcome is known", doubt, nil, ofOne, ofPushes),
		rule("a load fills without its token", Busy(), func(s store.Store) store.Store { return &unasked{Store: s} }, ofOne, ofPushes),
		rule("the change of an overlapped writer is kept", slow, func(s store.Store) store.Store { return ordered{Store: s, always: true} }, ofOne),
		rule("the version is not compared", slow, func(s store.Store) store.Store { return ordered{Store: s} }, ofVersions),
		rule("a retried end pushes again", retried, func(s store.Store) store.Store { return &repeating{Store: s} }, ofPushes),
		rule("begin is sent again with its old token", again, func(s store.Store) store.Store { return &constant{Store: s} }, ofPushes),
	}
}

// unasked stores what was loaded whatever happened since the lease was granted.
type unasked struct {
	store.Store
	mu     sync.Mutex
	chunks map[string][]store.Element
}

func (s *unasked) Chunk(ctx context.Context, c store.Chunk) store.Outcome {
	s.mu.Lock()
	if s.chunks == nil {
		s.chunks = make(map[string][]store.Element)
	}
	s.chunks[c.Token] = append(s.chunks[c.Token], c.Elements...)
	s.mu.Unlock()
	s.Store.Chunk(ctx, c)
	return store.Outcome{OK: true}
}

func (s *unasked) Fill(ctx context.Context, fills []store.Fill) []store.Outcome {
	out := s.Store.Fill(ctx, fills)
	for i, f := range fills {
		if out[i].OK || out[i].Err != nil || f.Kind == "" {
			continue
		}
		s.mu.Lock()
		elements := append(slices.Clip(s.chunks[f.Token]), f.Last...)
		s.mu.Unlock()
		claim := store.Claim{Key: f.Key, Kind: f.Kind, Token: store.NewToken(), Lease: time.Second, Stale: time.Hour}
		switch s.Acquire(ctx, []store.Claim{claim})[0].State {
		case store.Granted, store.Refresh:
		default:
			continue
		}
		f.Token, f.Last = claim.Token, nil
		s.Store.Chunk(ctx, store.Chunk{Key: f.Key, Kind: f.Kind, Token: f.Token, Elements: elements})
		out[i] = s.Store.Fill(ctx, []store.Fill{f})[0]
	}
	return out
}

// calls are counted by all stores that order ends by them.
var calls atomic.Int64

// ordered takes the later end for the newer one.
type ordered struct {
	store.Store
	always bool // also where the order is not known
}

func (s ordered) BeginMember(ctx context.Context, in store.MemberIntent) store.Outcome {
	if s.always && in.Order == store.Alone {
		in.Order = store.Versioned
	}
	return s.Store.BeginMember(ctx, in)
}

func (s ordered) EndMember(ctx context.Context, e store.MemberEnd) store.Ending {
	e.Version = float64(calls.Add(1))
	return s.Store.EndMember(ctx, e)
}

// repeating applies an end that is sent again as if it were another one.
type repeating struct {
	store.Store
	mu   sync.Mutex
	seen []string
}

func (s *repeating) EndMember(ctx context.Context, e store.MemberEnd) store.Ending {
	s.mu.Lock()
	again := slices.Contains(s.seen, e.Token)
	if s.seen = append(s.seen, e.Token); len(s.seen) > 100 {
		s.seen = s.seen[50:]
	}
	s.mu.Unlock()
	if again && e.Op != store.Drop {
		e.Token = store.NewToken()
		s.Store.BeginMember(ctx, store.MemberIntent{Key: e.Key, Kind: e.Kind, Member: e.Member, Order: store.Alone, Token: e.Token, Life: time.Minute, Lease: time.Minute})
	}
	return s.Store.EndMember(ctx, e)
}

// constant gives each writer the token of his first sending.
type constant struct {
	store.Store
	first sync.Map
}

func (s *constant) BeginMember(ctx context.Context, in store.MemberIntent) store.Outcome {
	if len(in.Earlier) > 0 {
		s.first.Store(in.Token, in.Earlier[0])
		in.Token, in.Earlier = in.Earlier[0], nil
	}
	return s.Store.BeginMember(ctx, in)
}

func (s *constant) EndMember(ctx context.Context, e store.MemberEnd) store.Ending {
	if first, ok := s.first.Load(e.Token); ok {
		e.Token = first.(string)
	}
	return s.Store.EndMember(ctx, e)
}
