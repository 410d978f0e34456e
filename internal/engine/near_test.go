package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/typed"
)

// gated is a memory store whose tracked reads wait, once they have read, until they are let through.
type gated struct {
	store.Store
	reads atomic.Int64
	gate  atomic.Pointer[chan struct{}] // nil: nobody waits
}

type gatedTracking struct {
	store.Tracking
	g *gated
}

func (g *gated) Track(ctx context.Context, changed func(string), lost func()) (store.Tracking, error) {
	t, err := g.Store.Track(ctx, changed, lost)
	return gatedTracking{t, g}, err
}

func (t gatedTracking) Get(ctx context.Context, key string, ttl bool) store.Item {
	item := t.Tracking.Get(ctx, key, ttl)
	t.g.reads.Add(1)
	if gate := t.g.gate.Load(); gate != nil {
		<-*gate
	}
	return item
}

// close has reads wait from now on, until the function that it returns is called.
func (g *gated) close() (open func()) {
	gate := make(chan struct{})
	g.gate.Store(&gate)
	return func() { g.gate.Store(nil); close(gate) }
}

// nearCache is a cache near of numbers, each of which is its key at first.
func nearCache(t *testing.T, budget time.Duration, change ...func(*typed.Config[int, string])) (*gated, *typed.Cache[int, string], *atomic.Int64) {
	g := &gated{Store: memory.New(memory.Options{})}
	s := engine.NewShared(g, budget, time.Minute, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { s.Close(context.Background()) })
	loads := new(atomic.Int64)
	cfg := typed.Config[int, string]{
		Policy: engine.Policy{TTL: time.Hour, LoadTimeout: time.Minute},
		Key:    func(k int) (string, error) { return fmt.Sprint("k:", k), nil },
		Load: func(_ context.Context, k int) (string, error) {
			return fmt.Sprint(k, " of load ", loads.Add(1)), nil
		},
		Encode: func(v string) ([]byte, error) { return []byte(v), nil },
		Decode: func(b []byte) (string, error) { return string(b), nil }, MaxValue: 100,
		Near: typed.NearConfig[string]{Size: 100, Max: time.Minute},
	}
	for _, f := range change {
		f(&cfg)
	}
	c := typed.New(s, cfg)
	eventually.True(t, "a value is kept near", func() bool { // tracking begins behind New
		c.Get(t.Context(), 0)
		_, ok, _ := c.Kept(0)
		return ok
	})
	return g, c, loads
}

// What was loaded is kept near without being asked for again.
func TestLoadedIsKeptNear(t *testing.T) {
	g, c, loads := nearCache(t, time.Minute)
	n := g.reads.Load()
	if _, err := c.Get(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "a loaded value is kept near", func() bool { _, ok, _ := c.Kept(1); return ok })
	if v, _, _ := c.Kept(1); !strings.HasPrefix(v, "1 of load") || loads.Load() != 2 || g.reads.Load()-n != 1 {
		t.Errorf("%q, %d loads, %d reads", v, loads.Load(), g.reads.Load()-n)
	}
	c.GetMany(t.Context(), []int{2, 3})
	for k := 2; k < 4; k++ {
		eventually.True(t, "a loaded value of a batch is kept near", func() bool { _, ok, _ := c.Kept(k); return ok })
	}
}

// A Clone that panics while a filled value is read back for the near tier costs that entry alone. The caller has a copy of
// the loader's own value; only what is read back has been decoded.
func TestCloneThatPanics(t *testing.T) {
	_, c, _ := nearCache(t, time.Minute, func(cfg *typed.Config[int, string]) {
		cfg.Decode = func(b []byte) (string, error) { return "decoded " + string(b), nil }
		cfg.Near.Clone = func(v string) string {
			if strings.HasPrefix(v, "decoded 1 ") {
				panic("boom")
			}
			return v
		}
	})
	for k := 1; k < 3; k++ {
		if _, err := c.Get(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	eventually.True(t, "what came after it is kept near", func() bool { _, ok, _ := c.Kept(2); return ok })
	if _, ok, _ := c.Kept(1); ok {
		t.Error("what was not copied is kept")
	}
}

// Reads at the same time of what the store holds and the process does not share one of them; but not if it was changed
// meanwhile, and nobody is given what was changed before he came.
func TestReadsForNearAreShared(t *testing.T) {
	for _, change := range []bool{false, true} {
		t.Run(fmt.Sprintf("change=%v", change), func(t *testing.T) {
			g, c, _ := nearCache(t, time.Minute)
			g.Put(t.Context(), []store.Put{{Key: "k:1", Value: []byte("old"), TTL: time.Hour}}, 0)
			n, open := g.reads.Load(), g.close()
			var all sync.WaitGroup
			get := func(want string) {
				all.Go(func() {
					if v, err := c.Get(t.Context(), 1); err != nil || want != "" && v != want {
						t.Errorf("got %q, %v, want %q", v, err, want)
					}
				})
			}
			get("")
			eventually.True(t, "a read", func() bool { return g.reads.Load() == n+1 })
			want := "old"
			if change {
				want = "new"
				g.Put(t.Context(), []store.Put{{Key: "k:1", Value: []byte("new"), TTL: time.Hour}}, 0)
			}
			for range 20 {
				get(want)
			}
			if change {
				eventually.True(t, "those who came later read", func() bool { return g.reads.Load() > n+1 })
			}
			time.Sleep(10 * time.Millisecond) // for those that would read, to make the test fail; it passes without
			open()
			all.Wait()
			if reads := g.reads.Load() - n; !change && reads != 1 || change && reads > 2 {
				t.Errorf("%d reads", reads)
			}
		})
	}
}

// Who shares a read and leaves does not wait, and what was missing is loaded once, by one read of the store.
func TestSharedReadFindsNothing(t *testing.T) {
	g, c, loads := nearCache(t, time.Minute)
	n, before, open := g.reads.Load(), loads.Load(), g.close()
	var all sync.WaitGroup
	get := func(ctx context.Context) {
		all.Go(func() {
			if v, err := c.Get(ctx, 1); ctx.Err() == nil && (err != nil || !strings.HasPrefix(v, "1 of load")) {
				t.Errorf("got %q, %v", v, err)
			}
		})
	}
	get(t.Context())
	eventually.True(t, "a read", func() bool { return g.reads.Load() == n+1 })
	for range 20 {
		get(t.Context())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("who left waited: %v", err)
	}
	open()
	all.Wait()
	if loads.Load()-before != 1 {
		t.Errorf("%d loads", loads.Load()-before)
	}
}

// Who shares a read waits no longer than his budget, whatever has become of it.
func TestSharedReadThatDoesNotEnd(t *testing.T) {
	g, c, _ := nearCache(t, 25*time.Millisecond)
	g.Put(t.Context(), []store.Put{{Key: "k:1", Value: []byte("1"), TTL: time.Hour}}, 0)
	n, open := g.reads.Load(), g.close()
	var first sync.WaitGroup
	first.Go(func() { c.Get(t.Context(), 1) })
	eventually.True(t, "a read", func() bool { return g.reads.Load() == n+1 })
	gate := g.gate.Swap(nil) // later reads are let through
	if v, err := c.Get(t.Context(), 1); err != nil || v == "" {
		t.Errorf("got %q, %v", v, err)
	}
	g.gate.Store(gate)
	open()
	first.Wait()
}

// A Clone that panics in its caller's read ends what others wait for: they look for themselves at once.
func TestCloneThatPanicsIsNotWaitedFor(t *testing.T) {
	var panics atomic.Bool
	_, c, _ := nearCache(t, time.Minute, func(cfg *typed.Config[int, string]) {
		cfg.Near.Clone = func(v string) string {
			if panics.Load() {
				panic("Clone")
			}
			return v
		}
	})
	for name, read := range map[string]func(){
		"Get":     func() { c.Get(t.Context(), 2) },
		"GetMany": func() { c.GetMany(t.Context(), []int{2, 3, 4}) },
	} {
		for _, k := range []int{2, 3, 4} {
			if err := c.Set(t.Context(), []typed.Put[int, string]{{K: k, V: "set"}}); err != nil {
				t.Fatal(err)
			}
		}
		panics.Store(true)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: the panic does not reach its caller", name)
				}
			}()
			read()
		}()
		panics.Store(false)
		for _, k := range []int{2, 3, 4} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			if v, err := c.Get(ctx, k); v != "set" || err != nil {
				t.Errorf("%s: %d afterwards: %q, %v", name, k, v, err)
			}
			cancel()
		}
	}
}

// Kept refers to its key no more when it has returned: serve gives it a part of a buffer that is used again.
func TestKeptDoesNotKeepItsKey(t *testing.T) {
	shared := engine.NewShared(memory.New(memory.Options{}), time.Minute, time.Minute, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { shared.Close(context.Background()) })
	c := typed.New(shared, typed.Config[string, string]{
		Policy: engine.Policy{TTL: time.Hour, LoadTimeout: time.Minute},
		Key:    func(k string) (string, error) { return k, nil },
		Load:   func(_ context.Context, k string) (string, error) { return k, nil },
		Encode: func(v string) ([]byte, error) { return []byte(v), nil }, Decode: func(b []byte) (string, error) { return string(b), nil }, MaxValue: 100,
		Parse: func(s string) (string, bool) { return s, true },
		Near:  typed.NearConfig[string]{Size: 100, Max: time.Minute},
	})
	eventually.True(t, "a value is kept near", func() bool {
		c.Get(t.Context(), "user:1")
		_, ok, _ := c.Kept("user:1")
		return ok
	})
	c.Prefetch(t.Context(), []string{"user:2"}) // which is no read, so that no hot key is known by it
	eventually.True(t, "a key that was prefetched is kept near", func() bool { _, ok, _ := c.Kept("user:2"); return ok })
	buffer := []byte("user:2")
	for range 100_000 { // so that it is sampled as a hot key too
		copy(buffer, "user:2")
		if v, ok, _ := c.Kept(unsafe.String(unsafe.SliceData(buffer), len(buffer))); !ok || v != "user:2" {
			t.Fatalf("%q, %v", v, ok)
		}
		copy(buffer, "zzzz:9")
	}
	hottest := c.HotKeys(10)
	if len(hottest) == 0 {
		t.Error("there are no hot keys")
	}
	for _, hot := range hottest {
		if hot.Key != "user:1" && hot.Key != "user:2" {
			t.Errorf("a hot key is %q", hot.Key)
		}
	}
	if v, ok, _ := c.Kept("user:2"); !ok || v != "user:2" {
		t.Errorf("%q, %v afterwards", v, ok)
	}
}
