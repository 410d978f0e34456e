package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/tally"
	"github.com/nearside/nearside/internal/typed"
)

func soft(_ *bench, c *typed.Config[string, string]) {
	c.Stale, c.SoftTimeout = time.Minute, 200*time.Millisecond
}

// stale loads a, changes it behind the cache, and lets the value pass its TTL.
func (b *bench) stale(t *testing.T) {
	b.Get(t.Context(), "a")
	b.set("a", "2")
	time.Sleep(time.Hour + time.Second)
}

func TestSoftTimeout(t *testing.T) {
	for _, c := range []struct {
		name   string
		delay  time.Duration
		fail   error
		value  string
		source engine.Source
		took   time.Duration
	}{
		{"a load that is fast enough", 100 * time.Millisecond, nil, "2", engine.Load, 100 * time.Millisecond},
		{"a slow one", time.Second, nil, "1", engine.Stale, 200 * time.Millisecond},
		{"one that fails", 100 * time.Millisecond, errors.New("the database is away"), "1", engine.Stale, 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, soft)
				b.stale(t)
				b.delay, b.fail = c.delay, c.fail
				begin := time.Now()
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() {
						e, err := b.Entry(t.Context(), "a")
						if err != nil || e.Value != c.value || e.Source != c.source {
							t.Errorf("get: %+v, %v", e, err)
						}
						a := b.GetMany(t.Context(), []string{"a"})[0]
						if err != nil || a.Entry.Value != c.value && a.Entry.Value != "2" && c.fail == nil {
							t.Errorf("get many: %+v", a)
						}
					})
				}
				b.GetMany(t.Context(), []string{"a"})
				want(t, "time", time.Since(begin), c.took)
				all.Wait()
				time.Sleep(2 * time.Second)
				if e, _ := b.Entry(t.Context(), "a"); c.fail == nil && (e.Value != "2" || e.Stale) {
					t.Errorf("the load did not go on and fill: %+v", e)
				}
			})
		})
	}
}

// A caller who leaves gets his own error, not the stale value.
func TestSoftTimeoutAndCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, soft)
		b.stale(t)
		b.delay = time.Second
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := b.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// A row that is gone is gone, and no stale value comes in its place; nor does one that was invalidated.
func TestNoStaleValueOfWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, soft)
		b.stale(t)
		b.mu.Lock()
		delete(b.rows, "a")
		b.mu.Unlock()
		if _, err := b.Get(t.Context(), "a"); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("a row that was deleted: %v", err)
		}
		b.set("a", "3")
		b.Get(t.Context(), "a")
		time.Sleep(time.Hour + time.Second)
		b.Invalidate(t.Context(), []string{"a"})
		b.fail = errors.New("the database is away")
		if v, err := b.Get(t.Context(), "a"); err == nil {
			t.Errorf("an invalidated value was served: %q", v)
		}
	})
}

// While the database fails all loads, stale values are served without an attempt for each of them.
func TestDatabaseAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(_ *bench, c *typed.Config[string, string]) { c.Stale = time.Hour })
		b.stale(t)
		b.fail, b.delay = errors.New("the database is away"), 0
		before := b.loads.Load()
		for range 10_000 { // 10 s
			if v, err := b.Get(t.Context(), "a"); v != "1" || err != nil {
				t.Fatalf("got %q, %v", v, err)
			}
			time.Sleep(time.Millisecond)
		}
		if n := b.loads.Load() - before; n > 15 {
			t.Errorf("%d attempts in 10 s", n)
		}
		b.mu.Lock()
		b.fail = nil
		b.mu.Unlock()
		time.Sleep(2 * time.Second)
		b.Get(t.Context(), "a")
		time.Sleep(time.Millisecond)
		if v, _ := b.Get(t.Context(), "a"); v != "2" {
			t.Errorf("after it is back: %q", v)
		}
	})
}

// A hot key is loaded anew before it is stale, by one of all processes, and no reader ever waits.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(b *bench, c *typed.Config[string, string]) { c.Refresh, b.delay = 1, 2*time.Second })
		other := typed.New(b.shared, b.cfg) // of another process, by the same store
		b.Get(t.Context(), "a")
		waited, loads := 0, b.loads.Load()
		for range 3 * 3600 * 10 { // 3 h, ten reads a second
			for _, c := range []*typed.Cache[string, string]{b.Cache, other} {
				if e, err := c.Entry(t.Context(), "a"); err != nil || e.Source != engine.Store {
					waited++
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		want(t, "reads that had to load", waited, 0)
		if n := b.loads.Load() - loads; n < 2 || n > 4 {
			t.Errorf("%d loads in 3 h at a TTL of 1 h", n)
		}
		if n := b.Tally().Counts; n[tally.Early] == 0 {
			t.Errorf("no early load was counted: %v", n)
		}
	})
}

// Nothing is loaded early before the cost of a load is known, nor when much of the life is left.
func TestRefreshIsRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(b *bench, c *typed.Config[string, string]) { c.Refresh, b.delay = 1, 50*time.Millisecond })
		for i := range 50 {
			b.set(fmt.Sprint(i), "1")
			b.Get(t.Context(), fmt.Sprint(i))
		}
		loads := b.loads.Load()
		time.Sleep(59 * time.Minute)
		for range 1000 {
			for i := range 50 {
				b.Get(t.Context(), fmt.Sprint(i))
			}
		}
		want(t, "loads a minute before the end", b.loads.Load()-loads, 0)
	})
}
