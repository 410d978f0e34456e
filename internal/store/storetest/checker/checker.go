package checker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
	"github.com/nearside/nearside/internal/typed"
)

// Profile is how the checker treats a store. Each process is an engine of its own over one of the stores.
type Profile struct {
	Name string

	Invalidate float64       // share of the writes that commit and then invalidate; the rest is done through Update
	CrashWrite float64       // share of the writers that die between their commit and the end
	CrashLoad  float64       // share of the readers that take a lease and die
	FailLoad   float64       // share of the loads that fail
	Absent     float64       // share of the commits that delete the row
	Doubt      float64       // share of the Updates whose commit becomes visible after their error, or never
	Forgotten  bool          // their errors are taken for final, which leaves out the rule: the checker must find it
	Lag        time.Duration // of the replica that is loaded from
	Hold       time.Duration
	Lease      time.Duration // a life for all leases, in place of the engine's: they lapse, since the engine renews them too late
	Renewed    time.Duration // a life for all leases that the engine knows, so that loads are several lives long
	Fresh      time.Duration // how long values are fresh, with a stale window behind; zero: a minute, without
	Faults     func(rng *rand.Rand, key string)
	UseSet     bool // writers commit and then Set, which no protocol can make right: the checker must find it

	Wrap func(store.Store) store.Store // to break a rule
}

// Profiles are those that every store must pass.
func Profiles() []Profile {
	return []Profile{
		{Name: "invalidate", Invalidate: 1},
		{Name: "invalidate, loaders die and fail", Invalidate: 1, CrashLoad: 0.025, FailLoad: 0.025, Absent: 0.3},
		{Name: "update", Absent: 0.2},
		{Name: "update, writers die", CrashWrite: 0.1, Absent: 0.2},
		{Name: "both, all die", Invalidate: 0.5, CrashWrite: 0.1, CrashLoad: 0.02, FailLoad: 0.02, Absent: 0.2},
		{Name: "writes in doubt", Invalidate: 0.2, CrashLoad: 0.02, FailLoad: 0.02, Absent: 0.2, Doubt: 0.3},
		{Name: "lagging replica", Invalidate: 0.7, Lag: 15 * time.Millisecond, Hold: 25 * time.Millisecond},
		{Name: "stale window", Invalidate: 0.8, Fresh: 10 * time.Millisecond, Absent: 0.1},
		{Name: "lease 1 ms", Invalidate: 0.8, Lease: time.Millisecond},
		{Name: "lease 3 ms, renewed", Invalidate: 0.5, CrashWrite: 0.05, CrashLoad: 0.02, Absent: 0.2, Renewed: 3 * time.Millisecond},
	}
}

// Broken are profiles with a rule left out, in which the checker must find violations.
func Broken() []Profile {
	return []Profile{
		{Name: "fill without the token", Invalidate: 1, Wrap: func(s store.Store) store.Store { return tokenless{s} }},
		{Name: "renewal without the token", Invalidate: 1, Renewed: 3 * time.Millisecond, Wrap: func(s store.Store) store.Store { return reviving{s} }},
		{Name: "fill under a lease that has lapsed", Invalidate: 1, Lease: time.Millisecond, Wrap: func(s store.Store) store.Store { return forgiving{s} }},
		{Name: "an end before the outcome is known", Doubt: 0.3, Absent: 0.1, Forgotten: true},
		{Name: "unconditional put by several writers", UseSet: true},
		{Name: "lagging replica without a hold", Invalidate: 1, Lag: 30 * time.Millisecond},
	}
}

// tokenless fills whatever happened since the lease was granted.
type tokenless struct{ store.Store }

func (s tokenless) Fill(ctx context.Context, fills []store.Fill) []store.Outcome {
	out := make([]store.Outcome, len(fills))
	for i, f := range fills {
		if f.Absent {
			out[i] = s.Store.Fill(ctx, fills[i:i+1])[0]
		} else {
			out[i] = s.Put(ctx, []store.Put{{Key: f.Key, Value: f.Value, TTL: f.TTL}}, 0)[0]
		}
	}
	return out
}

// reviving renews a lease that somebody has taken away.
type reviving struct{ store.Store }

func (s reviving) Renew(ctx context.Context, leases []store.Lease, life time.Duration) []store.Outcome {
	out := make([]store.Outcome, len(leases))
	for i, l := range leases {
		g := s.Acquire(ctx, []store.Claim{{Key: l.Key, Token: l.Token, Lease: life}})[0]
		out[i] = store.Outcome{OK: g.State == store.Granted, Err: g.Err}
	}
	return out
}

// forgiving fills although the lease is over, if no other one stands.
type forgiving struct{ store.Store }

func (s forgiving) Fill(ctx context.Context, fills []store.Fill) []store.Outcome {
	out := s.Store.Fill(ctx, fills)
	for i, f := range fills {
		if !out[i].OK && s.Acquire(ctx, []store.Claim{{Key: f.Key, Token: f.Token, Lease: time.Second}})[0].State == store.Granted {
			out[i] = s.Store.Fill(ctx, fills[i:i+1])[0]
		}
	}
	return out
}

// shortLease gives every lease another life.
type shortLease struct {
	store.Store
	life time.Duration
}

func (s shortLease) Acquire(ctx context.Context, claims []store.Claim) []store.Grant {
	for i := range claims {
		claims[i].Lease = s.life
	}
	return s.Store.Acquire(ctx, claims)
}

// Report is what a run of the checker saw.
type Report struct {
	Gets, Loads, Filled, Writes, Crashes uint64
	Stale                                uint64 // reads of what was older than an acknowledged write when they began
	Survived                             int    // values that are still there at the end, and are not the database's
	First                                string // the first violation
}

func (r Report) String() string {
	return fmt.Sprintf("%d gets, %d loads, %d filled, %d writes, %d crashes: %d stale, %d survived",
		r.Gets, r.Loads, r.Filled, r.Writes, r.Crashes, r.Stale, r.Survived)
}

const (
	checkerKeys    = 8
	checkerReaders = 12
	checkerWriters = 4
	crashLife      = 40 * time.Millisecond // of the intent of a writer that dies, and of the lease of a loader that does
	staleWindow    = 2 * time.Second
)

// commit is one state of a row.
type commit struct {
	at      time.Time
	present bool
}

// database is the truth: every state that each row ever had. Version 0 is there from the start.
type database struct {
	mu    sync.Mutex
	rows  map[string][]commit
	acked map[string]int // the newest version that an acknowledged write has brought
}

func (d *database) commit(key string, present bool) (version int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rows[key] = append(d.rows[key], commit{time.Now(), present})
	return len(d.rows[key]) - 1
}

// read returns the row as it was lag ago.
func (d *database) read(key string, lag time.Duration) (version int, present bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	then := time.Now().Add(-lag)
	rows := d.rows[key]
	v := len(rows) - 1
	for v > 0 && rows[v].at.After(then) {
		v--
	}
	return v, rows[v].present
}

func (d *database) ack(key string, version int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acked[key] = max(d.acked[key], version)
}

// floor is the oldest version that a read which begins now may return.
func (d *database) floor(key string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.acked[key]
}

// absentSince reports whether a row may be seen as absent by a read with this floor.
func (d *database) absentSince(key string, floor int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.rows[key][floor:] {
		if !c.present {
			return true
		}
	}
	return false
}

// row is a value of the checker's caches.
type row struct{ Version int }

type checker struct {
	Profile
	db     *database
	keys   []string
	caches []*typed.Cache[string, row]
	stores []store.Store
	late   sync.WaitGroup // commits under way
	report struct {
		gets, loads, writes, crashes, stale atomic.Uint64
		first                               atomic.Pointer[string]
	}
}

// runFor returns the context of a run of a checker: it ends after a time, but on a machine that stalls not before anything has
// happened, and then after a minute at the latest.
func runFor(parent context.Context, length time.Duration, happened func() bool) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	go func() {
		defer cancel()
		for began, pause := time.Now(), length; time.Since(began) < time.Minute; pause = 20 * time.Millisecond {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
			if happened() {
				return
			}
		}
	}()
	return ctx, cancel
}

// Check runs a profile for a while: 12 readers and 4 writers of 8 keys, spread over the stores, with random pauses around
// every step of a load and of a write.
func Check(t testing.TB, stores []store.Store, p Profile, length time.Duration, seed uint64) Report {
	t.Helper()
	c := &checker{Profile: p, stores: stores, db: &database{rows: map[string][]commit{}, acked: map[string]int{}}}
	for i := range checkerKeys {
		key := fmt.Sprintf("row:%d", i)
		c.keys = append(c.keys, key)
		c.db.rows[key] = []commit{{time.Now(), true}}
	}
	var shared []*engine.Shared
	for i, s := range stores {
		if p.Wrap != nil {
			s = p.Wrap(s)
		}
		if p.Lease > 0 {
			s = shortLease{s, p.Lease}
		}
		// A store that is slow because the machine is busy is no fault here.
		sh := engine.NewShared(unclosed{s}, 10*time.Second, 30*time.Second, slog.New(slog.DiscardHandler))
		sh.LeaseLife = p.Renewed
		shared = append(shared, sh)
		c.caches = append(c.caches, c.cache(sh, rand.New(rand.NewPCG(seed, uint64(100+i)))))
	}

	ctx, cancel := runFor(t.Context(), length, func() bool {
		return c.report.gets.Load() > 0 && c.report.loads.Load() > 0 && c.report.writes.Load() > 0
	})
	defer cancel()
	var wg sync.WaitGroup
	for i := range checkerReaders {
		wg.Go(func() { c.read(ctx, c.caches[i%len(c.caches)], rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for i := range checkerWriters {
		wg.Go(func() {
			c.write(ctx, c.caches[i%len(c.caches)], c.stores[i%len(stores)], rand.New(rand.NewPCG(seed, uint64(50+i))))
		})
	}
	if p.Faults != nil {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 99))
			for pause(ctx, rng, 10*time.Millisecond) {
				p.Faults(rng, c.keys[rng.IntN(len(c.keys))])
			}
		})
	}
	wg.Wait()
	c.late.Wait()
	var r Report
	for i, sh := range shared {
		if err := sh.Close(context.Background()); err != nil {
			t.Error(err)
		}
		n := c.caches[i].Tally().Counts
		r.Filled += n[tally.LoadOK] - n[tally.Unfilled]
	}
	time.Sleep(crashLife) // what the dead have left ends
	n := &c.report
	r.Gets, r.Loads, r.Writes, r.Crashes, r.Stale = n.gets.Load(), n.loads.Load(), n.writes.Load(), n.crashes.Load(), n.stale.Load()
	for _, key := range c.keys {
		it := stores[0].Get(context.Background(), key, true)
		v, present := c.db.read(key, 0)
		if it.Found && (!present || version(it.Value) != v) && it.TTL >= c.window() {
			r.Survived++
			c.violation("%s is %s at rest, the database has version %d (present %v)", key, it.Value, v, present)
		}
	}
	if f := n.first.Load(); f != nil {
		r.First = *f
	}
	return r
}

// unclosed leaves the store to the test.
type unclosed struct{ store.Store }

func (unclosed) Close() {}

func version(value []byte) int {
	var r row
	if json.Unmarshal(value, &r) != nil {
		return -1
	}
	return r.Version
}

func (c *checker) window() time.Duration {
	if c.Fresh > 0 {
		return staleWindow
	}
	return 0
}

var errLoad = errors.New("the load failed, as it was told to")

func (c *checker) cache(s *engine.Shared, rng *rand.Rand) *typed.Cache[string, row] {
	var mu sync.Mutex
	roll := func() (before, after time.Duration, fails bool) {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(rng.IntN(2000)) * time.Microsecond, time.Duration(rng.IntN(4000)) * time.Microsecond, rng.Float64() < c.FailLoad
	}
	load := func(ctx context.Context, key string) (row, error) {
		c.report.loads.Add(1)
		before, after, fails := roll()
		time.Sleep(before)
		v, present := c.db.read(key, c.Lag)
		time.Sleep(after)
		switch {
		case fails:
			return row{}, errLoad
		case !present:
			return row{}, engine.ErrNotFound
		}
		return row{v}, nil
	}
	loadMany := func(ctx context.Context, keys []string) (map[string]row, error) { // a batch of fills behind it
		rows, failed := map[string]row{}, typed.Failures[string]{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, key := range keys {
			wg.Go(func() {
				r, err := load(ctx, key)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					rows[key] = r
				case !errors.Is(err, engine.ErrNotFound):
					failed[key] = err
				}
			})
		}
		if wg.Wait(); len(failed) > 0 {
			return rows, failed
		}
		return rows, nil
	}
	return typed.New(s, typed.Config[string, row]{
		Policy: engine.Policy{Stale: c.window(), NotFoundTTL: 50 * time.Millisecond, Hold: c.Hold, LoadTimeout: 5 * time.Second},
		Key:    func(k string) (string, error) { return k, nil }, Load: load, LoadMany: loadMany,
		Encode: func(v row) ([]byte, error) { return json.Marshal(v) },
		Decode: func(d []byte) (v row, err error) { err = json.Unmarshal(d, &v); return v, err },
		Expire: func(string, row) time.Duration {
			if c.Fresh > 0 {
				return c.Fresh
			}
			return time.Minute
		}, MaxValue: 1 << 20,
	})
}

// pause waits for up to d. False: the run is over.
func pause(ctx context.Context, rng *rand.Rand, d time.Duration) bool {
	select {
	case <-time.After(time.Duration(rng.Int64N(int64(d)))):
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

func (c *checker) read(ctx context.Context, cache *typed.Cache[string, row], rng *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		keys := []string{c.keys[rng.IntN(len(c.keys))]}
		many := rng.IntN(5) == 0
		if many {
			for len(keys) < 3 {
				keys = append(keys, c.keys[rng.IntN(len(c.keys))])
			}
		}
		if rng.Float64() < c.CrashLoad {
			c.report.crashes.Add(1)
			c.stores[0].Acquire(context.Background(), []store.Claim{{Key: keys[0], Token: store.NewToken(), Lease: crashLife, Stale: c.window()}})
			continue
		}
		floors := make([]int, len(keys))
		for i, key := range keys {
			floors[i] = c.db.floor(key)
		}
		if many {
			for i, a := range cache.Entries(ctx, keys) {
				c.judge(keys[i], floors[i], a.Entry, a.Err)
			}
		} else {
			e, err := cache.Entry(ctx, keys[0])
			c.judge(keys[0], floors[0], e, err)
		}
		if n%64 == 0 && !pause(ctx, rng, 2*time.Millisecond) {
			return
		}
	}
}

func (c *checker) judge(key string, floor int, e typed.Entry[row], err error) {
	c.report.gets.Add(1)
	if c.Lag > 0 && e.Source == engine.Load {
		return // the replica's own word: it may lag, but nothing of it may be served from the store
	}
	switch {
	case errors.Is(err, engine.ErrNotFound):
		if !c.db.absentSince(key, floor) {
			c.report.stale.Add(1)
			c.violation("%s was absent for a get that began after version %d was acknowledged", key, floor)
		}
	case err == nil && e.Value.Version < floor:
		c.report.stale.Add(1)
		c.violation("%s was version %d for a get that began after version %d was acknowledged", key, e.Value.Version, floor)
	case err != nil && !errors.Is(err, errLoad) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
		c.violation("%s: %v", key, err)
		c.report.stale.Add(1)
	}
}

func (c *checker) violation(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.report.first.CompareAndSwap(nil, &text)
}

func (c *checker) write(ctx context.Context, cache *typed.Cache[string, row], s store.Store, rng *rand.Rand) {
	for pause(ctx, rng, 8*time.Millisecond) {
		key := c.keys[rng.IntN(len(c.keys))]
		present := rng.Float64() >= c.Absent
		before, after := time.Duration(rng.IntN(1500))*time.Microsecond, time.Duration(rng.IntN(1500))*time.Microsecond
		c.report.writes.Add(1)
		switch {
		case c.UseSet:
			v := c.db.commit(key, true)
			time.Sleep(after)
			if cache.Set(ctx, []typed.Put[string, row]{{K: key, V: row{v}}}) == nil {
				c.db.ack(key, v)
			}
		case rng.Float64() < c.Invalidate:
			time.Sleep(before)
			v := c.db.commit(key, present)
			time.Sleep(after)
			if _, err := cache.Invalidate(ctx, []string{key}); err == nil {
				c.db.ack(key, v)
			}
		case rng.Float64() < c.CrashWrite:
			c.report.crashes.Add(1)
			begun := s.Begin(context.Background(), []store.Intent{{Key: key, Token: store.NewToken(), Life: crashLife}})[0]
			if begun.Err == nil && before < crashLife/4 {
				c.db.commit(key, present) // and nobody is told
			}
		case rng.Float64() < c.Doubt:
			c.doubt(ctx, cache, key, present, rng)
		default:
			var v int
			_, err := cache.Update(ctx, key, func(context.Context) (row, error) {
				time.Sleep(before)
				v = c.db.commit(key, present)
				time.Sleep(after)
				if !present {
					return row{}, engine.ErrNotFound
				}
				return row{v}, nil
			})
			if err == nil || errors.Is(err, engine.ErrNotFound) && !errors.Is(err, engine.ErrUnavailable) {
				c.db.ack(key, v)
			}
		}
	}
}

var errDoubt = errors.New("the answer to COMMIT did not come")

// doubt is an Update whose commit becomes visible after its error was returned, or never. Nobody is told that it was written.
func (c *checker) doubt(ctx context.Context, cache *typed.Cache[string, row], key string, present bool, rng *rand.Rand) {
	before, after, never := time.Duration(rng.IntN(1500))*time.Microsecond, time.Duration(rng.IntN(30_000))*time.Microsecond, rng.IntN(4) == 0
	over := make(chan struct{})
	_, err := cache.Update(ctx, key, func(context.Context) (row, error) {
		time.Sleep(before)
		c.late.Go(func() {
			defer close(over)
			if time.Sleep(after); !never {
				c.db.commit(key, present)
			}
		})
		if c.Forgotten {
			return row{}, engine.Final(errDoubt)
		}
		return row{}, engine.InDoubt(errDoubt, func(context.Context) error {
			select {
			case <-over:
				return nil
			default:
				return errDoubt
			}
		})
	})
	if !errors.Is(err, errDoubt) || errors.Is(err, engine.ErrInDoubt) == c.Forgotten {
		c.violation("%s: a write in doubt returned %v", key, err)
		c.report.stale.Add(1)
	}
}
