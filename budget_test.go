package nearside_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/faultproxy"
	"github.com/nearside/nearside/internal/redistest"
)

// counted returns a cache of whole numbers, and how many rows it has loaded.
func counted(c *nearside.Client, name string, change func(*nearside.Config[int, int])) (*nearside.Cache[int, int], *atomic.Int64) {
	rows := new(atomic.Int64)
	cfg := nearside.Config[int, int]{
		LoadMany: func(_ context.Context, ks []int) (map[int]int, error) {
			rows.Add(int64(len(ks)))
			out := make(map[int]int, len(ks))
			for _, k := range ks {
				if k >= 0 {
					out[k] = -k
				}
			}
			return out, nil
		},
		NotFoundTTL: time.Hour,
	}
	if change != nil {
		change(&cfg)
	}
	return nearside.New(c, name, cfg), rows
}

func numbers(n int) []int {
	ks := make([]int, n)
	for i := range ks {
		ks[i] = i
	}
	return ks
}

// The embedded store never waits, so a budget that ends while the process does not run costs no load.
func TestBudgetOfEmbeddedStore(t *testing.T) {
	cache, rows := counted(connectWith(t, "memory:", nearside.Options{Budget: time.Nanosecond}), "n", nil)
	for range 3 {
		if v, err := cache.Get(t.Context(), 1); v != -1 || err != nil {
			t.Fatal(v, err)
		}
		if many, err := cache.GetMany(t.Context(), numbers(100)); len(many) != 100 || err != nil {
			t.Fatal(len(many), err)
		}
	}
	if n := rows.Load(); n != 100 {
		t.Errorf("%d rows were loaded, want 100", n)
	}
}

// A batch of any size is stored by the call that loads it, and answered from Redis afterwards.
func TestLargeBatchesAreCached(t *testing.T) {
	server := redistest.Start(t)
	c := connectWith(t, server.URL(), nearside.Options{Budget: 2 * time.Second})
	for _, size := range []int{10, 1000, 10_000, 50_000, 100_000} {
		for name, one := range map[string]bool{"LoadMany": false, "Load": true} {
			if one && size > 10_000 {
				continue
			}
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				cache, rows := counted(c, fmt.Sprintf("n%d%v", size, one), func(cfg *nearside.Config[int, int]) {
					if many := cfg.LoadMany; one {
						cfg.LoadMany = nil
						cfg.Load = func(ctx context.Context, k int) (int, error) {
							found, err := many(ctx, []int{k})
							if v, ok := found[k]; ok || err != nil {
								return v, err
							}
							return 0, nearside.ErrNotFound
						}
					}
				})
				ks := numbers(size)
				for i := range ks[:len(ks)/10] { // one row in ten does not exist
					ks[i] = -1 - ks[i]
				}
				for round := range 3 {
					found, err := cache.GetMany(t.Context(), ks)
					if err != nil || len(found) != size-size/10 {
						t.Fatalf("round %d: %d found, %v", round, len(found), err)
					}
					for k, v := range found {
						if v != -k {
							t.Fatalf("%d: got %d", k, v)
						}
					}
					if n := rows.Load(); n != int64(size) {
						t.Fatalf("round %d: %d rows loaded, want %d", round, n, size)
					}
				}
			})
		}
	}
}

// Writes of many keys succeed, and leave nothing pending.
func TestLargeWrites(t *testing.T) {
	server := redistest.Start(t)
	c := connectWith(t, server.URL(), nearside.Options{Budget: 2 * time.Second})
	cache, rows := counted(c, "n", nil)
	const size = 50_000
	ks, values := numbers(size), make(map[int]int, size)
	keys := make([]nearside.Key, size)
	for i, k := range ks {
		values[k], keys[i] = -k, cache.Key(k)
	}
	check := func(what string, err error, loads int64) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if s := c.Stats(t.Context()); s.Deferred+s.Bypassed > 0 {
			t.Fatalf("%s: %d keys pending, %d caches bypassed", what, s.Deferred, s.Bypassed)
		}
		rows.Store(0)
		if found, err := cache.GetMany(t.Context(), ks); err != nil || len(found) != size || rows.Load() != loads {
			t.Fatalf("%s: afterwards %d found, %v, %d loaded, want %d", what, len(found), err, rows.Load(), loads)
		}
	}
	check("SetMany", cache.SetMany(t.Context(), values), 0)
	check("Invalidate", cache.Invalidate(t.Context(), ks...), size)
	check("Mutate", c.Mutate(t.Context(), func(context.Context) error { return nil }, keys...), size)
	cache.Invalidate(t.Context(), ks...)
	rows.Store(0)
	cache.Prefetch(t.Context(), ks...)
	// It goes on in the background: what it has not begun is loaded by this read, and what it loads is waited for.
	if found, err := cache.GetMany(t.Context(), ks); err != nil || len(found) != size || rows.Load() != size {
		t.Fatalf("beside Prefetch: %d found, %v, %d loaded, want %d", len(found), err, rows.Load(), size)
	}
	check("Prefetch", nil, 0)
}

// Law 3: a large batch on a server that hangs waits for one piece, not for each of them.
func TestLargeBatchOnAHungServer(t *testing.T) {
	server := redistest.Start(t)
	const budget = 500 * time.Millisecond // as a piece takes longer than that on a busy machine, and 100 budgets are a minute
	c := connectWith(t, server.URL(), nearside.Options{Budget: budget, Logger: slog.New(slog.DiscardHandler)})
	cache, rows := counted(c, "n", nil)
	ks := numbers(50_000)
	if err := cache.Set(t.Context(), 1, -1); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	defer server.Continue()
	began := time.Now()
	found, err := cache.GetMany(t.Context(), ks)
	if took := time.Since(began); err != nil || len(found) != len(ks) || rows.Load() != int64(len(ks)) || took > 20*budget {
		t.Errorf("%d found, %v, %d loaded, in %v", len(found), err, rows.Load(), took)
	}
}

// A Redis that is far away is filled, and answers.
func TestRedisAtADistance(t *testing.T) {
	server := redistest.Start(t)
	for _, latency := range []time.Duration{0, 5, 15, 30, 60} {
		t.Run(fmt.Sprint(latency*time.Millisecond), func(t *testing.T) {
			proxy, err := faultproxy.Start(server.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			proxy.Set(faultproxy.Fault{Latency: latency * time.Millisecond})
			log := new(lines)
			c := connectWith(t, "redis://"+proxy.Addr, nearside.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
			cache, rows := counted(c, fmt.Sprint("n", int(latency)), func(cfg *nearside.Config[int, int]) { cfg.NotFoundTTL = 0 })
			const keys = 20
			quiet := 0
			for round := 0; quiet < 3; round++ {
				before := rows.Load()
				for k := range keys {
					if _, err := cache.Get(t.Context(), k); err != nil {
						t.Fatal(err)
					}
				}
				if quiet++; rows.Load() > before {
					quiet = 0
				}
				if round == 8 {
					t.Fatalf("after %d rounds %d rows were loaded, of %d keys", round, rows.Load(), keys)
				}
			}
			if problems := c.Stats(t.Context()).Problems; len(problems) > 0 {
				t.Errorf("problems: %q", problems)
			}
			if n := strings.Count(log.String(), "redis unavailable"); n > 1 {
				t.Errorf("redis was taken for unavailable %d times", n)
			}
		})
	}
}

// A budget that was set is obeyed, and one that is too short for the distance is a problem, said once.
func TestBudgetBelowTheRoundTrip(t *testing.T) {
	server := redistest.Start(t)
	proxy, err := faultproxy.Start(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	proxy.Set(faultproxy.Fault{Latency: 60 * time.Millisecond})
	log := new(lines)
	c := connectWith(t, "redis://"+proxy.Addr, nearside.Options{Budget: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil))})
	cache, _ := counted(c, "n", nil)
	cache.Get(t.Context(), 1)
	problem := func() string { return strings.Join(c.Stats(t.Context()).Problems, "\n") }
	if p := problem(); !strings.Contains(p, "Options.Budget is 20ms") || !strings.Contains(p, "at least 2") {
		t.Errorf("problems: %q", p)
	}
	proxy.Set(faultproxy.Fault{})
	eventually.True(t, "no problem, since it is near again", func() bool { return problem() == "" })
	if n := strings.Count(log.String(), "a round trip to"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log)
	}
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
