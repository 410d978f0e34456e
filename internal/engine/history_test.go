package engine_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

// historic is a store whose data set a test lets go back in time.
type historic struct {
	*failing
	keeper     store.Keeper
	registered []string
	emptied    []uint64
	claiming   func() // called in a claim, behind the answer
}

func (h *historic) Keep(k store.Keeper) { h.keeper = k }

func (h *historic) Register(glob string) { h.registered = append(h.registered, glob) }

func (h *historic) Empty(ctx context.Context, glob string, ours func(key string) bool) error {
	return h.Sweep(ctx, glob, ours)
}

func (h *historic) Emptied(_ string, number uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.emptied = append(h.emptied, number)
}

// told returns with which numbers Emptied was called, and how often the store was swept.
func (h *historic) unavailable() (emptied []uint64, sweeps int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.emptied), len(h.sweeps)
}

func (h *historic) GetMany(ctx context.Context, keys []string, ttl bool) []store.Item {
	items := h.failing.GetMany(ctx, keys, ttl)
	if h.reading != nil {
		h.reading()
	}
	return items
}

func (h *historic) Acquire(ctx context.Context, claims []store.Claim) []store.Grant {
	grants := h.failing.Acquire(ctx, claims)
	if h.claiming != nil {
		h.claiming()
	}
	return grants
}

// old returns a cache whose store holds a value that is older than the database.
func old(t testing.TB) (*outage, *historic) {
	var h *historic
	o := &outage{log: new(journal)}
	o.bench = open(t, func(b *bench, c *typed.Config[string, string]) {
		o.f = &failing{Store: b.store}
		h = &historic{failing: o.f}
		b.store = h
		c.Glob = "*"
	})
	o.gets(t, "a", "1", engine.Load)
	synctest.Wait()
	o.set("a", "2")
	return o, h
}

var all = []string{"*"}

func TestBarredCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, h := old(t)
		want(t, "registered", len(h.registered), 1)
		h.keeper.Bar(all)
		h.keeper.Bar(all)
		o.gets(t, "a", "2", engine.Load)
		if _, err := o.Peek(t.Context(), "a"); err == nil {
			t.Error("a barred cache is looked at")
		}
		if as := o.GetMany(t.Context(), []string{"a"}); as[0].Entry.Value != "2" {
			t.Errorf("got %+v", as)
		}
		h.keeper.Free(all)
		o.gets(t, "a", "1", engine.Store) // it was not invalidated, and nothing was stored meanwhile
		h.keeper.Bar(all)
		began := time.Now()
		if err := o.shared.Close(t.Context()); err != nil || time.Since(began) > time.Second {
			t.Errorf("Close took %v: %v", time.Since(began), err)
		}
	})
}

// The answer to a read that was under way when the cache was barred is not used, even if it is free again.
func TestOvertakenReads(t *testing.T) {
	for name, read := range map[string]func(*outage) string{
		"get":      func(o *outage) string { v, _ := o.Get(context.Background(), "a"); return v },
		"get many": func(o *outage) string { return o.GetMany(context.Background(), []string{"a"})[0].Entry.Value },
		"peek": func(o *outage) string {
			if e, err := o.Peek(context.Background(), "a"); err == nil {
				return e.Value
			}
			return "2"
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, h := old(t)
				h.reading = func() { h.keeper.Bar(all); h.keeper.Free(all) }
				if v := read(o); v != "2" {
					t.Errorf("got %q", v)
				}
			})
		})
	}
	t.Run("claim", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o, h := old(t)
			for range 8 { // the next read begins with the claim
				o.Get(t.Context(), "none")
			}
			h.Invalidate(t.Context(), []string{"a"}, 0) // the claim is granted
			h.claiming = func() { h.keeper.Bar(all); h.keeper.Free(all) }
			o.gets(t, "a", "2", engine.Load)
			h.claiming = nil
			synctest.Wait()
			if g := h.Store.Acquire(t.Context(), []store.Claim{{Key: "a", Token: "t1", Lease: time.Minute}})[0]; g.State != store.Granted {
				t.Errorf("the lease was not given back: %v", g.State)
			}
		})
	})
}

// A cache that must be emptied is read again when it was swept, and the store is told once.
func TestEmptiedCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, h := old(t)
		h.keeper.Empty(all, 7)
		o.gets(t, "a", "2", engine.Load)
		time.Sleep(time.Second)
		o.gets(t, "a", "2", engine.Load)
		o.gets(t, "a", "2", engine.Store)
		if emptied, _ := h.unavailable(); !slices.Equal(emptied, []uint64{7}) {
			t.Errorf("told of %v", emptied)
		}

		// A second time while it is swept: it is swept once more.
		again := true
		h.mu.Lock()
		h.during = func() {
			if again {
				again = false
				h.keeper.Empty(all, 9)
			}
		}
		h.mu.Unlock()
		h.keeper.Empty(all, 8)
		time.Sleep(2 * time.Second)
		emptied, sweeps := h.unavailable()
		if !slices.Equal(emptied, []uint64{7, 9}) {
			t.Errorf("told of %v", emptied)
		}

		// Another process has swept it.
		h.keeper.Empty(all, 10)
		h.keeper.Spare(all, 10)
		time.Sleep(2 * time.Second)
		_, after := h.unavailable()
		want(t, "sweeps", after-sweeps, 0)
		want(t, "read past", o.shared.Recovery().Past, 0)

		// An earlier word does not count.
		h.keeper.Empty(all, 11)
		h.keeper.Spare(all, 10)
		want(t, "read past", o.shared.Recovery().Past, 1)
		began := time.Now()
		if err := o.shared.Close(t.Context()); err != nil || time.Since(began) > time.Second {
			t.Errorf("Close took %v: %v", time.Since(began), err)
		}
	})
}

// Several caches are swept in one run, each to its own keys.
func TestEmptiedCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h *historic
		o := &outage{log: new(journal)}
		o.bench = open(t, func(b *bench, c *typed.Config[string, string]) {
			o.f = &failing{Store: b.store}
			h = &historic{failing: o.f}
			b.store = h
			c.Glob = "a*"
		})
		named := func(name string) *typed.Cache[string, string] {
			return typed.New(o.shared, typed.Config[string, string]{
				Policy: engine.Policy{TTL: o.TTL, LoadTimeout: time.Second, Glob: name + ":*"},
				Key:    func(k string) (string, error) { return name + ":" + k, nil }, Load: o.load, Encode: o.cfg.Encode, Decode: o.cfg.Decode, MaxValue: 1 << 20,
			})
		}
		b, c := named("b"), named("c")
		for _, cache := range []*typed.Cache[string, string]{o.Cache, b, c} {
			cache.Get(t.Context(), "a")
		}
		synctest.Wait()
		h.keeper.Empty([]string{"a*", "b:*"}, 1)
		time.Sleep(time.Second)
		emptied, sweeps := h.unavailable()
		want(t, "sweeps", sweeps, 1)
		want(t, "told", len(emptied), 2)
		for cache, source := range map[*typed.Cache[string, string]]engine.Source{o.Cache: engine.Load, b: engine.Load, c: engine.Store} {
			if e, err := cache.Entry(t.Context(), "a"); e.Source != source || err != nil {
				t.Errorf("from %s (%v), want %s", e.Source, err, source)
			}
		}
	})
}
