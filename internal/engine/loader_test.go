package engine_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
	"github.com/nearside/nearside/internal/typed"
)

func TestLoaderThatPanics(t *testing.T) {
	for name, load := range map[string]func(context.Context, string) (string, error){
		"panic":  func(context.Context, string) (string, error) { panic("boom") },
		"goexit": func(context.Context, string) (string, error) { runtime.Goexit(); return "", nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, func(b *bench, c *typed.Config[string, string]) { c.Load = load })
				_, err := b.Get(t.Context(), "a")
				if err == nil || !strings.Contains(err.Error(), "the loader panicked") {
					t.Fatalf("got %v, want the error of a panic", err)
				}
				if g := b.store.Acquire(t.Context(), []store.Claim{{Key: "a", Token: "t1", Lease: time.Second}})[0]; g.State != store.Granted {
					t.Errorf("the lease was not released: %v", g.State)
				}
			})
		})
	}
}

// What says how long a value lives runs where the loader does: its panic costs its opinion, and no more.
func TestExpireThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			c.TTL = time.Minute
			c.Expire = func(string, string) time.Duration { panic("boom") }
		})
		for range 2 {
			if v, err := b.Get(t.Context(), "a"); v != "1" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		}
		want(t, "loads", b.loads.Load(), 1)
		infos, err := b.Inspect(t.Context(), []string{"a"})
		if err != nil || infos[0].TTL != time.Minute {
			t.Errorf("%+v, %v", infos, err)
		}
	})
}

func TestLoaderThatIsDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			c.LoadTimeout = time.Second
			c.Load = func(context.Context, string) (string, error) { time.Sleep(time.Minute); return "", nil }
		})
		begin := time.Now()
		_, err := b.Get(t.Context(), "a")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("got %v after %v, want a deadline after 1s", err, time.Since(begin))
		}
		time.Sleep(time.Minute)
	})
}

// Loads that began together share a deadline. Those that are deaf are given up at it, or when the client is closed; those that
// have ended are not touched.
func TestDeafLoadersShareADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			c.LoadTimeout = time.Second
			c.Load = func(_ context.Context, k string) (string, error) {
				if strings.HasPrefix(k, "deaf") {
					time.Sleep(time.Minute)
				}
				return k, nil
			}
		})
		all := func(want error) (took time.Duration) {
			began := time.Now()
			var callers sync.WaitGroup
			for i := range 9 {
				callers.Go(func() {
					if k := fmt.Sprintf("deaf %d", i); i%3 == 0 {
						k = fmt.Sprintf("heeds %d", i)
						if v, err := b.Get(t.Context(), k); v != k || err != nil || time.Since(began) > 0 {
							t.Errorf("%s: got %q, %v after %v", k, v, err, time.Since(began))
						}
					} else if _, err := b.Get(t.Context(), k); !errors.Is(err, want) {
						t.Errorf("%s: got %v, want %v", k, err, want)
					}
				})
			}
			callers.Wait()
			return time.Since(began)
		}
		want(t, "the limit", all(context.DeadlineExceeded), time.Second)
		time.Sleep(2 * time.Minute)
		var closing sync.WaitGroup
		closing.Go(func() { time.Sleep(time.Second / 4); b.shared.Close(t.Context()) })
		want(t, "the end", all(engine.ErrClosed), time.Second/4)
		closing.Wait()
		if n := b.Tally().Counts; n[tally.LoadOK] != 3 || n[tally.LoadError]+n[tally.LoadTimeout] != 12 { // the second time, three were hits
			t.Errorf("%d loads, %d failed, want 3 and 12", n[tally.LoadOK], n[tally.LoadError]+n[tally.LoadTimeout])
		}
	})
}

func TestMaxLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			c.MaxLoads, c.LoadTimeout = 3, time.Second
			c.Load = func(ctx context.Context, k string) (string, error) {
				n := now.Add(1)
				defer now.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				if k == "slow" {
					time.Sleep(time.Minute) // deaf
				}
				time.Sleep(50 * time.Millisecond)
				return k, nil
			}
		})
		begin := time.Now()
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				if v, err := b.Get(t.Context(), fmt.Sprint(i)); v != fmt.Sprint(i) || err != nil {
					t.Errorf("got %q, %v", v, err)
				}
			})
		}
		wg.Wait()
		want(t, "loads at once", most.Load(), 3)
		want(t, "time for 12", time.Since(begin), 200*time.Millisecond)

		// Three that never end take all places: the fourth has waited as long as a load may take, and nothing is left.
		for range 3 {
			wg.Go(func() { b.GetMany(t.Context(), []string{"slow"}); b.Invalidate(t.Context(), []string{"slow"}) })
			wg.Wait()
		}
		_, err := b.Get(t.Context(), "late")
		if !errors.Is(err, engine.ErrOverloaded) {
			t.Errorf("got %v, want ErrOverloaded", err)
		}
		if g := b.store.Acquire(t.Context(), []store.Claim{{Key: "late", Token: "t1", Lease: time.Second}})[0]; g.State != store.Granted {
			t.Errorf("a load without a place left its lease: %v", g.State)
		}
		time.Sleep(time.Minute)
		if v, err := b.Get(t.Context(), "next"); v != "next" || err != nil {
			t.Errorf("after they ended: %q, %v", v, err)
		}
	})
}
