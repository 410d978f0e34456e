package nearside_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
)

// nearby opens a client and a cache that keeps rows near.
func nearby(t testing.TB, url string, change func(*nearside.Config[int64, User])) (*nearside.Client, *nearside.Cache[int64, User]) {
	c := connect(t, url)
	cfg := nearside.Config[int64, User]{
		Load:     func(_ context.Context, id int64) (User, error) { return User{id, "Ada"}, nil },
		NearSize: 1000,
	}
	if change != nil {
		change(&cfg)
	}
	return c, nearside.New(c, "user", cfg)
}

// source reads until the answer comes from somewhere: the tier begins behind New.
func source(t *testing.T, users *nearside.Cache[int64, User], want nearside.Source) nearside.Entry[User] {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); ; <-time.After(time.Millisecond) {
		e, err := users.GetEntry(t.Context(), 42)
		if err != nil {
			t.Fatal(err)
		}
		if e.Source == want {
			return e
		}
		if time.Now().After(until) {
			t.Fatalf("answers come from %s, want %s", e.Source, want)
		}
	}
}

func TestNear(t *testing.T) {
	urls := map[string]func(testing.TB) string{"memory": func(testing.TB) string { return "memory:" }}
	for _, kind := range redistest.Kinds {
		urls[kind.Name] = func(t testing.TB) string {
			s := kind.Shared(t)
			s.FlushAll(t)
			return s.URL()
		}
	}
	for name, url := range urls {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			c, users := nearby(t, url(t), nil)
			if e := source(t, users, nearside.SourceNear); e.Value.Name != "Ada" || e.Age < 0 || e.Age > time.Minute || e.TTL < 50*time.Minute {
				t.Errorf("got %+v", e)
			}
			for _, write := range []struct {
				name string
				do   func() error
				want string
			}{
				{"set", func() error { return users.Set(ctx, 42, User{42, "Grace"}) }, "Grace"},
				{"update", func() error {
					_, err := users.Update(ctx, 42, func(context.Context) (User, error) { return User{42, "Barbara"}, nil })
					return err
				}, "Barbara"},
				{"invalidate", func() error { return users.Invalidate(ctx, 42) }, "Ada"},
			} {
				if err := write.do(); err != nil {
					t.Fatal(write.name, err)
				}
				if u, err := users.Get(ctx, 42); u.Name != write.want || err != nil {
					t.Errorf("after %s: %v, %v, want %s", write.name, u, err, write.want)
				}
				source(t, users, nearside.SourceNear)
			}
			if us, err := users.GetMany(ctx, []int64{42, 43}); len(us) != 2 || err != nil {
				t.Errorf("get many: %v, %v", us, err)
			}
			if s := c.Stats(ctx).Caches["user"]; s.Near == 0 || s.NearEntries == 0 {
				t.Errorf("stats: %+v", s)
			}
		})
	}
}

// A change by another process, or by hand, is seen as soon as it is pushed.
func TestNearHearsOfChanges(t *testing.T) {
	for _, kind := range redistest.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			server := kind.Shared(t)
			server.FlushAll(t)
			_, users := nearby(t, server.URL(), nil)
			_, others := nearby(t, server.URL(), nil)
			for name, change := range map[string]func(){
				"set":     func() { others.Set(t.Context(), 42, User{42, "set"}) },
				"by hand": func() { server.Node(t, "user:42").Do(t, "SET", "user:42", `{"ID":42,"Name":"by hand"}`, "PX", "60000") },
				"flush":   func() { server.FlushAll(t); others.Set(t.Context(), 42, User{42, "flush"}) },
				"lost": func() {
					killTracking(t, server)
					for others.Set(t.Context(), 42, User{42, "lost"}) != nil { // its own connection is cut too
					}
				},
				"invalidate": func() { others.Invalidate(t.Context(), 42); others.Set(t.Context(), 42, User{42, "invalidate"}) },
			} {
				source(t, users, nearside.SourceNear)
				change()
				begin := time.Now()
				for {
					u, err := users.Get(t.Context(), 42)
					if err != nil {
						t.Fatal(err)
					}
					if u.Name == name {
						break
					}
					if time.Since(begin) > 5*time.Second {
						t.Fatalf("%s: still %v", name, u)
					}
				}
			}
		})
	}
}

// killTracking cuts the connections that are told of changes.
func killTracking(t *testing.T, b redistest.Backend) {
	b.Node(t, "user:42").Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
}

func TestNearClone(t *testing.T) {
	c := connect(t, "memory:")
	lists := nearside.New(c, "list", nearside.Config[string, []int]{
		Load:     func(context.Context, string) ([]int, error) { return []int{1, 2, 3}, nil },
		NearSize: 10, Clone: func(v []int) []int { return append([]int(nil), v...) },
	})
	for until := time.Now().Add(10 * time.Second); c.Stats(t.Context()).Caches["list"].Near < 100; {
		v, err := lists.Get(t.Context(), "a")
		if err != nil || v[0] != 1 || time.Now().After(until) {
			t.Fatalf("got %v, %v", v, err)
		}
		v[0] = 7 // a caller who modifies what he gets
	}
}

// The coherence of several processes: a value that a Get returns is not older than what its own process has written before,
// and at rest nobody keeps an old one.
func TestNearCoherence(t *testing.T) {
	for _, kind := range redistest.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			server := kind.Shared(t)
			server.FlushAll(t)
			coherent(t, server.URL(), 1500*time.Millisecond)
		})
	}
	t.Run("memory", func(t *testing.T) { coherent(t, "memory:", 500*time.Millisecond) })
}

func coherent(t *testing.T, url string, length time.Duration) {
	const keys = 40
	var rows [keys]atomic.Int64 // the database: a version of each row
	processes := 3
	if url == "memory:" {
		processes = 1
	}
	caches := make([]*nearside.Cache[int64, int64], processes)
	clients := make([]*nearside.Client, processes)
	for i := range caches {
		clients[i] = connect(t, url)
		caches[i] = nearside.New(clients[i], "row", nearside.Config[int64, int64]{
			Load: func(_ context.Context, k int64) (int64, error) {
				v := rows[k].Load()
				time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
				return v, nil
			},
			NearSize: 1000,
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var own [3][keys]atomic.Int64 // what a process has written and been told of
	var gets, writes, near atomic.Int64
	var all sync.WaitGroup
	for g := range 9 {
		p := g % processes
		all.Go(func() {
			for ctx.Err() == nil {
				k := rand.Int64N(keys)
				before := own[p][k].Load()
				e, err := caches[p].GetEntry(t.Context(), k)
				if err != nil || e.Value < before {
					t.Errorf("process %d read version %d of %d from %s (%v), and has written %d before", p, e.Value, k, e.Source, err, before)
					return
				}
				if gets.Add(1); e.Source == nearside.SourceNear {
					near.Add(1)
				}
				if gets.Load()%64 == 0 {
					time.Sleep(50 * time.Microsecond) // so that the writers have their turn
				}
			}
		})
	}
	for g := range 2 {
		p := g % processes
		all.Go(func() {
			for ctx.Err() == nil {
				k := rand.Int64N(keys/2)*2 + int64(g) // one writer for each row
				var v int64
				var err error
				if rand.IntN(2) == 0 {
					v, err = caches[p].Update(t.Context(), k, func(context.Context) (int64, error) { return rows[k].Add(1), nil })
				} else {
					v = rows[k].Add(1)
					err = caches[p].Invalidate(t.Context(), k)
				}
				if err != nil {
					t.Error(err)
					return
				}
				own[p][k].Store(v)
				writes.Add(1)
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
			}
		})
	}
	all.Wait()
	for p, c := range caches { // a push may be on its way for a moment
		for k := range int64(keys) {
			want := rows[k].Load()
			for until := time.Now().Add(2 * time.Second); ; {
				v, err := c.Get(t.Context(), k)
				if v == want && err == nil {
					break
				}
				if time.Now().After(until) {
					t.Errorf("process %d keeps version %d of %d (%v), the database has %d", p, v, k, err, want)
					break
				}
			}
		}
	}
	t.Logf("%d gets, %d of them near, %d writes", gets.Load(), near.Load(), writes.Load())
	if near.Load() == 0 || writes.Load() == 0 {
		t.Error(fmt.Sprint("nothing happened: ", gets.Load(), near.Load(), writes.Load()))
	}
}
