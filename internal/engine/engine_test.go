package engine_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/tally"
	"github.com/nearside/nearside/internal/typed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a cache over a memory store, and the database behind it. Tests run it in a synctest bubble: time is fake.
type bench struct {
	*typed.Cache[string, string]
	cfg    typed.Config[string, string]
	store  store.Store
	shared *engine.Shared
	loads  atomic.Int64
	delay  time.Duration
	left   error        // what Close returned in the test
	logger *slog.Logger // of the client; nil: nothing is logged

	mu   sync.Mutex
	rows map[string]string
	fail error
}

func (b *bench) set(k, v string) { b.mu.Lock(); b.rows[k] = v; b.mu.Unlock() }

func (b *bench) load(ctx context.Context, k string) (string, error) {
	b.loads.Add(1)
	b.mu.Lock()
	v, ok := b.rows[k]
	err := b.fail
	b.mu.Unlock()
	select {
	case <-time.After(b.delay):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if err == nil && !ok {
		err = engine.ErrNotFound
	}
	return v, err
}

// open returns a bench; change may alter its cache's settings and its store.
func open(t testing.TB, change func(*bench, *typed.Config[string, string])) *bench {
	t.Helper()
	b := &bench{rows: map[string]string{"a": "1"}, delay: 50 * time.Millisecond, store: memory.New(memory.Options{})}
	cfg := typed.Config[string, string]{
		Policy: engine.Policy{TTL: time.Hour, LoadTimeout: 10 * time.Second},
		Key:    func(k string) (string, error) { return k, nil }, Load: b.load,
		Encode: func(v string) ([]byte, error) { return json.Marshal(v) },
		Decode: func(d []byte) (v string, err error) { err = json.Unmarshal(d, &v); return v, err }, MaxValue: 1 << 20,
	}
	if change != nil {
		change(b, &cfg)
	}
	b.shared = engine.NewShared(b.store, 25*time.Millisecond, time.Second, cmp.Or(b.logger, slog.New(slog.DiscardHandler)))
	b.cfg, b.Cache = cfg, typed.New(b.shared, cfg)
	t.Cleanup(func() {
		if err := b.shared.Close(context.Background()); !errors.Is(err, b.left) {
			t.Error(err)
		}
	})
	return b
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestGetLoadsOnceAndThenHits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		for i, source := range []engine.Source{engine.Load, engine.Store} {
			e, err := b.Entry(t.Context(), "a")
			if err != nil || e.Value != "1" {
				t.Fatalf("get %d: %v, %v", i, e, err)
			}
			want(t, "source", e.Source, source)
		}
		want(t, "loads", b.loads.Load(), 1)
	})
}

// Law 2: one load, and everybody is served when it ends.
func TestThousandCallersOneLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		begin := time.Now()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if v, err := b.Get(t.Context(), "a"); v != "1" || err != nil {
					t.Errorf("got %q, %v", v, err)
				}
			})
		}
		wg.Wait()
		want(t, "loads", b.loads.Load(), 1)
		want(t, "time", time.Since(begin), b.delay)
	})
}

// Law 1: who begins after an invalidation shares no load that began before it.
func TestJoinerAfterInvalidationGetsTheNewValue(t *testing.T) {
	for name, invalidate := range map[string]func(*bench, context.Context) error{
		"own": func(b *bench, ctx context.Context) error {
			_, err := b.Invalidate(ctx, []string{"a"})
			return err
		},
		"by another process": func(b *bench, ctx context.Context) error {
			return b.store.Invalidate(ctx, []string{"a"}, 0)[0].Err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, nil)
				var wg sync.WaitGroup
				wg.Go(func() { b.Get(t.Context(), "a") })
				time.Sleep(10 * time.Millisecond) // the load has read the old row
				b.set("a", "2")
				if err := invalidate(b, t.Context()); err != nil {
					t.Fatal(err)
				}
				v, err := b.Get(t.Context(), "a")
				wg.Wait()
				if v != "2" || err != nil {
					t.Errorf("got %q, %v, want the new value", v, err)
				}
				if v, _ := b.Get(t.Context(), "a"); v != "2" {
					t.Errorf("the store holds %q, want the new value", v)
				}
			})
		})
	}
}

// barred is a store that never lets anything be filled.
type barred struct{ store.Store }

func (barred) Acquire(_ context.Context, cs []store.Claim) []store.Grant {
	out := make([]store.Grant, len(cs))
	for i := range out {
		out[i].State = store.Barrier
	}
	return out
}

// While nothing can be filled there is one load at a time, and nobody waits for more than two.
func TestNobodyWaitsForMoreThanTwoLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(b *bench, _ *typed.Config[string, string]) { b.store = barred{b.store} })
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				begin := time.Now()
				b.Get(t.Context(), "a")
				if d := time.Since(begin); d > 2*b.delay {
					t.Errorf("caller %d waited %v, want at most two loads of %v", i, d, b.delay)
				}
			})
		}
		wg.Wait()
		if n := b.loads.Load(); n > 6 {
			t.Errorf("%d loads in 250 ms of 50 ms each: more than one at a time", n)
		}
	})
}

// Law 6: who leaves takes nobody with him, and the load fills.
func TestCancelIsItsCallersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := b.Get(ctx, "a"); !errors.Is(err, context.Canceled) {
				t.Errorf("the caller who left got %v", err)
			}
		})
		wg.Go(func() {
			time.Sleep(time.Millisecond)
			if v, err := b.Get(t.Context(), "a"); v != "1" || err != nil {
				t.Errorf("the caller who stayed got %q, %v", v, err)
			}
		})
		time.Sleep(10 * time.Millisecond)
		cancel()
		wg.Wait()
		ctx, cancel = context.WithCancel(t.Context())
		b.set("b", "2")
		go func() { time.Sleep(time.Millisecond); cancel() }()
		b.Get(ctx, "b")
		time.Sleep(time.Second)
		if e, err := b.Peek(t.Context(), "b"); e.Value != "2" || err != nil {
			t.Errorf("a load whose callers have all left was not filled: %v, %v", e, err)
		}
	})
}

func TestStaleIsServedWhileOneLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(_ *bench, c *typed.Config[string, string]) { c.Stale = time.Minute })
		b.Get(t.Context(), "a")
		b.set("a", "2")
		time.Sleep(time.Hour + time.Second)
		begin := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				e, err := b.Entry(t.Context(), "a")
				if err != nil || e.Value != "1" || e.Source != engine.Stale || !e.Stale || e.TTL != 0 {
					t.Errorf("got %+v, %v", e, err)
				}
			})
		}
		wg.Wait()
		want(t, "time", time.Since(begin), 0)
		time.Sleep(time.Second)
		e, _ := b.Entry(t.Context(), "a")
		if e.Value != "2" || e.Source != engine.Store {
			t.Errorf("after the refresh: %+v", e)
		}
		want(t, "loads", b.loads.Load(), 2)
		want(t, "age", e.Age, time.Second-b.delay)
	})
}

func TestAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(_ *bench, c *typed.Config[string, string]) { c.NotFoundTTL = time.Minute })
		for range 3 {
			if _, err := b.Get(t.Context(), "x"); !errors.Is(err, engine.ErrNotFound) {
				t.Fatalf("got %v", err)
			}
		}
		want(t, "loads", b.loads.Load(), 1)
		e, _ := b.Entry(t.Context(), "x")
		want(t, "source", e.Source, engine.Negative)
		b.set("x", "1")
		b.Invalidate(t.Context(), []string{"x"})
		if v, err := b.Get(t.Context(), "x"); v != "1" || err != nil {
			t.Errorf("after the row was created: %q, %v", v, err)
		}
	})
}

func TestErrorIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		b.fail = errors.New("connection refused")
		_, err := b.Get(t.Context(), "a")
		if err == nil || !strings.Contains(err.Error(), `"a"`) || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("got %v, want the key and the cause", err)
		}
		b.fail = nil
		if v, err := b.Get(t.Context(), "a"); v != "1" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
	})
}

// What stands in the store and does not decode is a miss, replaced under the lease.
func TestUndecodableValueIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		b.store.Put(t.Context(), []store.Put{{Key: "a", Value: []byte("hello"), TTL: time.Hour}}, 0)
		if v, err := b.Get(t.Context(), "a"); v != "1" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
		want(t, "stored", string(b.store.Get(t.Context(), "a", false).Value), `"1"`)
		if b.Tally().Counts[tally.CodecError] == 0 {
			t.Error("it was not counted")
		}
	})
}

func TestTooLargeIsServedAndNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(_ *bench, c *typed.Config[string, string]) { c.MaxValue = 10 })
		b.set("a", strings.Repeat("x", 100))
		if v, err := b.Get(t.Context(), "a"); len(v) != 100 || err != nil {
			t.Errorf("got %d bytes, %v", len(v), err)
		}
		want(t, "stored", b.store.Get(t.Context(), "a", false).Found, false)
		want(t, "counted", b.Tally().Counts[tally.TooLarge], 1)
	})
}

// dead is a store that does not answer.
type dead struct {
	store.Store
	takes time.Duration
}

func (d dead) answer(ctx context.Context) error {
	select {
	case <-time.After(d.takes):
		return errors.New("connection refused")
	case <-ctx.Done():
		return ctx.Err()
	}
}
func (d dead) Get(ctx context.Context, _ string, _ bool) store.Item {
	return store.Item{Err: d.answer(ctx)}
}
func (d dead) GetMany(ctx context.Context, ks []string, _ bool) []store.Item {
	out := make([]store.Item, len(ks))
	err := d.answer(ctx)
	for i := range out {
		out[i].Err = err
	}
	return out
}
func outcomes(n int, err error) []store.Outcome {
	out := make([]store.Outcome, n)
	for i := range out {
		out[i].Err = err
	}
	return out
}
func (d dead) Acquire(ctx context.Context, cs []store.Claim) []store.Grant {
	out := make([]store.Grant, len(cs))
	err := d.answer(ctx)
	for i := range out {
		out[i].Err = err
	}
	return out
}
func (d dead) Release(ctx context.Context, ls []store.Lease) []store.Outcome {
	return outcomes(len(ls), d.answer(ctx))
}
func (d dead) Begin(ctx context.Context, in []store.Intent) []store.Outcome {
	return outcomes(len(in), d.answer(ctx))
}
func (d dead) End(ctx context.Context, es []store.End) []store.Outcome {
	return outcomes(len(es), d.answer(ctx))
}
func (d dead) Invalidate(ctx context.Context, ks []string, _ time.Duration) []store.Outcome {
	return outcomes(len(ks), d.answer(ctx))
}

// fickle is a store that does not answer some invalidations.
type fickle struct {
	store.Store
	fails int
	sent  [][]string
}

func (f *fickle) Invalidate(ctx context.Context, ks []string, hold time.Duration) []store.Outcome {
	f.sent = append(f.sent, ks)
	out := f.Store.Invalidate(ctx, ks, hold)
	if len(f.sent) <= f.fails {
		out[len(ks)-1] = store.Outcome{Err: errors.New("connection reset by peer")}
	}
	return out
}

// A connection that breaks is no reason to leave a stale value: what was not answered is sent again.
func TestInvalidateIsSentAgain(t *testing.T) {
	for _, c := range []struct {
		fails int
		sent  string
		err   error
	}{{0, "[[a b]]", nil}, {1, "[[a b] [b]]", nil}, {2, "[[a b] [b] [b]]", nil}, {9, "[[a b] [b] [b]]", engine.ErrUnavailable}} {
		synctest.Test(t, func(t *testing.T) {
			f := &fickle{fails: c.fails}
			b := open(t, func(b *bench, _ *typed.Config[string, string]) { f.Store, b.store = b.store, f })
			if _, err := b.Invalidate(t.Context(), []string{"a", "b"}); !errors.Is(err, c.err) {
				t.Errorf("%d failures: got %v, want %v", c.fails, err, c.err)
			}
			want(t, "sent", fmt.Sprint(f.sent), c.sent)
		})
	}
}

// Law 3: the loader answers when the store does not, once per process, and the budget bounds the wait.
func TestReadsGoOnWithoutTheStore(t *testing.T) {
	for name, takes := range map[string]time.Duration{"refused": 0, "hangs": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, func(b *bench, _ *typed.Config[string, string]) { b.store = dead{b.store, takes} })
				begin := time.Now()
				var wg sync.WaitGroup
				for range 100 {
					wg.Go(func() {
						if v, err := b.Get(t.Context(), "a"); v != "1" || err != nil {
							t.Errorf("got %q, %v", v, err)
						}
					})
				}
				wg.Wait()
				if n := b.loads.Load(); n > 2 {
					t.Errorf("%d loads for callers who came together, want one for those before it began and one for the rest", n)
				}
				if d := time.Since(begin); d > 2*b.delay+25*time.Millisecond {
					t.Errorf("took %v", d)
				}
				if as := b.GetMany(t.Context(), []string{"a", "b"}); as[0].Entry.Value != "1" || !errors.Is(as[1].Err, engine.ErrNotFound) {
					t.Errorf("many: %v", as)
				}
				if _, err := b.Invalidate(t.Context(), []string{"a"}); !errors.Is(err, engine.ErrUnavailable) {
					t.Errorf("invalidate: %v", err)
				}
				v, err := b.Update(t.Context(), "a", func(context.Context) (string, error) { return "3", nil })
				if v != "3" || !errors.Is(err, engine.ErrUnavailable) {
					t.Errorf("update: %q, %v", v, err)
				}
			})
		})
	}
}

func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		b.Get(t.Context(), "a")
		v, err := b.Update(t.Context(), "a", func(context.Context) (string, error) {
			want(t, "cached while writing", b.store.Get(t.Context(), "a", false).Found, false)
			b.set("a", "2")
			return "2", nil
		})
		if v != "2" || err != nil {
			t.Fatalf("got %q, %v", v, err)
		}
		e, _ := b.Entry(t.Context(), "a")
		if e.Value != "2" || e.Source != engine.Store {
			t.Errorf("got %+v", e)
		}
		failed := errors.New("conflict")
		if _, err := b.Update(t.Context(), "a", func(context.Context) (string, error) { return "", failed }); err != failed { //lint:ignore errorlint it is not wrapped
			t.Errorf("got %v, want the write's own error", err)
		}
		want(t, "after an error", b.store.Get(t.Context(), "a", false).Found, false)
		func() {
			defer func() { recover() }()
			b.Update(t.Context(), "a", func(context.Context) (string, error) { panic("boom") })
		}()
		if g := b.store.Acquire(t.Context(), []store.Claim{{Key: "a", Token: "t1", Lease: time.Second}})[0]; g.State != store.Granted {
			t.Errorf("a write that panicked left its intent: %v", g.State)
		}
	})
}

// A cold cache skips the read and begins with the claim.
func TestColdCacheClaimsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := &counting{Store: memory.New(memory.Options{})}
		b := open(t, func(b *bench, _ *typed.Config[string, string]) { b.store.Close(); b.store = reads })
		for i := range 20 {
			k := fmt.Sprint(i)
			b.set(k, k)
			b.Get(t.Context(), k)
		}
		want(t, "reads", reads.n.Load(), 8)
		b.Get(t.Context(), "0") // found by the claim
		b.Get(t.Context(), "0")
		want(t, "reads", reads.n.Load(), 9)
	})
}

type counting struct {
	store.Store
	n atomic.Int64
}

func (c *counting) Get(ctx context.Context, key string, ttl bool) store.Item {
	c.n.Add(1)
	return c.Store.Get(ctx, key, ttl)
}

func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := b.Get(t.Context(), "a"); !errors.Is(err, engine.ErrClosed) {
				t.Errorf("a get under way: %v", err)
			}
		})
		time.Sleep(time.Millisecond)
		b.shared.Close(t.Context())
		wg.Wait()
		if _, err := b.Get(t.Context(), "a"); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("a get afterwards: %v", err)
		}
	})
}
