package checker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
	"github.com/nearside/nearside/internal/typed"
)

// CollectionReport is what a run of the checker saw of one shape.
type CollectionReport struct {
	Shape                                                        Shape
	Reads, Loads, Filled, Writes, Crashes, Dropped, Reread, Told uint64
	Stale, Half                                                  uint64
	Survived                                                     int      // collections that are still there at the end, and are not the database's, or have no TTL
	First                                                        string   // the first violation
	Trace                                                        []string // what was asked of the store before it, about that key
}

// Violations is how many there were.
func (r CollectionReport) Violations() uint64 { return r.Stale + r.Half + uint64(r.Survived) }

func (r CollectionReport) String() string {
	return fmt.Sprintf("%s: %d reads, %d loads, %d filled, %d writes, %d crashes, %d dropped, %d read again, %d not told: %d stale, %d half, %d survived",
		r.Shape, r.Reads, r.Loads, r.Filled, r.Writes, r.Crashes, r.Dropped, r.Reread, r.Told, r.Stale, r.Half, r.Survived)
}

const (
	chunkElements = 7 // of the checker's chunks: a load has several
	deadlineSlack = 15 * time.Millisecond
)

// trial is the run of one shape.
type trial struct {
	CollectionProfile
	Shape
	keys   []string
	db     map[string]truth
	hot    []string
	caches []*typed.Collection[string]
	shared []*engine.Shared
	stores []store.Store // for those who die
	trace  *trace
	stop   func()         // ends the run
	late   sync.WaitGroup // commits of writes in doubt
	report struct {
		reads, loads, writes, crashes, told, stale, half atomic.Uint64
		first                                            atomic.Pointer[string]
		trace                                            []string
	}
}

// CheckCollections runs a profile for a while, all shapes at once over the same stores.
func CheckCollections(t testing.TB, stores []store.Store, p CollectionProfile, shapes []Shape, length time.Duration, seed uint64) []CollectionReport {
	t.Helper()
	p = p.defaults()
	tr := &trace{keys: make(map[string]*[]call)}
	lose := &losses{rng: rand.New(rand.NewPCG(seed, 98)), share: p.Lost, late: p.Late}
	var shared []*engine.Shared
	var taken atomic.Uint64
	for i, s := range stores {
		s = traced{s, tr, i}
		s = lossy{s, lose}
		if p.Wrap != nil {
			s = p.Wrap(s)
		}
		s = paced{Store: s, p: p, rng: &dice{rng: rand.New(rand.NewPCG(seed, uint64(200+i)))}, taken: &taken}
		sh := engine.NewShared(unclosed{s}, 10*time.Second, p.writeBudget(), slog.New(slog.DiscardHandler))
		sh.LeaseLife = p.Renewed
		shared = append(shared, sh)
	}
	var run []*trial
	for i, sh := range shapes {
		run = append(run, newTrial(p, sh, stores, shared, tr, seed+uint64(1000*i)))
	}

	ctx, cancel := runFor(t.Context(), length, func() bool {
		for _, s := range run {
			if n := &s.report; n.reads.Load() == 0 || n.loads.Load() == 0 || n.writes.Load() == 0 {
				return false
			}
		}
		return taken.Load() > 0 || p.Lease > 0 // not by Stats: a load under way is not counted as unfilled yet
	})
	defer cancel()
	for _, s := range run {
		s.stop = cancel
	}
	var wg sync.WaitGroup
	for n, s := range run {
		rng := func(i int) *rand.Rand { return rand.New(rand.NewPCG(seed+uint64(1000*n), uint64(i))) }
		for i := range p.Readers {
			wg.Go(func() { s.reader(ctx, s.caches[i%len(s.caches)], rng(i)) })
		}
		for i := range p.Writers {
			wg.Go(func() { s.writer(ctx, i, rng(50+i)) })
		}
	}
	if p.Faults != nil {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 99))
			for pause(ctx, rng, 4*time.Millisecond) {
				keys := run[rng.IntN(len(run))].keys
				p.Faults(rng, keys[rng.IntN(len(keys))])
			}
		})
	}
	wg.Wait()
	for _, s := range run {
		s.late.Wait()
	}
	for _, sh := range shared {
		if err := sh.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	lose.wg.Wait()                                       // what is late still counts
	time.Sleep(max(crashLife, p.Intent) + deadlineSlack) // what the dead have left ends
	var out []CollectionReport
	for _, s := range run {
		out = append(out, s.over())
	}
	return out
}

func newTrial(p CollectionProfile, sh Shape, stores []store.Store, shared []*engine.Shared, tr *trace, seed uint64) *trial {
	s := &trial{CollectionProfile: p, Shape: sh, stores: stores, shared: shared, trace: tr, db: make(map[string]truth)}
	changing := make([]string, 0, p.Hot+p.Writers)
	for i := range p.Hot {
		changing = append(changing, fmt.Sprintf("hot%d", i))
	}
	s.hot = append(s.hot, changing...)
	for i := range p.Writers {
		changing = append(changing, plainMember(i))
	}
	if sh.Kind == store.List {
		s.hot = []string{""}
	}
	for i := range p.Full + p.Sparse {
		key := fmt.Sprintf("%s:%d", strings.NewReplacer(", ", "-", " ", "-").Replace(sh.String()), i)
		s.keys = append(s.keys, key)
		still := 0
		if i < p.Full {
			still = 20
		}
		if sh.Kind == store.List {
			s.db[key] = newPushes(still, i%2 == 1)
		} else {
			s.db[key] = newMembers(sh.Kind, still, changing)
		}
	}
	for i, x := range shared {
		s.caches = append(s.caches, s.cache(x, &dice{rng: rand.New(rand.NewPCG(seed, uint64(100+i)))}))
	}
	return s
}

// plainMember is the member that one writer alone changes, without an announcement: of two the later call would win.
func plainMember(writer int) string { return fmt.Sprintf("plain%d", writer) }

// dice is a random generator for several goroutines.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func (d *dice) upTo(most time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Duration(d.rng.Int64N(int64(most) + 1))
}

func (d *dice) below(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

func (d *dice) chance(p float64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Float64() < p
}

func (s *trial) window() time.Duration {
	if s.Fresh > 0 {
		return staleWindow
	}
	return 0
}

func (s *trial) cache(x *engine.Shared, d *dice) *typed.Collection[string] {
	c := typed.CollectionConfig[string]{
		Policy: engine.Policy{TTL: cmp.Or(max(s.Fresh, 0), s.TTL), Stale: s.window(), NotFoundTTL: 50 * time.Millisecond, LoadTimeout: 5 * time.Second},
		Kind:   s.Kind, Key: func(k string) (string, error) { return k, nil },
		Versioned: s.Versioned,
		Load: func(ctx context.Context, key string, emit func(store.Element) error) error {
			s.report.loads.Add(1)
			time.Sleep(d.upTo(s.Load))
			rows := s.db[key].load()
			time.Sleep(d.upTo(s.Load))
			fails := d.chance(s.FailLoad)
			for i, e := range rows {
				if fails && i == len(rows)/2 {
					return errLoad
				}
				if err := emit(e); err != nil {
					return err
				}
			}
			if fails {
				return errLoad
			}
			return nil
		},
	}
	if s.LoadOne {
		c.LoadOne = func(_ context.Context, key, member string) (store.Element, bool, error) {
			e, ok := s.db[key].one(member)
			if time.Sleep(d.upTo(s.Reread)); d.chance(s.FailLoad) {
				return e, false, errLoad
			}
			return e, ok, nil
		}
	}
	return typed.NewCollection(x, c)
}

func (s *trial) reader(ctx context.Context, cache *typed.Collection[string], rng *rand.Rand) {
	for pause(ctx, rng, s.ReadPause) {
		key := s.keys[rng.IntN(len(s.keys))]
		if rng.Float64() < s.CrashLoad {
			s.crashLoad(key, rng)
			continue
		}
		q := s.query(key, rng)
		f := s.db[key].begins()
		began := time.Now()
		v, err := cache.Query(ctx, key, q)
		s.report.reads.Add(1)
		switch {
		case err == nil:
			if wrong, why := s.db[key].judge(q, v.View, f); why != "" {
				s.violation(wrong, key, "%s, part %d, read at %s from %s: %s", key, q.Part, began.Format(clock), v.Source, why)
			}
		case !errors.Is(err, errLoad) && ctx.Err() == nil:
			s.violation(wasStale, key, "%s: %v", key, err)
		}
	}
}

// query draws what is read: mostly the whole.
func (s *trial) query(key string, rng *rand.Rand) store.Query {
	n := rng.IntN(10)
	full := strings.Compare(key, s.keys[s.Full%len(s.keys)]) < 0 || s.Sparse == 0
	switch {
	case n < 6:
		return store.Query{Part: store.All}
	case n == 6:
		return store.Query{Part: store.Size}
	case s.Kind == store.List:
		if s.db[key].(*pushes).back {
			return store.Query{Part: store.ByRank, From: -5, To: -1}
		}
		return store.Query{Part: store.ByRank, From: 0, To: 4}
	case n == 7 && s.Kind == store.SortedSet && full:
		return store.Query{Part: store.Rank, Reverse: true, Names: []string{fmt.Sprintf("still%02d", rng.IntN(20))}}
	case n == 8 && s.Kind == store.SortedSet && full:
		return store.Query{Part: store.ByRank, Reverse: true, From: 0, To: int64(rng.IntN(25))}
	}
	names := []string{s.hot[rng.IntN(len(s.hot))], "nobody", plainMember(rng.IntN(s.Writers))}
	if full {
		names = append(names, fmt.Sprintf("still%02d", rng.IntN(20)))
	}
	return store.Query{Part: store.Pick, Names: names}
}

func (s *trial) violation(wrong fault, key, format string, args ...any) {
	if wrong == wasHalf {
		s.report.half.Add(1)
	} else {
		s.report.stale.Add(1)
	}
	text := fmt.Sprintf(format, args...)
	if s.report.first.CompareAndSwap(nil, &text) {
		s.report.trace = s.trace.of(key)
	}
	if s.Enough {
		s.stop()
	}
}

// left is what the store has of a collection. A busy machine may need a moment to answer.
func (s *trial) left(key string) (v store.View) {
	for range 100 {
		v = s.stores[0].Query(context.Background(), []store.Query{{Key: key, Kind: s.Kind, Part: store.All}})[0]
		if v.Err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return v
}

// over judges what is left when all is over.
func (s *trial) over() (r CollectionReport) {
	ctx := context.Background()
	n := &s.report
	survived := 0
	for _, key := range s.keys {
		v, why := s.left(key), ""
		switch {
		case v.Err != nil:
			why = v.Err.Error()
		case v.Found && v.TTL == store.NoTTL:
			why = "it has no TTL"
		case v.Found:
			why = s.db[key].rest(v)
		case len(s.db[key].load()) > 0:
			claim := store.Claim{Key: key, Kind: s.Kind, Token: store.NewToken(), Lease: time.Second}
			if g := s.stores[0].Acquire(ctx, []store.Claim{claim})[0]; g.State == store.Absent {
				why = "it is remembered to have no elements, and has"
			}
			s.stores[0].Release(ctx, []store.Lease{{Key: key, Kind: s.Kind, Token: claim.Token}})
		}
		if why != "" {
			survived++
			s.violation(wasStale, key, "%s at rest, %v to live: %s", key, v.TTL, why)
			n.stale.Add(^uint64(0)) // it is counted as survived
		}
	}
	r = CollectionReport{
		Shape: s.Shape, Reads: n.reads.Load(), Loads: n.loads.Load(), Writes: n.writes.Load(), Crashes: n.crashes.Load(), Told: n.told.Load(),
		Stale: n.stale.Load(), Half: n.half.Load(), Survived: survived,
	}
	for _, c := range s.caches {
		counts := c.Tally().Counts
		r.Filled += counts[tally.LoadOK] - counts[tally.Unfilled]
		r.Dropped += counts[tally.Dropped]
		r.Reread += counts[tally.Reread]
	}
	if f := n.first.Load(); f != nil {
		r.First, r.Trace = *f, n.trace
	}
	return r
}
