package checker_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/store/redis"
	"github.com/nearside/nearside/internal/store/storetest/checker"
)

var (
	length = flag.Duration("checker", 700*time.Millisecond, "how long each profile of the checker runs")
)

func TestMain(m *testing.M) {
	flag.Parse()
	status := redistest.Main(m)
	if err := goleak.Find(redistest.Delayed()...); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// place is where the stores of a checker keep what they keep.
type place struct {
	name string
	on   redistest.Backend // nil: in memory
}

// places are the memory store and every kind of Redis.
func places(t *testing.T, f func(t *testing.T, p place)) {
	t.Run("memory", func(t *testing.T) { f(t, place{name: "memory"}) })
	for _, kind := range redistest.Kinds {
		t.Run(kind.Name, func(t *testing.T) { f(t, place{kind.Name, kind.Shared(t)}) })
	}
}

// three are the stores of three processes.
func (p place) three(t *testing.T) []store.Store {
	if p.on == nil {
		s := memory.New(memory.Options{})
		t.Cleanup(s.Close)
		return []store.Store{s, s, s}
	}
	p.on.FlushAll(t)
	var out []store.Store
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), eventually.Limit)
		s, err := redis.Open(ctx, p.on.URL(), redis.Options{Require: true})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		out = append(out, s)
	}
	return out
}

// Law 1: no stale survivor.
func TestChecker(t *testing.T) {
	places(t, func(t *testing.T, at place) {
		profiles := checker.Profiles()
		if at.on != nil {
			profiles = append(profiles, checker.Profile{
				Name: "lost values and leases, FLUSHALL, SCRIPT FLUSH", Invalidate: 0.5, Absent: 0.1, Faults: at.faults(t),
			})
		}
		for _, p := range profiles {
			t.Run(p.Name, func(t *testing.T) {
				r := checker.Check(t, at.three(t), p, *length, seed.Rand(t).Uint64())
				t.Log(r)
				if r.Stale > 0 || r.Survived > 0 {
					t.Errorf("%s; first: %s", r, r.First)
				}
				if r.Gets == 0 || r.Loads == 0 || r.Writes == 0 {
					t.Errorf("nothing happened: %s", r)
				}
				if at.on != nil {
					at.on.Invariants(t, "row:")
				}
			})
		}
	})
}

// faults takes away what Redis may lose by eviction or a failover: values and leases, not the barriers of writers that
// die (no writer dies in that profile).
func (p place) faults(t *testing.T) func(*rand.Rand, string) {
	const loseLease = `local l = redis.call('GET', KEYS[1]) if l and string.sub(l, 1, 1) == 't' then redis.call('DEL', KEYS[1]) end return 0`
	nodes := make(map[string]*redistest.Server)
	return func(rng *rand.Rand, key string) {
		server := nodes[key]
		if server == nil {
			server = p.on.Node(t, key)
			nodes[key] = server
		}
		switch n := rng.IntN(20); {
		case n < 10:
			server.Do(t, "DEL", key)
		case n < 17:
			server.Do(t, "EVAL", loseLease, "1", "{"+key+"}:~l")
		case n < 19:
			server.Do(t, "FLUSHALL")
		default:
			server.Do(t, "SCRIPT", "FLUSH")
		}
	}
}

// The checker is itself checked: with a rule left out it must find violations.
func TestCheckerFindsBrokenRules(t *testing.T) {
	places(t, func(t *testing.T, at place) {
		for _, p := range checker.Broken() {
			t.Run(p.Name, func(t *testing.T) {
				rng := seed.Rand(t)
				for try, began := 0, time.Now(); try < 10 || time.Since(began) < search; try++ { // an overlap may take a while to happen
					r := checker.Check(t, at.three(t), p, *length, rng.Uint64())
					t.Log(r)
					if r.Stale > 0 || r.Survived > 0 {
						return
					}
				}
				t.Errorf("no violation found in %v and 10 runs or more", search)
			})
		}
	})
}
