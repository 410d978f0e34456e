package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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

// loader returns a cache over the bench's store, whose keys are the name, a colon and the key.
func (b *bench) loader(name string, load func(context.Context, string) (string, error), change func(*typed.Config[string, string])) *typed.Cache[string, string] {
	cfg := b.cfg
	cfg.Key = func(k string) (string, error) { return name + ":" + k, nil }
	cfg.Load, cfg.LoadMany = load, nil
	if change != nil {
		change(&cfg)
	}
	return typed.New(b.shared, cfg)
}

// many makes a LoadMany of a Load.
func many(load func(context.Context, string) (string, error)) func(context.Context, []string) (map[string]string, error) {
	return func(ctx context.Context, ks []string) (map[string]string, error) {
		out := make(map[string]string)
		for _, k := range ks {
			v, err := load(ctx, k)
			if err != nil {
				return nil, err
			}
			out[k] = v
		}
		return out, nil
	}
}

// wantCircle reports an error that is not an immediate refusal of a circle.
func wantCircle(t *testing.T, began time.Time, err error, circles ...string) {
	t.Helper()
	if !errors.Is(err, engine.ErrCycle) || time.Since(began) > time.Second {
		t.Errorf("got %v after %v, want ErrCycle at once", err, time.Since(began))
		return
	}
	for _, c := range circles {
		if strings.HasSuffix(err.Error(), ": "+c) {
			return
		}
	}
	t.Errorf("got %q, want one of %q", err, circles)
}

func TestLoaderThatReadsItsOwnKey(t *testing.T) {
	for name, batch := range map[string]bool{"Load": false, "LoadMany": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, nil)
				var users *typed.Cache[string, string]
				load := func(ctx context.Context, k string) (string, error) { return users.Get(ctx, k) }
				users = b.loader("user", load, func(c *typed.Config[string, string]) {
					if batch {
						c.Load, c.LoadMany = nil, many(load)
					}
				})
				began := time.Now()
				_, err := users.Get(t.Context(), "1")
				wantCircle(t, began, err, "user:1 -> user:1")
				as := users.GetMany(t.Context(), []string{"1", "2"})
				wantCircle(t, began, as[0].Err, "user:1 -> user:1", "user:2 -> user:2")
			})
		})
	}
}

func TestCircleOfCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		var users, teams, towns *typed.Cache[string, string]
		users = b.loader("user", func(ctx context.Context, k string) (string, error) {
			as := teams.GetMany(ctx, []string{"6", "7"})
			return as[1].Entry.Value, as[1].Err
		}, nil)
		teams = b.loader("team", nil, func(c *typed.Config[string, string]) {
			c.LoadMany = many(func(ctx context.Context, k string) (string, error) {
				if k == "6" {
					return "six", nil
				}
				return towns.Get(ctx, "9")
			})
		})
		towns = b.loader("town", func(ctx context.Context, k string) (v string, err error) { // by way of a write, and of its context
			return towns.Update(ctx, "8", func(ctx context.Context) (string, error) { return users.Get(ctx, "1") })
		}, nil)
		began := time.Now()
		_, err := users.Get(t.Context(), "1")
		wantCircle(t, began, err, "user:1 -> team:6 -> town:9 -> user:1", "user:1 -> team:7 -> town:9 -> user:1") // one load has both

		_, err = towns.Get(t.Context(), "9")
		wantCircle(t, began, err, "town:9 -> user:1 -> team:6 -> town:9", "town:9 -> user:1 -> team:7 -> town:9")
	})
}

// Two loads that wait for each other were begun by two callers: no context knows of both.
func TestCircleOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		var users *typed.Cache[string, string]
		users = b.loader("user", func(ctx context.Context, k string) (string, error) {
			time.Sleep(10 * time.Millisecond)
			return users.Get(ctx, map[string]string{"1": "2", "2": "3", "3": "1"}[k])
		}, nil)
		began := time.Now()
		var all sync.WaitGroup
		for _, k := range []string{"1", "2", "3"} {
			all.Go(func() {
				_, err := users.Get(t.Context(), k)
				wantCircle(t, began, err, "user:1 -> user:2 -> user:3 -> user:1", "user:2 -> user:3 -> user:1 -> user:2", "user:3 -> user:1 -> user:2 -> user:3")
			})
		}
		all.Wait()
		began = time.Now()
		_, err := users.Get(t.Context(), "2") // nothing is left of it
		wantCircle(t, began, err, "user:2 -> user:3 -> user:1 -> user:2")
	})
}

// A row that two loads need is no circle.
func TestDiamondIsNoCircle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		var users *typed.Cache[string, string]
		users = b.loader("user", func(ctx context.Context, k string) (string, error) {
			time.Sleep(10 * time.Millisecond)
			if k == "0" {
				return "root", nil
			}
			n, _ := strconv.Atoi(k)
			for _, a := range users.GetMany(ctx, []string{strconv.Itoa(n / 2), strconv.Itoa(n / 3)}) {
				if a.Err != nil {
					return "", a.Err
				}
			}
			return k, nil
		}, nil)
		var all sync.WaitGroup
		for n := range 50 {
			all.Go(func() {
				if _, err := users.Get(t.Context(), strconv.Itoa(n)); err != nil {
					t.Errorf("%d: %v", n, err)
				}
			})
		}
		all.Wait()
	})
}

func TestCollectionThatReadsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		var friends *typed.Collection[string]
		friends = typed.NewCollection(b.shared, typed.CollectionConfig[string]{
			Policy: engine.Policy{LoadTimeout: 10 * time.Second, TTL: time.Hour},
			Kind:   store.Set, Key: func(k string) (string, error) { return "friends:" + k, nil },
			Load: func(ctx context.Context, k string, emit func(store.Element) error) error {
				_, err := friends.Query(ctx, k, store.Query{Part: store.All})
				return err
			},
		})
		began := time.Now()
		_, err := friends.Query(t.Context(), "1", store.Query{Part: store.All})
		wantCircle(t, began, err, "friends:1 -> friends:1")
	})
}

// Loads that need others of their cache run on one place: they neither exhaust MaxLoads nor wait for who waits for them.
func TestNestedLoadsNeedNoPlaces(t *testing.T) {
	for name, ask := range map[string]func(*typed.Cache[string, string], context.Context, []string) error{
		"Get": func(c *typed.Cache[string, string], ctx context.Context, ks []string) error {
			errs := make(chan error, len(ks))
			for _, k := range ks {
				go func() { _, err := c.Get(ctx, k); errs <- err }()
			}
			var all error
			for range ks {
				all = errors.Join(all, <-errs)
			}
			return all
		},
		"GetMany": func(c *typed.Cache[string, string], ctx context.Context, ks []string) (all error) {
			for _, a := range c.GetMany(ctx, ks) {
				all = errors.Join(all, a.Err)
			}
			return all
		},
	} {
		for _, limit := range []int{0, 1, 2, 5} {
			t.Run(fmt.Sprint(name, " MaxLoads=", limit), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := open(t, nil)
					var up *typed.Cache[string, string]
					up = b.loader("up", func(ctx context.Context, k string) (string, error) {
						time.Sleep(time.Millisecond)
						if len(k) == 1 {
							return k, nil
						}
						return up.Get(ctx, k[:len(k)-1])
					}, func(c *typed.Config[string, string]) { c.MaxLoads = limit })
					var ks []string
					for n := range 40 {
						ks = append(ks, fmt.Sprintf("1%03d", n))
					}
					ks = append(ks, "1", "10", "100", "101") // wanted by all, and last in the queue
					if err := ask(up, t.Context(), ks); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// Law 6 is about loads that run. One that waits for a place is not run when its last caller has left.
func TestQueuedLoadThatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran sync.Map
		var running atomic.Int64
		b := open(t, nil)
		slow := b.loader("slow", func(ctx context.Context, k string) (string, error) {
			running.Add(1)
			ran.Store(k, true)
			time.Sleep(time.Second)
			return k, nil
		}, func(c *typed.Config[string, string]) { c.MaxLoads = 1 })
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		get := func(ctx context.Context, k string) {
			all.Go(func() { slow.Get(ctx, k) })
			synctest.Wait()
		}
		get(ctx, "first")
		for n := range 50 {
			get(ctx, strconv.Itoa(n))
		}
		get(ctx, "shared")
		get(t.Context(), "shared") // one of two stays
		leave()
		synctest.Wait()
		began := time.Now()
		if v, err := slow.Get(t.Context(), "last"); v != "last" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
		all.Wait()
		want(t, "loads", running.Load(), 3) // first, shared, last
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the last one took %v: others that nobody waits for came before it", took)
		}
		if _, ok := ran.Load("shared"); !ok {
			t.Error("a load with a caller was not run")
		}
		time.Sleep(time.Minute)
		for n := range 50 { // their leases are given back, and they can be loaded
			key := "slow:" + strconv.Itoa(n)
			if g := b.store.Acquire(t.Context(), []store.Claim{{Key: key, Token: "t1", Lease: time.Second}})[0]; g.State != store.Granted {
				t.Errorf("%s: a lease was left: %v", key, g.State)
			}
		}
		if n := slow.Tally().Counts; n[tally.LoadError]+n[tally.LoadTimeout] > 0 {
			t.Errorf("%d load errors", n[tally.LoadError]+n[tally.LoadTimeout])
		}
	})
}

// The same of a batch: what has not begun when its caller leaves is not loaded, and others get their turn meanwhile.
func TestBatchThatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var loads atomic.Int64
		b := open(t, nil)
		slow := b.loader("slow", func(ctx context.Context, k string) (string, error) {
			loads.Add(1)
			time.Sleep(100 * time.Millisecond)
			return k, nil
		}, func(c *typed.Config[string, string]) { c.MaxLoads = 8 })
		var ks []string
		for n := range 3000 {
			ks = append(ks, strconv.Itoa(n))
		}
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			answered := 0
			for _, a := range slow.GetMany(ctx, ks) {
				if a.Err == nil {
					answered++
				} else if !errors.Is(a.Err, context.Canceled) {
					t.Error(a.Err)
				}
			}
			if answered > 20 {
				t.Errorf("%d answers, though the caller left after the first few", answered)
			}
		})
		time.Sleep(50 * time.Millisecond)
		began := time.Now()
		if _, err := slow.Get(t.Context(), "other"); err != nil || time.Since(began) > 100*time.Millisecond {
			t.Errorf("another caller waited %v: %v", time.Since(began), err)
		}
		leave()
		all.Wait()
		time.Sleep(time.Minute)
		if n := loads.Load(); n > 20 {
			t.Errorf("%d loads, though the caller left after the first few", n)
		}
	})
}
