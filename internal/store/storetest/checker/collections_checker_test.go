package checker_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/store/storetest/checker"
	"github.com/nearside/nearside/internal/testhooks"
)

// Law 1 for collections: each member is as new as its last acknowledged write, and nothing is half.
func TestCheckerOfCollections(t *testing.T) {
	places(t, func(t *testing.T, at place) {
		profiles := checker.CollectionProfiles()
		if at.on != nil {
			profiles = append(profiles, faulty(t, at)...)
		}
		for _, p := range profiles {
			t.Run(p.Name, func(t *testing.T) {
				filled := checkCollections(t, at, p)
				for filled == 0 && p.Renewed > 0 && p.Renewed < longestRenewed { // a busy machine does not renew so short a lease in time
					p.Renewed *= 4
					t.Logf("no load was filled: again with leases of %v", p.Renewed)
					filled = checkCollections(t, at, p)
				}
				if filled == 0 && p.Lease == 0 {
					t.Error("no load was filled")
				}
				if at.on != nil {
					at.on.Invariants(t, "list:", "set", "zset", "hash")
				}
			})
		}
	})
}

// longestRenewed is up to which life of a lease a run without a fill is repeated.
const longestRenewed = 250 * time.Millisecond

// checkCollections runs a profile with all shapes, and returns how many loads were filled.
func checkCollections(t *testing.T, at place, p checker.CollectionProfile) (filled uint64) {
	t.Helper()
	for _, r := range checker.CheckCollections(t, at.three(t), p, checker.Shapes(), *length, seed.Rand(t).Uint64()) {
		t.Log(r)
		if r.Violations() > 0 {
			for _, line := range r.Trace {
				t.Log(line)
			}
			t.Errorf("%s; first: %s", r, r.First)
		}
		if r.Reads == 0 || r.Loads == 0 || r.Writes == 0 {
			t.Errorf("nothing happened: %s", r)
		}
		filled += r.Filled
	}
	return filled
}

// The checker of collections is itself checked: with a rule left out it must find violations.
func TestCheckerOfCollectionsFindsBrokenRules(t *testing.T) {
	places(t, func(t *testing.T, at place) {
		if at.name != "memory" && at.name != "single" && *length < time.Second {
			t.Skip("the rules are the same on every Redis; with -checker 1s or more they are broken on all of them")
		}
		broken := checker.BrokenCollectionRules()
		for _, p := range broken {
			t.Run(p.Name, func(t *testing.T) { finds(t, at, p) })
		}
		if at.on == nil {
			return
		}
		for _, r := range brokenScripts(t, at) {
			t.Run(r.Name, func(t *testing.T) {
				testhooks.Altered.Store(&r.Alteration)
				defer testhooks.Altered.Store(nil)
				finds(t, at, r.BrokenCollections)
			})
		}
	})
}

func finds(t *testing.T, at place, p checker.BrokenCollections) {
	rng := seed.Rand(t)
	for try, began := 0, time.Now(); try < 12 || time.Since(began) < search; try++ { // an overlap may take a while to happen
		for _, r := range checker.CheckCollections(t, at.three(t), p.CollectionProfile, p.Shapes, *length, rng.Uint64()) {
			t.Log(r, r.First)
			if r.Violations() > 0 {
				return
			}
		}
	}
	t.Errorf("no violation found in %v and 12 runs or more", search)
}

// search is how long a checker looks at least for what a broken rule does: a machine that stalls has few overlaps.
const search = time.Minute

// faulty are the profiles in which Redis loses what it may lose.
func faulty(t *testing.T, at place) []checker.CollectionProfile {
	crash := checker.CollectionProfile{
		Name: "all die, Redis loses keys and scripts", Invalidate: 0.06, Mutate: 0.03, Plain: 0.4, Unknown: 1. / 60,
		CrashWrite: 0.07, CrashLoad: 0.02, FailLoad: 0.02, Lost: 0.08, Lease: 100 * time.Millisecond, Intent: 150 * time.Millisecond,
		Faults: at.lose(t, "", ":~l", ":~t", ":~r", ":~e"),
	}
	// An evicted intent and a dead writer together are outside the law.
	evict := crash
	evict.Name, evict.CrashWrite, evict.Lost = "Redis loses intents too, FLUSHALL", 0, 0
	evict.Faults = at.lose(t, "", ":~l", ":~t", ":~r", ":~e", ":~i", flushAll)
	return []checker.CollectionProfile{crash, evict}
}

const flushAll = "FLUSHALL"

// lose deletes keys with one of the endings, forgets scripts, and has another program write under a key.
func (p place) lose(t *testing.T, endings ...string) func(*rand.Rand, string) {
	nodes := make(map[string]*redistest.Server)
	return func(rng *rand.Rand, key string) {
		server := nodes[key]
		if server == nil {
			server = p.on.Node(t, key)
			nodes[key] = server
		}
		switch n := rng.IntN(40); {
		case n == 0:
			server.Do(t, "SCRIPT", "FLUSH")
		case n < 4:
			server.Do(t, "SET", key, "another program's", "PX", "500")
		default:
			switch ending := endings[rng.IntN(len(endings))]; ending {
			case flushAll:
				if rng.IntN(5) == 0 {
					server.Do(t, "FLUSHALL")
				}
			case "":
				server.Do(t, "DEL", key)
			default:
				server.Do(t, "DEL", "{"+key+"}"+ending)
			}
		}
	}
}
