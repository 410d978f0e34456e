// Package seed gives randomized tests their random numbers: a test that fails prints the seed of them, and
//
//	NEARSIDE_SEED=1234 go test -run TestThatFailed ./folder
//
// repeats its choices. Where goroutines run concurrently, each repeats its own; how they interleave is not repeated.
package seed

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
)

// Env is the environment variable that sets the seed.
const Env = "NEARSIDE_SEED"

// Value returns the seed that is set, or else draws one.
func Value() uint64 {
	if n, err := strconv.ParseUint(os.Getenv(Env), 10, 64); err == nil {
		return n
	}
	return rand.Uint64()
}

var (
	mu sync.Mutex
	of = map[testing.TB]*rand.Rand{} // tests that are running
)

// Rand returns random numbers for a test, and logs how to repeat them. Tests with other names have others, and so has each call
// in a test. They are for one goroutine: others get theirs by Split.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	r := of[t]
	if r == nil {
		n := Value()
		t.Logf("%s=%d", Env, n)
		name := fnv.New64a()
		_, _ = name.Write([]byte(t.Name()))
		r = rand.New(rand.NewPCG(n, name.Sum64()))
		of[t] = r
		t.Cleanup(func() {
			mu.Lock()
			defer mu.Unlock()
			delete(of, t)
		})
	}
	return Split(r)
}

// Split returns random numbers for another goroutine, which depend on those of r so far. Call it before the go statement.
func Split(r *rand.Rand) *rand.Rand { return rand.New(rand.NewPCG(r.Uint64(), r.Uint64())) }

// Locked is Split for what is called by many goroutines, such as a loader. They share the numbers in the order in which they come.
// Prefer Split where it is possible: the lock makes the race detector see an order that the code under test may lack.
func Locked(r *rand.Rand) *rand.Rand {
	return rand.New(&locked{from: rand.NewPCG(r.Uint64(), r.Uint64())})
}

type locked struct {
	mu   sync.Mutex
	from *rand.PCG
}

func (l *locked) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.from.Uint64()
}
