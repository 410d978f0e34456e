package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/typed"
)

// distant is a store to which writes take a while.
type distant struct {
	store.Store
	takes time.Duration
}

func (s *distant) Local() bool { return false }

func (s *distant) Fill(ctx context.Context, fills []store.Fill) []store.Outcome {
	time.Sleep(s.takes)
	return s.Store.Fill(ctx, fills)
}

func (s *distant) Release(ctx context.Context, leases []store.Lease) []store.Outcome {
	time.Sleep(s.takes)
	return s.Store.Release(ctx, leases)
}

// far opens a bench whose fills take 10 ms.
func far(t *testing.T) *bench {
	return open(t, func(b *bench, c *typed.Config[string, string]) {
		b.store = &distant{b.store, 10 * time.Millisecond}
		c.NotFoundTTL = time.Minute
	})
}

func TestWhoHasWaitedIsAnsweredBeforeTheFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := far(t)
		began := time.Now()
		if v, err := b.Get(t.Context(), "a"); v != "1" || err != nil {
			t.Error(v, err)
		}
		want(t, "a load of 50 ms, and no fill", time.Since(began), b.delay)
		began = time.Now()
		if _, err := b.Get(t.Context(), "nobody"); !errors.Is(err, engine.ErrNotFound) {
			t.Error(err)
		}
		want(t, "the same of an absence", time.Since(began), b.delay)
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		e, err := b.Entry(t.Context(), "a")
		if err != nil || e.Source != engine.Store {
			t.Errorf("after the fill: %+v, %v", e, err)
		}
		want(t, "loads", b.loads.Load(), 2)
	})
}

// Who comes while the load runs may have its value only if nobody has invalidated until the fill was sent, which the fill tells.
func TestWhoCameLaterWaitsForTheFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, invalidated := range []bool{false, true} {
			b := far(t)
			began := time.Now()
			go b.Get(t.Context(), "a")
			time.Sleep(20 * time.Millisecond)
			if invalidated { // by another process: this one is not told
				b.set("a", "2")
				b.store.Invalidate(t.Context(), []string{"a"}, 0)
			}
			v, err := b.Get(t.Context(), "a") // it joins a load that has begun already
			if invalidated {
				if v != "2" || err != nil {
					t.Errorf("%q, %v: older than its read", v, err)
				}
				want(t, "loads", b.loads.Load(), 2)
				continue
			}
			if v != "1" || err != nil {
				t.Error(v, err)
			}
			want(t, "a load, and its fill", time.Since(began), b.delay+10*time.Millisecond)
			want(t, "loads", b.loads.Load(), 1)
		}
	})
}

// Between the answer and the end of the fill the call is joined: nobody asks the store for what is on its way there.
func TestWhoComesBetweenAnswerAndFillJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := far(t)
		b.Get(t.Context(), "a")
		began := time.Now()
		// Its read of the store finds nothing, and it joins. What was loaded before it came may be older than its read: it waits
		// for the fill, which cannot tell, and for the load after it.
		b.set("a", "2")
		b.store.Invalidate(t.Context(), []string{"a"}, 0)
		if v, err := b.Get(t.Context(), "a"); v != "2" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		want(t, "the rest of the fill, and a load", time.Since(began), 10*time.Millisecond+b.delay)
	})
}

// Who tries again after a failure is not given the same failure again.
func TestFailuresAreAnsweredBehindTheRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := far(t)
		b.fail = errors.New("the database is on fire")
		if _, err := b.Get(t.Context(), "a"); !errors.Is(err, b.fail) {
			t.Error(err)
		}
		b.mu.Lock()
		b.fail = nil
		b.mu.Unlock()
		if v, err := b.Get(t.Context(), "a"); v != "1" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
	})
}

// A batch is answered before its fill, and what is traced behind it, so that the trace can tell of it.
func TestBatchesAndTraces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := far(t)
		b.set("b", "2")
		began := time.Now()
		for i, a := range b.GetMany(t.Context(), []string{"a", "b"}) {
			if a.Err != nil || a.Entry.Value != []string{"1", "2"}[i] {
				t.Errorf("%d: %+v", i, a)
			}
		}
		want(t, "a batch", time.Since(began), b.delay)
		b.set("c", "3")
		began = time.Now()
		b.Get(engine.WithTrace(t.Context(), new(engine.Trace)), "c")
		want(t, "with a trace", time.Since(began), b.delay+10*time.Millisecond)
	})
}

// A trace does not change the way of a load: a caller that shares it is answered before the fill although the call that began it is
// traced. That one returns when its trace is complete.
func TestTracedCallsDeliverEarlyToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			b.store = &distant{b.store, 10 * time.Millisecond}
			c.MaxLoads = 1
		})
		b.set("x", "0")
		began := time.Now()
		go b.Get(t.Context(), "x") // takes the place, so that both others join before their load begins
		time.Sleep(time.Millisecond)
		var mu sync.Mutex
		var events []string
		tell := func(what string) { mu.Lock(); defer mu.Unlock(); events = append(events, what) }
		ctx := engine.WithTrace(t.Context(), &engine.Trace{
			LoadEnded: func(string, time.Duration, error) { tell("loaded") },
			Filled:    func(_ string, err error) { tell(fmt.Sprint("filled ", err)) },
			Answered:  func(string, engine.Source, error) { tell("answered") },
		})
		var all sync.WaitGroup
		get := func(ctx context.Context, took time.Duration) {
			if v, err := b.Get(ctx, "a"); v != "1" || err != nil {
				t.Error(v, err)
			}
			want(t, "it took", time.Since(began), took)
		}
		all.Go(func() { get(ctx, 2*b.delay+10*time.Millisecond) })
		time.Sleep(time.Millisecond)
		all.Go(func() { get(t.Context(), 2*b.delay) })
		all.Wait()
		want(t, "the trace", fmt.Sprint(events), "[loaded filled <nil> answered]")
	})
}

// Who looks at what he was just given finds it, although it is still on its way.
func TestWhoLooksFindsWhatWasLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := far(t)
		b.Get(t.Context(), "a")
		if infos, err := b.Inspect(t.Context(), []string{"a", "b"}); err != nil || infos[0].TTL <= 0 || infos[1].Type != "none" {
			t.Errorf("inspect: %+v, %v", infos, err)
		}
		b.set("b", "2")
		b.Get(t.Context(), "b")
		if e, err := b.Peek(t.Context(), "b"); e.Value != "2" || err != nil {
			t.Errorf("peek: %+v, %v", e, err)
		}
	})
}

// Peek waits no longer than the budget, for the fill and its own round trip together. Inspect, for which no loader can answer, waits for
// fills for half of the time that a write has.
func TestWhoLooksWaitsForNoMoreThanTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(b *bench, _ *typed.Config[string, string]) { b.store = &distant{b.store, time.Minute} })
		b.Get(t.Context(), "a")
		began := time.Now()
		if infos, err := b.Inspect(t.Context(), []string{"a", "b"}); err != nil || infos[0].Err != nil || infos[1].Err != nil {
			t.Errorf("inspect: %+v, %v", infos, err)
		}
		want(t, "inspect", time.Since(began), b.shared.WriteBudget/2)
		began = time.Now()
		b.Peek(t.Context(), "a")
		want(t, "peek", time.Since(began), 25*time.Millisecond)
		time.Sleep(time.Minute)
	})
}

// slowInspect is a store that looks at keys slowly.
type slowInspect struct {
	store.Store
	takes time.Duration
}

func (s slowInspect) Inspect(ctx context.Context, keys []string) []store.Info {
	select {
	case <-time.After(s.takes):
		return s.Store.Inspect(ctx, keys)
	case <-ctx.Done():
		return []store.Info{{Err: ctx.Err()}}
	}
}

// Inspect waits for the store as long as a write does, and no longer: no loader can answer instead.
func TestInspectWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for takes, answered := range map[time.Duration]bool{100 * time.Millisecond: true, time.Hour: false} {
			b := open(t, func(b *bench, _ *typed.Config[string, string]) { b.store = slowInspect{b.store, takes} })
			began := time.Now()
			infos, err := b.Inspect(t.Context(), []string{"a"})
			if err != nil || (infos[0].Err == nil) != answered {
				t.Errorf("a store that takes %v: %+v, %v", takes, infos, err)
			}
			want(t, "it took", time.Since(began), min(takes, b.shared.WriteBudget))
		}
	})
}

// claiming notes the tokens of claims.
type claiming struct {
	store.Store
	tokens chan string
}

func (s *claiming) Acquire(ctx context.Context, claims []store.Claim) []store.Grant {
	for _, c := range claims {
		s.tokens <- c.Token
	}
	return s.Store.Acquire(ctx, claims)
}

// The keys of a batch have one token, but for a key that is in it twice: the later load must not fill by the lease of the one that
// was forgotten in between.
func TestTwoLoadsOfAKeyHaveTwoTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &claiming{tokens: make(chan string, 10)}
		b := open(t, func(b *bench, _ *typed.Config[string, string]) { s.Store, b.store = b.store, s })
		ctx := engine.WithTrace(t.Context(), &engine.Trace{Joined: func(string) { // while the batch is put together
			b.Invalidate(t.Context(), []string{"a"})
		}})
		b.GetMany(ctx, []string{"a", "b", "b", "a"})
		first, second, again := <-s.tokens, <-s.tokens, <-s.tokens
		if first != second || first == again {
			t.Errorf("the tokens of a, b and a: %s, %s, %s", first, second, again)
		}
	})
}

// With a Clone whoever gets a value may modify it: neither what is being stored nor what another caller gets is his.
func TestLoadedValuesAreCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := engine.NewShared(&distant{memory.New(memory.Options{}), 10 * time.Millisecond}, time.Minute, time.Minute, slog.New(slog.DiscardHandler))
		t.Cleanup(func() { s.Close(context.Background()) })
		began := make(chan struct{})
		c := typed.New(s, typed.Config[string, []byte]{
			Key:    func(k string) (string, error) { return k, nil },
			Load:   func(context.Context, string) ([]byte, error) { <-began; return []byte("right"), nil },
			Encode: func(v []byte) ([]byte, error) { return v, nil },
			Decode: func(d []byte) ([]byte, error) { return d, nil },
			Policy: engine.Policy{LoadTimeout: time.Minute}, MaxValue: 100,
			Near: typed.NearConfig[[]byte]{Size: 10, Max: time.Minute, Clone: bytes.Clone},
		})
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				v, err := c.Get(t.Context(), "a")
				if string(v) != "right" || err != nil {
					t.Errorf("%q, %v", v, err)
				}
				copy(v, "WRONG")
			})
		}
		synctest.Wait()
		close(began)
		both.Wait()
		if e, err := c.Peek(t.Context(), "a"); string(e.Value) != "right" || err != nil {
			t.Errorf("stored is %q, %v", e.Value, err)
		}
	})
}
