package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/recovery"
	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

var errAway = errors.New("away")

// failing is a store whose commands fail on demand, and which says what it was asked to invalidate.
type failing struct {
	store.Store
	away  atomic.Bool               // all writes fail; reads and claims go on, so that a test sees what they would find
	lost  atomic.Pointer[string]    // so do those of keys with this prefix
	clear func(context.Context) int // as given to Recovered

	mu      sync.Mutex
	batches []string // "hold: keys" of invalidations that were tried
	sweeps  []time.Time
	reading func() // called behind a read
	during  func() // called in a sweep
}

func (f *failing) Recovered(g func(context.Context) int) { f.clear = g }

func (f *failing) Get(ctx context.Context, key string, ttl bool) store.Item {
	item := f.Store.Get(ctx, key, ttl)
	f.mu.Lock()
	reading := f.reading
	f.mu.Unlock()
	if reading != nil {
		reading()
	}
	return item
}

func (f *failing) fails(key string) bool {
	return f.away.Load() || f.lost.Load() != nil && strings.HasPrefix(key, *f.lost.Load())
}

func some[T any](f *failing, all []T, key func(T) string, run func([]T) []store.Outcome) []store.Outcome {
	out := make([]store.Outcome, len(all))
	for i, x := range all {
		if f.fails(key(x)) {
			out[i].Err = errAway
		} else {
			out[i] = run([]T{x})[0]
		}
	}
	return out
}

func (f *failing) Invalidate(ctx context.Context, keys []string, hold time.Duration) []store.Outcome {
	f.mu.Lock()
	f.batches = append(f.batches, fmt.Sprintf("%v: %s", hold, strings.Join(keys, " ")))
	f.mu.Unlock()
	return some(f, keys, func(k string) string { return k }, func(k []string) []store.Outcome { return f.Store.Invalidate(ctx, k, hold) })
}

func (f *failing) Put(ctx context.Context, puts []store.Put, hold time.Duration) []store.Outcome {
	return some(f, puts, func(p store.Put) string { return p.Key }, func(p []store.Put) []store.Outcome { return f.Store.Put(ctx, p, hold) })
}

func (f *failing) End(ctx context.Context, ends []store.End) []store.Outcome {
	return some(f, ends, func(e store.End) string { return e.Key }, func(e []store.End) []store.Outcome { return f.Store.End(ctx, e) })
}

func (f *failing) Sweep(ctx context.Context, glob string, ours func(string) bool) error {
	f.mu.Lock()
	f.sweeps = append(f.sweeps, time.Now())
	during := f.during
	f.mu.Unlock()
	if f.away.Load() {
		return errAway
	}
	err := f.Store.Sweep(ctx, glob, ours)
	if during != nil {
		during()
	}
	return err
}

// outage is a bench whose store fails, with a log.
type outage struct {
	*bench
	f   *failing
	log *journal
}

func away(t testing.TB, change func(*typed.Config[string, string])) *outage {
	o := &outage{log: new(journal)}
	o.bench = open(t, func(b *bench, c *typed.Config[string, string]) {
		o.f = &failing{Store: b.store}
		b.store, b.logger = o.f, slog.New(slog.NewTextHandler(o.log, nil))
		c.Glob = "*"
		if change != nil {
			change(c)
		}
	})
	return o
}

// journal is a log that many goroutines write.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) { j.mu.Lock(); defer j.mu.Unlock(); return j.b.Write(p) }

func (j *journal) String() string { j.mu.Lock(); defer j.mu.Unlock(); return j.b.String() }

func (o *outage) behind(t testing.TB, what string, err error) {
	t.Helper()
	if !errors.Is(err, engine.ErrUnavailable) || !errors.Is(err, errAway) {
		t.Errorf("%s: got %v, want ErrUnavailable", what, err)
	}
}

func (o *outage) gets(t testing.TB, key, value string, source engine.Source) {
	t.Helper()
	if e, err := o.Entry(t.Context(), key); e.Value != value || e.Source != source || err != nil {
		t.Errorf("get %s: %q from %s (%v), want %q from %s", key, e.Value, e.Source, err, value, source)
	}
}

// Every way to lose an invalidation: it is repeated until it is delivered, and until then this process does not serve what
// the store holds, by any of its ways.
func TestLostInvalidationsAreKept(t *testing.T) {
	for name, lose := range map[string]func(*outage, context.Context) error{
		"invalidate": func(o *outage, ctx context.Context) error {
			_, err := o.Invalidate(ctx, []string{"a"})
			return err
		},
		"set": func(o *outage, ctx context.Context) error {
			return o.Set(ctx, []typed.Put[string, string]{{K: "a", V: "2"}})
		},
		"update": func(o *outage, ctx context.Context) error {
			v, err := o.Update(ctx, "a", func(context.Context) (string, error) { return "2", nil })
			if v != "2" {
				err = fmt.Errorf("got %q, %w", v, err)
			}
			return err
		},
		"mutate": func(o *outage, ctx context.Context) error {
			w, _ := o.Written("a")
			return o.shared.Mutate(ctx, []engine.Written{w}, func(context.Context) error { return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := away(t, func(c *typed.Config[string, string]) { c.Stale = time.Minute })
				ctx := t.Context()
				o.gets(t, "a", "1", engine.Load)
				o.set("a", "2")
				o.f.away.Store(true)
				o.behind(t, name, lose(o, ctx))
				o.store.(*failing).Store.Put(ctx, []store.Put{{Key: "a", Value: []byte(`"1"`), TTL: time.Hour}}, 0) // as if it had never gone
				for range 20 {
					o.gets(t, "a", "2", engine.Load)
					if a := o.Entries(ctx, []string{"a"})[0]; a.Err != nil || a.Entry.Value != "2" {
						t.Errorf("get many: %+v", a)
					}
					if e, err := o.Peek(ctx, "a"); !errors.Is(err, engine.ErrNotFound) {
						t.Errorf("peek: %+v, %v", e, err)
					}
					if v, ok, _ := o.Local("a"); ok {
						t.Errorf("ready: %q", v)
					}
					if i, err := o.Inspect(ctx, []string{"a"}); err != nil || i[0].Type != "none" {
						t.Errorf("inspect: %+v, %v", i, err)
					}
					o.Prefetch(ctx, []string{"a"})
					time.Sleep(time.Second)
				}
				if v := o.store.Get(ctx, "a", false); string(v.Value) != `"1"` {
					t.Fatalf("the store holds %q: something was filled", v.Value)
				}
				want(t, "pending", o.shared.Recovery().Pending, 1)
				o.f.away.Store(false)
				time.Sleep(2 * time.Second)
				want(t, "pending", o.shared.Recovery().Pending, 0)
				want(t, "repeated", o.shared.Recovery().Repeated, 1)
				if o.store.Get(ctx, "a", false).Found {
					t.Error("the old value is still there")
				}
				time.Sleep(20 * time.Second) // the intent of a write whose end was lost ends with its life
				o.gets(t, "a", "2", engine.Load)
				o.gets(t, "a", "2", engine.Store)
				if n := strings.Count(o.log.String(), "\n"); n != 2 {
					t.Errorf("%d lines in the log, want two:\n%s", n, o.log)
				}
				for _, w := range []string{"invalidations could not be delivered and are kept", "invalidations delivered", "delivered=1", "after=2"} {
					if !strings.Contains(o.log.String(), w) {
						t.Errorf("no %q in\n%s", w, o.log)
					}
				}
			})
		})
	}
}

// A later invalidation that succeeds makes an earlier one's repetition needless; not one that began before it.
func TestLaterSuccessTakesItOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := away(t, nil)
		ctx := t.Context()
		o.f.away.Store(true)
		o.Invalidate(ctx, []string{"a", "b", "c"})
		o.f.away.Store(false)
		o.Invalidate(ctx, []string{"a"})
		o.Update(ctx, "b", func(context.Context) (string, error) { return "2", nil })
		want(t, "pending", o.shared.Recovery().Pending, 1)
		o.gets(t, "b", "2", engine.Store)
		time.Sleep(time.Second)
		want(t, "pending", o.shared.Recovery().Pending, 0)
		want(t, "repeated", o.shared.Recovery().Repeated, 1)
	})
}

// An update that began before the invalidation that failed puts a value that may be older: its end does not take it out.
func TestEndOfAnOlderWriteKeepsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := away(t, nil)
		ctx := t.Context()
		o.Update(ctx, "a", func(context.Context) (string, error) {
			o.set("a", "2")
			o.set("a", "3") // by somebody else
			o.f.away.Store(true)
			o.Invalidate(ctx, []string{"a"})
			o.f.away.Store(false)
			return "2", nil
		})
		want(t, "pending", o.shared.Recovery().Pending, 1)
		o.gets(t, "a", "3", engine.Load)
		time.Sleep(time.Second)
		o.gets(t, "a", "3", engine.Load)
		o.gets(t, "a", "3", engine.Store)
	})
}

// Who begins after the failure shares no call that began before it, and no call that read the store before it.
func TestPendingAndCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := away(t, nil)
		ctx := t.Context()
		var wg sync.WaitGroup
		wg.Go(func() { o.gets(t, "a", "1", engine.Load) })
		time.Sleep(10 * time.Millisecond)
		o.set("a", "2")
		o.f.away.Store(true)
		o.Invalidate(ctx, []string{"a"})
		o.gets(t, "a", "2", engine.Load)
		wg.Wait()
		o.gets(t, "a", "2", engine.Load)
		o.f.away.Store(false)
		time.Sleep(time.Second)
		o.gets(t, "a", "2", engine.Load)
		o.gets(t, "a", "2", engine.Store)
	})
}

// A call that begins after the failure, for a reader whose read was before it, is joined by those who begin now: it must not
// claim, since the claim returns what the store holds.
func TestPendingAndTheClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := away(t, nil)
		ctx := t.Context()
		old := func() { o.f.Store.Put(ctx, []store.Put{{Key: "a", Value: []byte(`"1"`), TTL: time.Hour}}, 0) }
		o.f.reading = func() {
			o.f.reading = nil
			o.set("a", "2")
			o.f.away.Store(true)
			o.Invalidate(ctx, []string{"a"})
			old() // by another process, which had read the row before
		}
		o.gets(t, "a", "2", engine.Load)

		absent := []string{"b", "c", "d", "e", "f", "g", "h", "i", "j"}
		o.GetMany(ctx, absent)
		old()
		if a := o.Entries(ctx, []string{"a"})[0]; a.Entry.Value != "2" { // which begins with the claim: the last reads found nothing
			t.Errorf("get many: %+v", a)
		}
		o.f.Store.Invalidate(ctx, []string{"a"}, 0)
		o.Prefetch(ctx, []string{"a"})
		time.Sleep(time.Second)
		if it := o.f.Store.Get(ctx, "a", false); it.Found {
			t.Errorf("prefetch has filled %s", it.Value)
		}
	})
}

func TestCloseDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := away(t, nil)
		o.shared.SetMaxPending(100)
		o.f.away.Store(true)
		o.Invalidate(t.Context(), []string{"user:42", "b", "c"})
		time.AfterFunc(3*time.Second, func() { o.f.away.Store(false) })
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := o.shared.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		want(t, "repeated", o.shared.Recovery().Repeated, 3)
	})
}

func TestCloseReports(t *testing.T) {
	for name, c := range map[string]struct {
		keys []string
		want string
	}{
		"few":  {[]string{"user:42", "b", "c"}, `3 invalidations could not be delivered, such as "user:42": the cache could not be told: away`},
		"one":  {[]string{"user:42"}, `1 invalidation could not be delivered, such as "user:42": the cache could not be told: away`},
		"many": {[]string{"a", "b", "c", "d", "e"}, `those of the keys "*" were too many to be kept, and a sweep was not finished: the cache could not be told: away`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := away(t, nil)
				o.shared.SetMaxPending(4)
				o.f.away.Store(true)
				o.Invalidate(t.Context(), c.keys)
				began := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				err := o.shared.Close(ctx)
				if err == nil || !strings.HasPrefix(err.Error(), c.want) || !errors.Is(err, engine.ErrUnavailable) {
					t.Errorf("got  %v\nwant %s", err, c.want)
				}
				want(t, "time", time.Since(began), 5*time.Second)
				o.left = err
				if again := o.shared.Close(ctx); again != err { //lint:ignore errorlint the same error
					t.Errorf("the second Close returned %v, want what the first did", again)
				}
			})
		})
	}
}

// Readers and writers beside a store that comes and goes for this process, while another one reads and fills: what was
// written last is what this process reads, always, and what the store holds when all is delivered.
func TestPendingRandomized(t *testing.T) {
	for _, bound := range []int{10_000, 3} {
		t.Run(fmt.Sprint("bound ", bound), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, rng := away(t, nil), seed.Rand(t)
				upTo := func(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
				o.shared.SetMaxPending(bound)
				o.delay = 2 * time.Millisecond
				ctx := t.Context()
				const keys = 8
				var newest [keys]atomic.Int64 // whose invalidation has returned, with or without an error
				var number atomic.Int64
				end := time.Now().Add(20 * time.Second)
				other := engine.NewShared(o.f.Store, 25*time.Millisecond, time.Second, o.shared.Logger)
				defer other.Close(context.Background())
				loads := seed.Locked(rng)
				cfg := o.cfg
				cfg.Load = func(ctx context.Context, k string) (string, error) {
					v, err := o.load(ctx, k)
					time.Sleep(upTo(loads, 300*time.Millisecond)) // it may fill long after
					return v, err
				}
				elsewhere := typed.New(other, cfg)
				var wg sync.WaitGroup
				outages := seed.Split(rng)
				wg.Go(func() {
					for time.Now().Before(end) {
						o.f.away.Store(outages.IntN(2) == 0)
						time.Sleep(upTo(outages, time.Second))
					}
					o.f.away.Store(false)
				})
				for i := range keys {
					key := fmt.Sprint("k", i)
					o.set(key, "0")
					writes := seed.Split(rng)
					wg.Go(func() { // one writer for each key
						for time.Now().Before(end) {
							n := number.Add(1)
							write := func(context.Context) (string, error) { o.set(key, fmt.Sprint(n)); return fmt.Sprint(n), nil }
							if writes.IntN(2) == 0 {
								write(ctx)
								o.Invalidate(ctx, []string{key})
							} else {
								o.Update(ctx, key, write)
							}
							newest[i].Store(n)
							time.Sleep(upTo(writes, 200*time.Millisecond))
						}
					})
					others := seed.Split(rng)
					wg.Go(func() {
						for time.Now().Before(end) {
							elsewhere.Get(ctx, key)
							time.Sleep(upTo(others, 20*time.Millisecond))
						}
					})
					for range 3 {
						reads := seed.Split(rng)
						wg.Go(func() {
							for time.Now().Before(end) {
								least := newest[i].Load()
								v, err := o.Get(ctx, key)
								if reads.IntN(4) == 0 {
									a := o.GetMany(ctx, []string{"k0", key})[1]
									v, err = a.Entry.Value, a.Err
								}
								var got int64
								if fmt.Sscan(v, &got); err != nil || got < least {
									t.Errorf("%s: read %q (%v) after %d was written", key, v, err, least)
								}
								time.Sleep(upTo(reads, 20*time.Millisecond))
							}
						})
					}
				}
				wg.Wait()
				time.Sleep(time.Minute)
				want(t, "pending", o.shared.Recovery(), recovery.Counts{Repeated: o.shared.Recovery().Repeated})
				for i := range keys {
					key := fmt.Sprint("k", i)
					if it := o.store.Get(ctx, key, false); it.Found && string(it.Value) != fmt.Sprintf(`"%d"`, newest[i].Load()) {
						t.Errorf("%s holds %s, want %d", key, it.Value, newest[i].Load())
					}
				}
				t.Logf("%d writes, %d repeated, %d sweeps", number.Load(), o.shared.Recovery().Repeated, len(o.f.sweeps))
			})
		})
	}
}

// Nothing pending, nothing paid.
func BenchmarkPast(b *testing.B) {
	o := away(b, nil)
	o.Get(b.Context(), "a")
	b.ReportAllocs()
	for b.Loop() {
		o.Get(b.Context(), "a")
	}
}
