package redis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// get reads a key under the budget of a read.
func get(t *testing.T, s *redis.Store, key string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Millisecond)
	defer cancel()
	return s.Get(ctx, key, false).Err
}

// logged opens a store, and returns what it logs.
func logged(t *testing.T, url string) (*redis.Store, *buffer) {
	t.Helper()
	var log buffer
	return openWith(t, url, redis.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}), &log
}

func (b *buffer) count(text string) int { return strings.Count(b.String(), text) }

const (
	gone = "redis unavailable: serving from the loader"
	back = "redis back after "
)

// goesAway asks until the breaker is open, and counts who paid for it.
func goesAway(t *testing.T, s *redis.Store, key string) (paid int) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); !errors.Is(get(t, s, key), store.ErrAway); paid++ {
		if time.Now().After(until) {
			t.Fatal("the breaker does not open")
		}
	}
	return paid
}

// comesBack waits until a key is read again.
func comesBack(t *testing.T, s *redis.Store, key string) {
	t.Helper()
	eventually.True(t, "a read of "+key, func() bool { return get(t, s, key) == nil })
}

// Whoever asks while the server is away is told so at once; it is logged once, and once that it is back.
func TestBreakerOfAServer(t *testing.T) {
	for name, hurt := range map[string]struct {
		break_, mend func(*testing.T, *redistest.Server)
	}{
		"dies":  {func(_ *testing.T, s *redistest.Server) { s.Kill() }, func(t *testing.T, s *redistest.Server) { s.Restart(t) }},
		"hangs": {func(_ *testing.T, s *redistest.Server) { s.Pause() }, func(_ *testing.T, s *redistest.Server) { s.Continue() }},
		"cannot write": {
			func(t *testing.T, s *redistest.Server) { s.Do(t, "REPLICAOF", "127.0.0.1", "1") },
			func(t *testing.T, s *redistest.Server) { s.Do(t, "REPLICAOF", "NO", "ONE") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			s, log := logged(t, server.URL())
			if err := get(t, s, "a"); err != nil {
				t.Fatal(err)
			}
			hurt.break_(t, server)
			if name == "cannot write" {
				eventually.True(t, "the breaker opens, although reads are answered", func() bool {
					return errors.Is(s.Invalidate(t.Context(), []string{"a"}, time.Second)[0].Err, store.ErrAway)
				})
			} else if paid := goesAway(t, s, "a"); paid > 20 {
				t.Errorf("%d reads in a row paid for it, want 5 or a few more", paid)
			}
			answersWithin(t, 5*time.Second, func() { // 9,000 with their budgets would take minutes
				for range 1000 {
					for verb, err := range map[string]error{
						"get": s.Get(t.Context(), "a", true).Err, "get many": s.GetMany(t.Context(), []string{"a", "b"}, true)[1].Err,
						"inspect": s.Inspect(t.Context(), []string{"a"})[0].Err, "acquire": s.Acquire(t.Context(), []store.Claim{{Key: "a"}, {Key: "b"}})[1].Err,
						"invalidate": s.Invalidate(t.Context(), []string{"a", "b"}, 0)[1].Err, "put": s.Put(t.Context(), []store.Put{{Key: "a"}}, 0)[0].Err,
						"begin": s.Begin(t.Context(), []store.Intent{{Key: "a"}})[0].Err, "end": s.End(t.Context(), []store.End{{Key: "a"}})[0].Err,
						"ping": s.Ping(t.Context()),
					} {
						if !errors.Is(err, store.ErrAway) || !strings.Contains(err.Error(), server.Addr) {
							t.Fatalf("%s: got %v, want that %s is away", verb, err, server.Addr)
						}
					}
				}
			})
			eventually.True(t, "one line about it in", func() bool { return log.count(gone) == 1 }, log)
			if log.count(back) != 0 {
				t.Errorf("want one line in\n%s", log)
			}
			hurt.mend(t, server)
			comesBack(t, s, "a")
			if o := s.Invalidate(t.Context(), []string{"a"}, 0)[0]; o.Err != nil {
				t.Errorf("an invalidation is held back: %v", o.Err)
			}
			if err := s.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			eventually.True(t, "one line about its return in", func() bool { return log.count(back) == 1 }, log)
			if log.count(gone) != 1 {
				t.Errorf("want one line in\n%s", log)
			}
		})
	}
}

// What a server refuses, and what a caller has no time for, does not make it away.
func TestBreakerStaysClosed(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "noeviction")
	server.Do(t, "ACL", "SETUSER", "u", "on", ">p", "~*", "+@all")
	s, log := logged(t, "redis://u:p@"+server.Addr)
	server.Do(t, "LPUSH", "list", "1")
	server.Do(t, "CONFIG", "SET", "maxmemory", "100kb")
	server.Do(t, "ACL", "SETUSER", "u", "-get")
	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 30 {
		s.Put(t.Context(), []store.Put{{Key: "a", Value: []byte("1"), TTL: time.Minute}}, 0) // OOM
		s.Get(t.Context(), "a", false)                                                       // NOPERM
		s.Put(t.Context(), []store.Put{{Key: "list"}}, 0)
		s.Get(gone, "a", false)
	}
	server.Pause()
	for range 30 {
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := s.Get(short, "a", false).Err; errors.Is(err, store.ErrAway) {
			t.Error(err)
		}
		cancel()
	}
	server.Continue()
	if _, err := s.Usage(t.Context()); err != nil || log.String() != "" {
		t.Errorf("the server is taken for away: %v\n%s", err, log)
	}
}

// In a cluster each master has its own: what is about keys of the others goes on, in batches too.
func TestBreakerOfAMaster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3, 0, "--cluster-require-full-coverage", "no", "--cluster-node-timeout", "60000")
	s, log := logged(t, cluster.URL())
	var keys []string
	for i := range 30 {
		keys = append(keys, fmt.Sprint("k", i))
	}
	dead := cluster.Master(t, "k0")
	of := make(map[string]bool)
	alive := ""
	for _, key := range keys {
		if of[key] = cluster.Master(t, key) == dead; !of[key] {
			alive = key
		}
	}
	dead.Kill()
	goesAway(t, s, "k0")
	check := func(verb, key string, err error) {
		t.Helper()
		if away := errors.Is(err, store.ErrAway); away != of[key] || !away && err != nil && !errors.Is(err, context.DeadlineExceeded) { // a busy machine
			t.Errorf("%s %s: %v", verb, key, err)
		}
	}
	answersWithin(t, 10*time.Second, func() {
		for range 100 {
			for i, it := range s.GetMany(t.Context(), keys, true) {
				check("get", keys[i], it.Err)
			}
			for i, o := range s.Invalidate(t.Context(), keys, 0) {
				check("invalidate", keys[i], o.Err)
			}
			check("get", alive, get(t, s, alive))
		}
	})
	if err := s.Ping(t.Context()); !errors.Is(err, store.ErrAway) {
		t.Errorf("ping does not tell that a master is away: %v", err)
	}
	if s.Away(int(topology.Slot("k0"))) == nil || s.Away(int(topology.Slot(alive))) != nil {
		t.Error("the wrong slots are away")
	}
	if !errors.Is(s.Refuses("k0"), store.ErrAway) || s.Refuses(alive) != nil {
		t.Error("the wrong keys are refused")
	}
	eventually.True(t, "one line about it in", func() bool { return log.count(gone) == 1 }, log)
	dead.Restart(t)
	comesBack(t, s, "k0")
	eventually.True(t, "two lines in", func() bool { return log.count(gone) == 1 && log.count(back) == 1 && log.count(dead.Addr) >= 2 }, log)
}

// What waits for the server's return comes before reads are let through, and is let through itself.
func TestRecovered(t *testing.T) {
	server := redistest.Start(t)
	s, log := logged(t, server.URL())
	var called atomic.Int64
	s.Recovered(func(ctx context.Context) int {
		called.Add(1)
		if err := s.Get(t.Context(), "a", false).Err; !errors.Is(err, store.ErrAway) {
			t.Errorf("a read is let through: %v", err)
		}
		for _, o := range s.Invalidate(ctx, []string{"a", "b"}, 0) {
			if o.Err != nil {
				t.Errorf("an invalidation is not: %v", o.Err)
			}
		}
		if o := s.Invalidate(t.Context(), []string{"a"}, 0)[0]; !errors.Is(o.Err, store.ErrAway) {
			t.Errorf("one of somebody else is: %v", o.Err)
		}
		return 41
	})
	server.Kill()
	goesAway(t, s, "a")
	eventually.True(t, "one line about it in", func() bool { return log.count(gone) == 1 }, log)
	server.Restart(t)
	comesBack(t, s, "a")
	if n := called.Load(); n != 1 {
		t.Errorf("called %d times, want once", n)
	}
	eventually.True(t, "one sentence in", func() bool {
		return regexp.MustCompile(`redis back after \d+\.\ds, 41 invalidations repeated" address=`).MatchString(log.String())
	}, log)
}

// A refusal costs its caller nothing.
func TestRefusalDoesNotAllocate(t *testing.T) {
	server := redistest.Start(t)
	s, _ := logged(t, server.URL())
	server.Kill()
	goesAway(t, s, "a")
	s.Invalidate(t.Context(), []string{"a"}, 0) // who writes waits a moment, once
	claims, keys, ctx := []store.Claim{{Key: "a", Token: "t"}}, []string{"a"}, t.Context()
	if n := testing.AllocsPerRun(100, func() { s.Get(ctx, "a", true) }); n != 0 {
		t.Errorf("get: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { s.Acquire(ctx, claims) }); n > 1 {
		t.Errorf("acquire: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { s.Invalidate(ctx, keys, 0) }); n > 2 { // the answer, and the note for a failover
		t.Errorf("invalidate: %v allocations", n)
	}
}

// A command that only the server can answer waits for one that has just become unavailable, and not for one that has been so for long.
func TestReachable(t *testing.T) {
	server := redistest.Start(t)
	s, _ := logged(t, server.URL())
	if err := s.Reachable(t.Context(), -1); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	goesAway(t, s, "a")
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Reachable(short, -1); !errors.Is(err, store.ErrAway) {
		t.Errorf("a caller without time: %v", err)
	}
	time.AfterFunc(100*time.Millisecond, server.Continue)
	if err := s.Reachable(t.Context(), -1); err != nil {
		t.Errorf("a server that was stopped for a moment: %v", err)
	}
	server.Kill()
	eventually.True(t, "a server that is gone is waited for again and again", func() bool {
		s.Invalidate(t.Context(), []string{"a"}, 0) // reads may be held back, as after any outage
		began := time.Now()
		return errors.Is(s.Reachable(t.Context(), -1), store.ErrAway) && time.Since(began) < 100*time.Millisecond
	})
}
