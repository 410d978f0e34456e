package checker

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

var errUnknown = errors.New("the outcome of the commit is unknown, as it was told to be")

// writer changes one collection after the other.
func (s *trial) writer(ctx context.Context, me int, rng *rand.Rand) {
	for pause(ctx, rng, s.Pause) {
		key := s.keys[rng.IntN(len(s.keys))]
		s.report.writes.Add(1)
		switch n := rng.Float64(); {
		case rng.Float64() < s.CrashWrite:
			s.crashWrite(key, rng)
		case n < s.Invalidate:
			s.invalidate(me, key, rng)
		case n < s.Invalidate+s.Mutate:
			s.mutate(me, key, rng)
		case n < s.Invalidate+s.Mutate+s.Plain && s.Kind != store.List:
			s.plain(me, key, rng)
		default:
			s.update(me, key, rng)
		}
	}
}

func (s *trial) cacheOf(me int) *typed.Collection[string] { return s.caches[me%len(s.caches)] }

// step waits as a step of a write does.
func (s *trial) step(rng *rand.Rand) { time.Sleep(time.Duration(rng.Int64N(int64(s.Commit) + 1))) }

func (s *trial) member(rng *rand.Rand) string { return s.hot[rng.IntN(len(s.hot))] }

// deadline is until when a write may commit whose begin is sent now; zero: as long as it likes.
func (s *trial) deadline() time.Time {
	if s.Intent == 0 {
		return time.Time{}
	}
	return time.Now().Add(s.Intent - time.Millisecond)
}

func (s *trial) update(me int, key string, rng *rand.Rand) {
	member := s.member(rng)
	until := s.deadline()
	var w *committed
	doubt, seed := rng.Float64() < s.Doubt, rng.Uint64()
	err := s.cacheOf(me).Update(context.Background(), key, member, func(context.Context) (store.Change, float64, error) {
		s.step(rng)
		if doubt {
			return store.Change{}, 0, s.doubt(key, member, rand.New(rand.NewPCG(seed, 1)))
		}
		unknown := rng.Float64() < s.Unknown
		if unknown && rng.IntN(2) == 0 {
			return store.Change{}, 0, errUnknown
		}
		c := s.db[key].commit(rng, member, until)
		if c == nil {
			return store.Change{}, 0, errUnknown // too late, and rolled back
		}
		s.trace.note(key, "committed %q version %d", member, c.version)
		if s.step(rng); unknown {
			return store.Change{}, 0, errUnknown
		}
		w = c
		return c.change, float64(c.version), nil
	})
	s.told(key, err, func() {
		s.db[key].ack(w, time.Time{})
		s.trace.note(key, "acknowledged %q version %d", member, w.version)
	})
}

// doubt commits after its error was returned, or never.
func (s *trial) doubt(key, member string, rng *rand.Rand) error {
	over := make(chan struct{})
	s.late.Go(func() {
		defer close(over)
		if time.Sleep(time.Duration(rng.Int64N(int64(30 * time.Millisecond)))); rng.IntN(4) > 0 {
			w := s.db[key].commit(rng, member, time.Time{})
			s.trace.note(key, "committed %q version %d, in doubt", member, w.version)
		}
	})
	if s.Forgotten {
		return engine.Final(errUnknown)
	}
	return engine.InDoubt(errUnknown, func(context.Context) error {
		select {
		case <-over:
			return nil
		default:
			return errUnknown
		}
	})
}

// told is behind a write: acknowledged, or it failed as it may.
func (s *trial) told(key string, err error, ack func()) {
	switch {
	case err == nil:
		ack()
	case errors.Is(err, errUnknown):
	case errors.Is(err, engine.ErrUnavailable): // a busy machine does so, too
		s.report.told.Add(1)
	default:
		s.violation(wasStale, key, "%s: a write failed: %v", key, err)
	}
}

// plain commits a change of a member that nobody else changes, and tells of it afterwards.
func (s *trial) plain(me int, key string, rng *rand.Rand) {
	s.step(rng)
	w := s.db[key].commit(rng, plainMember(me), time.Time{})
	s.trace.note(key, "committed %q version %d", w.member, w.version)
	s.step(rng)
	err := s.cacheOf(me).Write(context.Background(), key, w.change)
	s.told(key, err, func() {
		s.db[key].ack(w, time.Time{})
		s.trace.note(key, "acknowledged %q version %d", w.member, w.version)
	})
}

// some commits up to three changes of members that are otherwise changed by Update, and may empty a list.
func (s *trial) some(key string, rng *rand.Rand, until time.Time) (out []*committed) {
	for range 1 + rng.IntN(3) {
		member := s.member(rng)
		if s.Kind == store.List && rng.IntN(4) == 0 {
			member = emptied
		}
		w := s.db[key].commit(rng, member, until)
		if w == nil {
			break
		}
		out = append(out, w)
		s.trace.note(key, "committed %q version %d", member, w.version)
	}
	return out
}

// raiser is a truth whose every state so far is acknowledged by an invalidation.
type raiser interface{ raise(floor) }

func (s *trial) invalidate(me int, key string, rng *rand.Rand) {
	s.step(rng)
	s.some(key, rng, time.Time{})
	s.step(rng)
	f := s.db[key].all()
	_, err := s.cacheOf(me).Invalidate(context.Background(), []string{key})
	s.told(key, err, func() { s.db[key].(raiser).raise(f); s.trace.note(key, "acknowledged an invalidation") })
}

func (s *trial) mutate(me int, key string, rng *rand.Rand) {
	keys := []string{key, s.keys[rng.IntN(len(s.keys))]}
	var written []engine.Written
	for _, key := range keys {
		w, _ := s.cacheOf(me).Written(key)
		written = append(written, w)
	}
	all := make([][]*committed, len(keys))
	until := s.deadline()
	err := s.shared[me%len(s.shared)].Mutate(context.Background(), written, func(context.Context) error {
		s.step(rng)
		for i, key := range keys {
			all[i] = s.some(key, rng, until)
		}
		if s.step(rng); rng.Float64() < s.Unknown {
			return errUnknown
		}
		return nil
	})
	s.told(key, err, func() {
		for i, key := range keys {
			for _, w := range all[i] {
				s.db[key].ack(w, time.Time{})
				s.trace.note(key, "acknowledged %q version %d by mutate", w.member, w.version)
			}
		}
	})
}

// crashWrite is a writer that dies before its commit or behind it. When its intent has run out, everybody must see what it
// committed.
func (s *trial) crashWrite(key string, rng *rand.Rand) {
	s.report.crashes.Add(1)
	life := crashLife/4 + time.Duration(rng.Int64N(int64(crashLife*3/4)))
	member := s.member(rng)
	order := store.Alone
	switch {
	case s.Kind == store.List:
		order = store.Pushed
	case s.Versioned:
		order = store.Versioned
	}
	lease := s.Lease
	if lease == 0 {
		lease = 6 * time.Second
	}
	until := time.Now().Add(life - time.Millisecond)
	in := store.MemberIntent{Key: key, Kind: s.Kind, Member: member, Order: order, Token: store.NewToken(), Life: life, Lease: lease}
	if o := s.mortal(rng).BeginMember(context.Background(), in); o.Err != nil {
		return
	}
	gone := time.Now().Add(life + deadlineSlack)
	s.step(rng)
	if rng.IntN(4) == 0 {
		return
	}
	if w := s.db[key].commit(rng, member, until); w != nil {
		s.trace.note(key, "committed %q version %d, and died", member, w.version)
		s.db[key].ack(w, gone)
	}
}

// mortal is the store of a process that dies: what it sends is never late.
func (s *trial) mortal(rng *rand.Rand) store.Store {
	i := rng.IntN(len(s.stores))
	var st store.Store = traced{s.stores[i], s.trace, i}
	if s.Wrap != nil {
		st = s.Wrap(st)
	}
	return st
}

// crashLoad is a loader that dies, with a chunk or without.
func (s *trial) crashLoad(key string, rng *rand.Rand) {
	s.report.crashes.Add(1)
	st := s.mortal(rng)
	token := store.NewToken()
	claim := store.Claim{Key: key, Kind: s.Kind, Token: token, Lease: crashLife, Stale: s.window()}
	g := st.Acquire(context.Background(), []store.Claim{claim})[0]
	rows := s.db[key].load()
	if g.State != store.Granted && g.State != store.Refresh || len(rows) == 0 || rng.IntN(2) == 0 {
		return
	}
	st.Chunk(context.Background(), store.Chunk{Key: key, Kind: s.Kind, Token: token, Elements: rows[:1+rng.IntN(len(rows))]})
}
