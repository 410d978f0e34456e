package e2e

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/seed"
)

// row is what the caches hold.
type row struct{ Version int }

// member is one process of a fleet: a client with a cache, and what its traffic saw.
type member struct {
	rng    *rand.Rand // for those who start its traffic
	name   string
	client *nearside.Client
	rows   *nearside.Cache[string, row]
	db     truth
	keys   []string
	seen   report
	lines  lines

	log  *loadLog      // of all members
	pace time.Duration // the longest rest between two writes
	hits hits

	mu  sync.Mutex     // guards own
	own map[string]int // the newest version of each key that this member's writes have brought and Redis was not told of
}

func newMember(rng *rand.Rand, name, url string, db truth, keys []string, o nearside.Options, stale time.Duration) (*member, error) {
	m := &member{rng: rng, name: name, db: db, keys: keys, log: new(loadLog), pace: 6 * time.Millisecond, own: make(map[string]int)}
	o.Logger, o.RequireRedis = slog.New(&m.lines), true
	ctx, cancel := context.WithTimeout(context.Background(), eventually.Limit)
	defer cancel()
	var err error
	if m.client, err = nearside.Open(ctx, url, o); err != nil {
		return nil, err
	}
	travels := seed.Locked(rng)
	m.rows = nearside.New(m.client, "row", nearside.Config[string, row]{
		Load: func(ctx context.Context, key string) (row, error) {
			defer m.log.begin(key)()
			m.seen.locked(func(r *report) { r.Loads++ })
			v, err := db.read(ctx, key)
			time.Sleep(upTo(travels, 2*time.Millisecond)) // what an answer takes on its way: writes come between
			return row{v}, err
		},
		LoadTimeout: writeLimit,
		InDoubt:     time.Second, // what these databases carry out late, they carry out within milliseconds
		TTL:         10 * time.Minute,
		Stale:       stale,
	})
	return m, nil
}

// read reads until ctx ends.
func (m *member) read(ctx context.Context, rng *rand.Rand) {
	for n := 1; ctx.Err() == nil; n++ {
		switch {
		case n%16 == 0:
			m.peek(m.keys[rng.IntN(len(m.keys))])
		case n%8 == 0:
			m.getMany(rng, 8)
		case n%4 == 1:
			m.getEntry(m.keys[rng.IntN(len(m.keys))])
		default:
			m.get(m.keys[rng.IntN(len(m.keys))])
		}
		if n%4 == 0 {
			rest(ctx, upTo(rng, time.Millisecond))
		}
	}
}

// A read is not ended with the traffic: what is cut off by us is no failure of the layer.
func (m *member) get(key string) {
	floor, began := m.floor(key), time.Now()
	v, err := m.rows.Get(context.Background(), key)
	m.judge("get", key, floor, v.Version, began, err)
}

// getEntry is get that knows where the answer is from.
func (m *member) getEntry(key string) {
	floor, began := m.floor(key), time.Now()
	e, err := m.rows.GetEntry(context.Background(), key)
	m.judge("get entry", key, floor, e.Value.Version, began, err)
	if err == nil && e.Source == nearside.SourceStore {
		m.hits.note(key, began)
	}
}

// floor is what a read of this member may return at least.
func (m *member) floor(key string) int {
	m.mu.Lock()
	own := m.own[key]
	m.mu.Unlock()
	return max(own, m.db.floor(key))
}

func (m *member) getMany(rng *rand.Rand, n int) {
	keys, floors := make([]string, n), make([]int, n)
	for i := range keys {
		keys[i] = m.keys[rng.IntN(len(m.keys))]
		floors[i] = m.floor(keys[i])
	}
	began := time.Now()
	found, err := m.rows.GetMany(context.Background(), keys)
	for i, key := range keys {
		v, ok := found[key]
		if ok {
			m.judge("get many", key, floors[i], v.Version, began, nil)
		} else {
			m.judge("get many", key, floors[i], 0, began, errors.Join(err, errors.New("it is not in the answer")))
		}
	}
}

func (m *member) peek(key string) {
	floor, began := m.floor(key), time.Now()
	e, err := m.rows.Peek(context.Background(), key)
	m.seen.locked(func(r *report) {
		r.Peeks++
		switch {
		case errors.Is(err, nearside.ErrNotFound):
		case err != nil:
			r.Deaf++
		case e.Value.Version < floor:
			r.Stale = append(r.Stale, staleRead{key, e.Value.Version, floor, began, "peek"})
		}
	})
}

func (m *member) judge(by, key string, floor, got int, began time.Time, err error) {
	ended := time.Now()
	took := ended.Sub(began)
	added := took - m.log.within(key, began, ended)
	m.seen.locked(func(r *report) {
		r.Gets++
		r.GetTook.add(took)
		if by != "get many" { // it waits for several loads
			r.Added.add(added)
		}
		switch {
		case brokenSince(err, began):
			r.broken(by+" "+key, err)
		case err != nil:
			r.Failed++
			if r.FirstFailure == "" {
				r.FirstFailure = by + " " + key + ": " + err.Error()
			}
		case got < floor:
			r.Stale = append(r.Stale, staleRead{key, got, floor, began, by})
		}
	})
}

// write writes until ctx ends.
func (m *member) write(ctx context.Context, rng *rand.Rand) {
	for rest(ctx, upTo(rng, m.pace)) {
		key := m.keys[rng.IntN(len(m.keys))]
		switch rng.IntN(5) {
		case 0:
			m.update(key)
		case 1:
			other := m.keys[rng.IntN(len(m.keys))]
			m.mutate(key, other)
		default:
			m.invalidate(key)
		}
	}
}

func (m *member) invalidate(keys ...string) {
	vs, failed := m.commit(context.Background(), keys)
	began := time.Now()
	err := m.rows.Invalidate(context.Background(), keys...) // after a commit of which nobody knows as well
	took := time.Since(began)
	m.seen.locked(func(r *report) { r.InvalidateTook.add(took) })
	if failed != nil {
		err = failed
	}
	m.wrote(keys, vs, began, err)
}

func (m *member) update(key string) {
	var vs []int
	began := time.Now()
	_, err := m.rows.Update(context.Background(), key, func(ctx context.Context) (v row, err error) {
		if vs, err = m.commit(ctx, []string{key}); err == nil {
			v = row{vs[0]}
		}
		return v, err
	})
	m.wrote([]string{key}, vs, began, err)
}

func (m *member) mutate(keys ...string) {
	var vs []int
	began := time.Now()
	err := m.client.Mutate(context.Background(), func(ctx context.Context) (err error) {
		vs, err = m.commit(ctx, keys)
		return err
	}, m.rows.Key(keys[0]), m.rows.Key(keys[1]))
	m.wrote(keys, vs, began, err)
}

func (m *member) commit(ctx context.Context, keys []string) (vs []int, err error) {
	for _, key := range keys {
		v, err := m.db.commit(ctx, key)
		if err != nil {
			return nil, err
		}
		vs = append(vs, v)
	}
	return vs, nil
}

// wrote notes what a write has come to. One that Redis was not told of is outside the law, until its key is written again.
func (m *member) wrote(keys []string, vs []int, began time.Time, err error) {
	if err == nil {
		for i, key := range keys {
			m.db.ack(key, vs[i])
		}
	}
	if repeatsUndelivered && errors.Is(err, nearside.ErrUnavailable) { // and read past the cache by its writer until then
		m.mu.Lock()
		for i, key := range keys {
			m.own[key] = max(m.own[key], vs[i])
		}
		m.mu.Unlock()
	}
	m.seen.locked(func(r *report) {
		r.Writes++
		r.SlowestWrite = max(r.SlowestWrite, time.Since(began))
		switch {
		case err == nil:
		case brokenSince(err, began.Add(-writeLimit)):
			r.broken("a write", err)
		case errors.Is(err, nearside.ErrUnavailable):
			r.Unconfirmed++
			parts := strings.Split(err.Error(), ": ")
			r.unconfirmed(parts[len(parts)-1], 1)
		default:
			r.Failed++
			r.FirstFailure = "a write: " + err.Error()
		}
	})
}

// upTo returns a duration below d.
func upTo(rng *rand.Rand, d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }

// rest waits for d, and returns false if the traffic is over.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// lines is a log that remembers when the repetition of invalidations was done.
type lines struct {
	repeated atomic.Int64 // times
	last     atomic.Int64 // in Unix nanoseconds
	older    atomic.Int64 // when it was noticed that a data set is an old one; in Unix nanoseconds
	mu       sync.Mutex
	text     []string
}

// Enabled is part of slog.Handler.
func (*lines) Enabled(context.Context, slog.Level) bool { return true }

// Handle is part of slog.Handler.
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "recent invalidations are repeated") {
		l.last.Store(time.Now().UnixNano())
		l.repeated.Add(1)
	}
	if strings.Contains(r.Message, "caches are emptied before they are read") || strings.Contains(r.Message, "they are emptied before they are read") {
		l.older.Store(time.Now().UnixNano())
	}
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, text)
	return nil
}

// WithAttrs is part of slog.Handler.
func (l *lines) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup is part of slog.Handler.
func (l *lines) WithGroup(string) slog.Handler { return l }

// fleet is several members in this process, with traffic.
type fleet struct {
	db      truth
	keys    []string
	members []*member
	log     *loadLog
	slack   int // goroutines of the client: a few for each connection, of which there is one to each node at most

	stopReads, stopWrites context.CancelFunc
	reading, writing      sync.WaitGroup
}

const size = 3 // of a fleet

// newFleet returns a fleet without traffic, which ends with the test.
func newFleet(t testing.TB, url string, keys []string, o nearside.Options) *fleet {
	t.Helper()
	return newStaleFleet(t, url, keys, o, 0)
}

// newStaleFleet is newFleet with a stale window: its claims are scripts, where others are plain commands.
func newStaleFleet(t testing.TB, url string, keys []string, o nearside.Options, stale time.Duration) *fleet {
	t.Helper()
	return newFleetOn(t, url, newDatabase(), keys, o, stale)
}

// newFleetOn is newStaleFleet with a database of the caller's.
func newFleetOn(t testing.TB, url string, db truth, keys []string, o nearside.Options, stale time.Duration) *fleet {
	t.Helper()
	f := &fleet{db: db, keys: keys, stopReads: func() {}, stopWrites: func() {}, log: new(loadLog)}
	rng := seed.Rand(t)
	for i := range size {
		m, err := newMember(seed.Split(rng), string(rune('a'+i)), url, f.db, keys, o, stale)
		if err != nil {
			t.Fatal(err)
		}
		m.log = f.log
		f.members = append(f.members, m)
	}
	t.Cleanup(func() {
		f.stop()
		for _, m := range f.members {
			if err := m.client.Close(); err != nil {
				t.Error(err)
			}
			if t.Failed() {
				m.lines.mu.Lock()
				for _, line := range m.lines.text {
					t.Logf("%s: %s", m.name, line)
				}
				m.lines.mu.Unlock()
			}
		}
	})
	return f
}

func (f *fleet) startReads() {
	ctx, cancel := context.WithCancel(context.Background())
	f.stopReads = cancel
	for _, m := range f.members {
		for range 2 {
			rng := seed.Split(m.rng)
			f.reading.Go(func() { m.read(ctx, rng) })
		}
	}
}

func (f *fleet) startWrites() {
	ctx, cancel := context.WithCancel(context.Background())
	f.stopWrites = cancel
	for _, m := range f.members {
		for range 2 {
			rng := seed.Split(m.rng)
			f.writing.Go(func() { m.write(ctx, rng) })
		}
	}
}

func (f *fleet) stop() {
	f.stopWrites()
	f.stopReads()
	f.writing.Wait()
	f.reading.Wait()
}

// warm has every key cached.
func (f *fleet) warm(t testing.TB) {
	t.Helper()
	for _, key := range f.keys {
		eventually.True(t, key+" is cached", func() bool {
			f.members[0].get(key)
			_, err := f.members[0].rows.Peek(context.Background(), key)
			return err == nil
		})
	}
}

// during runs the traffic of readers and writers around an operation, and stops it.
func (f *fleet) during(t testing.TB, op func()) *report {
	t.Helper()
	f.startReads()
	f.startWrites()
	f.goOn(around())
	op()
	f.goOn(around())
	f.stop()
	return f.total()
}

// goOn lets traffic run.
func (f *fleet) goOn(d time.Duration) { <-time.After(d) }

// total is what all members saw, when traffic has stopped.
func (f *fleet) total() *report {
	sum := new(report)
	for _, m := range f.members {
		m.seen.locked(func(r *report) { sum.add(r) })
	}
	return sum
}

func (f *fleet) count(what func(r *report) int) (n int) {
	for _, m := range f.members {
		n += m.seen.count(what)
	}
	return n
}

// survivors are the keys that hold less than what was acknowledged. Traffic has stopped.
func (f *fleet) survivors(t testing.TB) (out []string) {
	t.Helper()
	for _, key := range f.keys {
		floor := f.members[0].floor(key)
		eventually.True(t, "an answer about "+key, func() bool {
			e, err := f.members[0].rows.Peek(context.Background(), key)
			if err == nil && e.Value.Version < floor {
				out = append(out, key)
			}
			return err == nil || errors.Is(err, nearside.ErrNotFound)
		})
	}
	return out
}

// repeats returns how often each member has repeated its invalidations.
func (f *fleet) repeats() (n []int64) {
	for _, m := range f.members {
		n = append(n, m.lines.repeated.Load())
	}
	return n
}

// repeatedSince waits until each member has repeated once more than before, and returns when the last of them had.
func (f *fleet) repeatedSince(t testing.TB, before []int64) (last time.Time) {
	t.Helper()
	eventually.True(t, "all processes repeat their invalidations", func() bool {
		for i, m := range f.members {
			if m.lines.repeated.Load() == before[i] {
				return false
			}
		}
		return true
	})
	for _, m := range f.members {
		if at := time.Unix(0, m.lines.last.Load()); at.After(last) {
			last = at
		}
	}
	return last
}

// lossless checks the law for an operation that loses nothing.
func (f *fleet) lossless(t testing.TB, r *report) {
	t.Helper()
	t.Log(r, r.WhyUnconfirmed)
	left := f.survivors(t)
	if len(r.Stale) > 0 || len(left) > 0 {
		t.Errorf("%d stale reads %+v, %d survivors %v", len(r.Stale), r.Stale[:min(len(r.Stale), 3)], len(left), left)
	}
	f.served(t, r)
}

// served checks that no read failed, and that there was traffic.
func (f *fleet) served(t testing.TB, r *report) {
	t.Helper()
	if r.Failed > 0 {
		t.Errorf("%d reads failed, the first: %s", r.Failed, r.FirstFailure)
	}
	if r.Gets < 100 || r.Loads < 10 || r.Writes < 20 || r.Unconfirmed == r.Writes {
		t.Errorf("too little happened: %s", r)
	}
}
